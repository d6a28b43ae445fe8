"""CAS(ME)2 (Qu et al., IEEE Transactions on Affective Computing 2018): 30 fps recordings with macro- and
micro-expressions, for spotting.

The sheet has no header and calls subjects and videos otherwise than the folders do; its second and third
sheet translate.
"""

from __future__ import annotations

import re
from pathlib import Path

from .listing import Annotation, UnusableRow
from .reading import Annotations, Corpus, annotations_of, expression_annotation
from .sheets import SheetRow, find_sheet, read_plain_sheet

SHEETS = ("code_final*.xlsx", "CAS(ME)^2code_final*.xlsx", "*code_final*.xlsx")
COLUMNS = ("subject", "clip", "onset", "apex", "offset", "action_units", "emotion", "kind", "self_report")
CELLS = ("0", "1", "2", "3")


def annotate(root: Path) -> Annotations:
    """The rows of code_final.xlsx: subject, video, onset, apex, offset, units, emotion, type, self-report."""
    path = find_sheet(root, SHEETS, "CAS(ME)2")
    people, videos = _subjects(path), _videos(path)

    def read(row: SheetRow) -> Annotation:
        number, name = row.required("subject"), row.required("clip")
        subject = people.get(number, f"s{number}")
        video = re.sub(r"_\d+$", "", name)  # anger1_2: the second expression of the video anger1
        if video.lower() not in videos:
            raise UnusableRow(f"video {video!r} is not in the third sheet, which names the files")
        clip = f"{subject.lstrip('s')}_{videos[video.lower()]}"
        return expression_annotation(row, subject, clip, lenient=True)

    return annotations_of(read_plain_sheet(path, COLUMNS), read)


def _subjects(path: Path) -> dict[str, str]:
    """Number in the first sheet -> folder ("1" -> "s15"), from whichever columns of the second sheet."""
    found = {}
    for row in read_plain_sheet(path, CELLS, 1):
        cells = [row.text(name) for name in CELLS]
        folder = next((cell for cell in cells if re.fullmatch(r"s\d+", cell, re.IGNORECASE)), None)
        numbers = [cell for cell in cells if cell.isdigit()]
        if folder and numbers:
            found[numbers[-1]] = folder.lower()
    return found


def _videos(path: Path) -> dict[str, str]:
    """Name of the first sheet -> code in the folder's name ("disgust1" -> "0101")."""
    found = {}
    for row in read_plain_sheet(path, CELLS, 2):
        cells = [row.text(name) for name in CELLS]
        code = next((cell for cell in cells if re.fullmatch(r"\d{3,4}", cell)), None)
        name = next((cell for cell in cells if re.fullmatch(r"[A-Za-z]+ ?\d*", cell)), None)
        if code and name:
            found[name.lower()] = code.zfill(4)
    return found


CASME2_LONG = Corpus(
    "casme2_long",
    "CAS(ME)2",
    30.0,
    annotate,
    # The folder 15_0101disgustingteeth: subject, code of the film, its title.
    folders=lambda row: ((row.subject, f"{row.clip}*"),),
    bases=("rawpic", "selectedpic"),
    cropped_bases=("cropped",),
    dropped=3,
    long_videos=True,
    published=(57,),
)

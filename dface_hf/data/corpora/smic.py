"""SMIC-HS (Li et al., FG 2013): 164 clips of 16 subjects at 100 fps; no apex, no action units.

A clip's folder holds its frames from onset to offset and its class stands in the name, so that the clips need
no sheet; where SMIC-HS-E_annotation.xlsx is at hand, clips are listed with its rows. The long recordings of
the extended set (SMIC_HS_E) are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

from dface_hf.actions import normalise_emotion

from .frame_folders import FrameFinder, last_number, unpadded
from .listing import Annotation, SkippedRow, UnusableRow
from .reading import Annotations, Corpus
from .sheets import SheetRow, find_sheet, read_sheet

TITLE = "SMIC-HS"
BASES = ("SMIC_all_raw/HS", "SMIC_all_raw", "HS")
CROPPED = ("SMIC_all_cropped/HS", "SMIC_all_cropped")
SHEETS = ("SMIC-HS-E_annotation*.xlsx",)
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetF",),
    "offset": ("OffsetF",),
    "emotion": ("Emotion",),
}
CLASSES = ("negative", "positive", "surprise")
_NAME = re.compile(r"s(\d+)_(ne|po|sur)_(\d+)", re.IGNORECASE)


def annotate(root: Path) -> Annotations:
    """One annotation a clip folder sN/micro/CLASS/sN_ne_01; the sheet, if any, gives its row number.

    Raises:
        ValueError: There are no such folders.
    """
    rows = _sheet_rows(root)
    found = 0
    for base in FrameFinder(root, (*BASES, *CROPPED)).bases:
        for folder in sorted(base.glob("s*/micro/*/s*_*_*")):
            found += folder.is_dir()
            if folder.is_dir():
                yield _read(folder, rows)
        if found:
            return
    raise ValueError(
        f"{root}: this is no {TITLE} release; give the folder that holds SMIC_all_raw/HS/s1/micro/negative/…"
    )


def _read(folder: Path, rows: dict[str, SheetRow]) -> Annotation | SkippedRow:
    match = _NAME.fullmatch(folder.name)
    if match is None:
        return SkippedRow(None, folder.name, "its name is not of the form s1_ne_01")
    number, word, count = match.groups()
    subject = f"s{int(number):02d}"
    row = rows.get(unpadded(folder.name))
    emotion, notes = normalise_emotion(word), ()
    try:
        coded = row.emotion() if row else None
    except UnusableRow as error:
        coded, notes = None, (str(error),)
    if coded not in (None, emotion):
        notes = (f"the sheet says {coded}; the class {emotion} of the name used",)
    name = f"{subject}_{word.lower()}_{count}"
    return Annotation(row.number if row else None, subject, name, None, None, None, emotion, notes=notes)


def _sheet_rows(root: Path) -> dict[str, SheetRow]:
    """Rows of the sheet HS by the name of the clip; empty without a sheet."""
    try:
        path = find_sheet(root, SHEETS, TITLE)
    except ValueError:
        return {}
    return {unpadded(row.text("clip")): row for row in read_sheet(path, COLUMNS, "HS")}


def _folders(row: Annotation) -> tuple[tuple[str, ...], ...]:
    return ((f"s{last_number(row.subject)}", "micro", str(row.emotion), row.clip),)


SMIC = Corpus("smic", TITLE, 100.0, annotate, _folders, BASES, CROPPED, published=(164,))

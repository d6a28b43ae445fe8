"""DFME (Zhao et al., 2023), the part of the CCAC challenge: 1856 training clips of 176 subjects at 200 to 500
fps; frames are counted from 0 in each clip."""

from __future__ import annotations

import math
from pathlib import Path

from .listing import Annotation, UnusableRow
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("training_full_with_AU*.xlsx", "training*.xlsx")
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "emotion": ("Emotion",),
    "fps": ("Fps",),
    "action_units": ("AU",),
}


def annotate(root: Path) -> Annotations:
    """The rows of training_full_with_AU.xlsx."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "DFME"), COLUMNS), _read)


def _read(row: SheetRow) -> Annotation:
    try:
        fps = float(row.required("fps"))
    except ValueError as error:
        raise UnusableRow(f"Fps={row.text('fps')!r} is no number") from error
    if not 0 < fps < math.inf:
        raise UnusableRow(f"Fps={row.text('fps')!r} is no frame rate")
    return micro_annotation(row, row.required("subject"), row.required("clip"), fps=fps)


DFME = Corpus(
    "dfme",
    "DFME",
    200.0,
    annotate,
    folders=lambda row: ((row.clip,), (row.subject, row.clip)),
    bases=("DFME_train", "train"),
    published=(1856,),
)

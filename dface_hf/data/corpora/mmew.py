"""MMEW (Ben et al., TPAMI 2021): 300 clips at 90 fps, 1920x1080."""

from __future__ import annotations

from pathlib import Path

from .frame_folders import last_number
from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("MMEW_Micro_Exp*.xlsx",)
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}
DROPPED = 3


def annotate(root: Path) -> Annotations:
    """The rows of MMEW_Micro_Exp.xlsx."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "MMEW"), COLUMNS), _read)


def _read(row: SheetRow) -> Annotation:
    subject = f"S{last_number(row.required('subject')):02d}"
    return micro_annotation(row, subject, row.required("clip"))


def _folders(row: Annotation) -> tuple[tuple[str, ...], ...]:
    """By emotion, by subject and emotion, or flat; the folder named repression holds the class others."""
    emotions = (str(row.emotion), "repression") if row.emotion == "others" else (str(row.emotion),)
    nested = [(*above, emotion, row.clip) for above in ((), (row.subject,)) for emotion in emotions]
    return (*nested, (row.subject, row.clip), (row.clip,))


MMEW = Corpus(
    "mmew",
    "MMEW",
    90.0,
    annotate,
    folders=_folders,
    bases=("Micro_Expression", "Micro-Expression"),
    dropped=DROPPED,
    published=(300,),
)

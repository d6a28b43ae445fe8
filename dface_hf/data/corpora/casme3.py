"""CAS(ME)3 (Li et al., TPAMI 2023): part A, 860 clips of 94 subjects, and part C, from a mock crime; 30 fps.

Part A's recordings are long and hold several expressions; the sheet of all expressions (CAS(ME)3_part_A_v2)
has the macro-expressions, too. Frames were dropped by the camera now and then.
"""

from __future__ import annotations

from pathlib import Path

from .listing import Annotation, UnusableRow
from .reading import Annotations, Corpus, annotations_of, expression_annotation, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

MICRO_SHEETS = ("cas(me)3_part_A_ME_label*.xlsx", "CAS(ME)3_part_A_ME*.xlsx")
ALL_SHEETS = ("CAS(ME)3_part_A_v*.xlsx", "cas(me)3_part_A_v*.xlsx")
C_SHEETS = ("CAS(ME)3_part_C_ME*.xlsx", "cas(me)3_part_C_ME*.xlsx")
COLUMNS = {
    "subject": ("Subject", "sub"),
    "clip": ("Filename", "count"),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "action_units": ("AU",),
    "emotion": ("emotion",),
    "kind": ("Expression type", "type"),
}
DROPPED = 3  # frames that may be missing within a clip


def annotate_a(root: Path) -> Annotations:
    """The rows of the sheet of all expressions if it is there, else of that of micro-expressions."""
    path = find_sheet(root, (*ALL_SHEETS, *MICRO_SHEETS), "CAS(ME)3 part A")
    return annotations_of(read_sheet(path, COLUMNS, "label", optional=("kind",)), _read_a)


def _read_a(row: SheetRow) -> Annotation:
    return expression_annotation(row, row.required("subject"), row.required("clip"))


def annotate_c(root: Path) -> Annotations:
    """The rows of part C, which have no apex."""
    path = find_sheet(root, C_SHEETS, "CAS(ME)3 part C")
    return annotations_of(read_sheet(path, COLUMNS, optional=("kind", "apex")), _read_c)


def _read_c(row: SheetRow) -> Annotation:
    subject = row.required("subject")
    if not any(letter.isdigit() for letter in subject):
        raise UnusableRow(f"subject {subject!r} holds no number")
    return micro_annotation(row, subject.zfill(2), row.required("clip"))


def _folders(row: Annotation) -> tuple[tuple[str, ...], ...]:
    return (row.subject, row.clip, "color"), (row.subject, "color", row.clip), (row.subject, row.clip)


CASME3_A = Corpus(
    "casme3",
    "CAS(ME)3",
    30.0,
    annotate_a,
    folders=_folders,
    bases=("part_A", "Part_A", "Part_A_ME_clip"),
    dropped=DROPPED,
    long_videos=True,
    published=(860, 921),
)
CASME3_C = Corpus(
    "casme3c",
    "CAS(ME)3",
    30.0,
    annotate_c,
    folders=lambda row: (*_folders(row), (row.subject, "color")),
    bases=("part_C", "Part_C"),
    dropped=DROPPED,
    published=(165,),
)

"""CASME II (Yan et al., PLoS ONE 2014): 255 clips of 26 subjects at 200 fps, 640x480."""

from __future__ import annotations

from pathlib import Path

from .frame_folders import last_number
from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("CASME2-coding-*.xlsx", "CASME2-coding*.xlsx")
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame", "Onset Frame"),
    "apex": ("ApexFrame", "Apex Frame"),
    "offset": ("OffsetFrame", "Offset Frame"),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}


def annotate(root: Path) -> Annotations:
    """The rows of CASME2-coding-*.xlsx; subjects are 1, "1" or "01", depending on the version."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "CASME II"), COLUMNS), _read)


def _read(row: SheetRow) -> Annotation:
    subject = f"sub{last_number(row.required('subject')):02d}"
    return micro_annotation(row, subject, row.required("clip"))


CASME2 = Corpus(
    "casme2",
    "CASME II",
    200.0,
    annotate,
    folders=lambda row: ((row.subject, row.clip),),
    bases=("CASME2_RAW_selected", "CASME2-RAW", "CASME2_RAW"),
    cropped_bases=("Cropped",),
    published=(255, 256),
)

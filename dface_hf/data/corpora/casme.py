"""CASME (Yan et al., FG 2013): 189 clips at 60 fps."""

from __future__ import annotations

from pathlib import Path

from .frame_folders import last_number
from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("casme.xlsx", "CASME.xlsx", "CASME_*.xlsx", "CASME-*.xlsx")
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "emotion": ("Emotion", "Estimated Emotion"),
    "onset": ("OnsetF", "OnsetFrame"),
    "apex": ("ApexF1", "ApexF", "ApexFrame"),
    "offset": ("OffsetF", "OffsetFrame"),
    "action_units": ("AU", "AUs", "Action Units"),
}


def annotate(root: Path) -> Annotations:
    """The rows of casme.xlsx; of two apices the first counts."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "CASME"), COLUMNS), _read)


def _read(row: SheetRow) -> Annotation:
    subject = f"sub{last_number(row.required('subject')):02d}"
    return micro_annotation(row, subject, row.required("clip"))


CASME = Corpus(
    "casme",
    "CASME",
    60.0,
    annotate,
    folders=lambda row: ((row.subject, row.clip),),
    bases=("CASME_raw_selected", "CASME_RAW_selected", "CASME_raw"),
    cropped_bases=("Cropped", "cropped"),
    published=(189, 195),
)

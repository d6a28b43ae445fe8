"""SAMM (Davison et al., IEEE Transactions on Affective Computing 2018): 159 clips of 29 subjects, 200 fps,
grey, 2040x1088."""

from __future__ import annotations

from pathlib import Path

from .frame_folders import last_number
from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("SAMM_Micro_FACS_Codes*.xlsx",)
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("Onset Frame",),
    "apex": ("Apex Frame",),
    "offset": ("Offset Frame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}


def annotate(root: Path) -> Annotations:
    """The rows of the sheet MICRO_ONLY, whose header stands below 13 rows of text."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "SAMM"), COLUMNS, "MICRO_ONLY"), _read)


def _read(row: SheetRow) -> Annotation:
    subject = f"{last_number(row.required('subject')):03d}"
    return micro_annotation(row, subject, row.required("clip"))


SAMM = Corpus(
    "samm",
    "SAMM",
    200.0,
    annotate,
    folders=lambda row: ((row.subject, row.clip),),
    bases=("SAMM", "SAMM_micro"),
    cropped_bases=("SAMM_cropped", "SAMM_CROP"),
    published=(159,),
)

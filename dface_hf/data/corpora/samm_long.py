"""SAMM Long Videos (Yap et al., FG 2020): recordings at 200 fps with macro- and micro-expressions."""

from __future__ import annotations

from pathlib import Path

from .frame_folders import last_number
from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, expression_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("SAMM_LongVideos_V*_Release*.xlsx", "SAMM_LongVideos*.xlsx")
COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("Onset", "Onset Frame"),
    "apex": ("Apex", "Apex Frame"),
    "offset": ("Offset", "Offset Frame"),
    "kind": ("Type",),
    "action_units": ("Action Units",),
}


def annotate(root: Path) -> Annotations:
    """The rows below ten rows of text; the type reads "Macro" or "Micro - 1/2". No emotion is given."""
    return annotations_of(read_sheet(find_sheet(root, SHEETS, "SAMM Long Videos"), COLUMNS), _read)


def _read(row: SheetRow) -> Annotation:
    subject = f"{last_number(row.required('subject')):03d}"
    return expression_annotation(row, subject, row.required("clip"))


def _folders(row: Annotation) -> tuple[tuple[str, ...], ...]:
    """Event 006_1_2 lies in the recording 006_1."""
    video = "_".join(row.clip.split("_")[:2])
    return (video,), (row.subject, video)


SAMM_LONG = Corpus(
    "samm_long",
    "SAMM Long Videos",
    200.0,
    annotate,
    folders=_folders,
    bases=("SAMM_longvideos", "SAMM_LongVideos"),
    long_videos=True,
    published=(159,),
)

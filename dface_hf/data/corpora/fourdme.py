"""4DME (Li et al., IEEE Transactions on Affective Computing 2022): 267 clips, grey 640x480 at 60 fps.

A clip can have several of five labels. The schema holds one word: the only label, or of several the first in
the order of the sheet's columns, with a note.
"""

from __future__ import annotations

from pathlib import Path

from dface_hf.actions import normalise_emotion

from .listing import Annotation
from .reading import Annotations, Corpus, annotations_of, micro_annotation
from .sheets import SheetRow, find_sheet, read_sheet

SHEETS = ("4DME_Labelling_Micro*.xlsx",)
LABELS = ("Positive", "Negative", "Surprise", "Repression", "Others")
COLUMNS = {
    "subject": ("sub_ID",),
    "clip": ("fold_name",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "action_units": ("AUs",),
    "emotion": ("Emotion",),
    **{label: (label,) for label in LABELS},
}


def annotate(root: Path) -> Annotations:
    """The rows of "4DME_Labelling_Micro_release v1.xlsx"."""
    rows = read_sheet(find_sheet(root, SHEETS, "4DME"), COLUMNS, optional=(*LABELS, "emotion"))
    return annotations_of(rows, _read)


def _read(row: SheetRow) -> Annotation:
    emotion, notes = _emotion(row)
    subject, clip = row.required("subject"), row.required("clip")
    return micro_annotation(row, subject, clip, emotion=emotion, notes=notes)


def _emotion(row: SheetRow) -> tuple[str | None, tuple[str, ...]]:
    labels = [normalise_emotion(label) for label in LABELS if row.text(label) not in ("", "0")]
    if not labels:
        return row.emotion(), ()
    note = f"several labels, {', '.join(labels)}; the first used"
    return labels[0], (note,) if len(labels) > 1 else ()


FOURDME = Corpus(
    "4dme",
    "4DME",
    60.0,
    annotate,
    folders=lambda row: ((row.subject, row.clip),),
    bases=("gray_micro", "Gray_micro", "gray_micro_crop"),
    dropped=3,
    published=(267,),
)

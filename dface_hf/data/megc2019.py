"""The composite of MEGC 2019: 442 clips of 68 subjects from CASME II, SAMM and SMIC-HS, in three classes.

See et al., "MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge" (FG 2019). Of CASME II, sadness
and fear are left out besides "others", and two clips; of SAMM, "other"; of SMIC-HS, nothing.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dface_hf.actions import get_class_scheme

SCHEME = "composite3"
COUNTS = {"casme2": (88, 32, 25), "samm": (92, 26, 15), "smic": (70, 51, 43)}
"""Clips of each class (negative, positive, surprise) by corpus, as published."""
SUBJECTS = {"casme2": 24, "samm": 28, "smic": 16}
"""Subjects with clips by corpus, as published."""

_LEFT_OUT = {"casme2": ("sub04/EP12_01f", "sub05/EP09_05f")}  # disgust in the sheet, absent from the list
_DROPPED = {"casme2": ("sadness", "fear")}
_COLUMNS = ("corpus", "subject", "clip", "label")


@dataclass(frozen=True, eq=False)
class Composite:
    """Clips of the composite, in the order in which they were given.

    Attributes:
        corpora: (n,) "casme2", "samm" or "smic".
        subjects: (n,) names, unique within a corpus only.
        clips: (n,) names of the clips, as in MEGC's logs.
        labels: (n,) int64: 0 negative, 1 positive, 2 surprise.
        rows: (n,) int64 indices into what was given.
    """

    corpora: np.ndarray
    subjects: np.ndarray
    clips: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Clips of each class by corpus."""
        found = Counter(zip(self.corpora.tolist(), self.labels.tolist(), strict=True))
        names = sorted(set(self.corpora.tolist()))
        return {name: tuple(found[name, label] for label in range(3)) for name in names}

    def subject_counts(self) -> dict[str, int]:
        """Subjects by corpus."""
        pairs = set(zip(self.corpora.tolist(), self.subjects.tolist(), strict=True))
        return dict(sorted(Counter(corpus for corpus, _ in pairs).items()))


def select_composite(rows: Iterable[Mapping[str, Any]]) -> Composite:
    """The composite's clips among rows of the clip schema.

    Args:
        rows: Rows with corpus, subject, clip_id and emotion, as `dface prepare` writes them; take these
            columns only (`dataset.select_columns`), so that no frame is decoded.

    Returns:
        The clips that belong to the composite. Clips that `prepare` had to skip are missing:
        `check_composite` says how many.
    """
    scheme = get_class_scheme(SCHEME)
    kept = []
    for index, row in enumerate(rows):
        corpus, label = row["corpus"], None
        if corpus in COUNTS and row["emotion"] and row["emotion"] not in _DROPPED.get(corpus, ()):
            label = scheme.label_of(row["emotion"])
        if label is None or row["clip_id"] in _LEFT_OUT.get(corpus, ()):
            continue
        clip = row["clip_id"].removeprefix(f"{row['subject']}/")
        kept.append((corpus, row["subject"], clip, scheme.label2id[label], index))
    return _composite(kept)


def read_manifest(path: str | Path) -> Composite:
    """The composite from a csv file with the columns corpus, subject, clip and label (0, 1, 2).

    Raises:
        ValueError: No such file, a missing column, or a label that is none of the three.
    """
    rows = manifest_rows(path, _COLUMNS)
    return _composite(
        [(row["corpus"], row["subject"], row["clip"], int(row["label"]), i) for i, row in enumerate(rows)]
    )


def manifest_rows(path: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a csv file that must have some columns; labels are checked.

    Raises:
        ValueError: As `read_manifest`.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a manifest.csv of the composite")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if missing := sorted(set(columns) - set(reader.fieldnames or ())):
        raise ValueError(f"{path}: lacks column {missing[0]!r}; it needs {', '.join(columns)}")
    for number, row in enumerate(rows, 2):
        if row["label"] not in ("0", "1", "2"):
            raise ValueError(f"{path}: row {number}: label {row['label']!r} must be 0, 1 or 2")
    return rows


def check_composite(composite: Composite) -> None:
    """Make sure that the composite is complete.

    Raises:
        ValueError: Its counts are not the published ones; the message says where they differ.
    """
    counts, subjects = composite.counts(), composite.subject_counts()
    for corpus in COUNTS:
        found = counts.get(corpus, (0, 0, 0)), subjects.get(corpus, 0)
        if found != (COUNTS[corpus], SUBJECTS[corpus]):
            raise ValueError(
                f"MEGC2019 composite: {corpus} has {_told(*found)}, "
                f"published are {_told(COUNTS[corpus], SUBJECTS[corpus])}; see the report of `dface prepare`"
            )
    if unknown := sorted(set(counts) - set(COUNTS)):
        raise ValueError(f"MEGC2019 composite: {unknown[0]} is none of {', '.join(COUNTS)}")


def _told(counts: tuple[int, ...], subjects: int) -> str:
    return f"{'/'.join(map(str, counts))} clips (negative/positive/surprise) of {subjects} subjects"


def _composite(kept: list[tuple[str, str, str, int, int]]) -> Composite:
    corpora, subjects, clips, labels, rows = zip(*kept, strict=True) if kept else ((), (), (), (), ())
    names = (np.array(column, dtype=np.str_) for column in (corpora, subjects, clips))
    return Composite(*names, np.array(labels, np.int64), np.array(rows, np.int64))

"""Which clip shows which action units, and for how long: a table read from datasets and annotation sheets."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dface_hf.actions import action_unit_readings, active_units

from .prepared_clips import open_clips

_COLUMNS = ("corpus", "clip_id", "fps", "onset", "apex", "offset", "action_units")


@dataclass(frozen=True, eq=False)
class ActionUnitTable:
    """The coded clips of one or several corpora.

    Attributes:
        units: FACS number of each column.
        shown: (n, units) bool, whether a clip shows a unit. A row may be empty: other units were coded.
        corpora: (n,) name of each clip's corpus.
        durations: (n,) seconds from the onset to the offset frame; NaN where they are not known.
        uncoded: Number of clips by corpus without any code, which are left out.
    """

    units: tuple[int, ...]
    shown: np.ndarray
    corpora: np.ndarray
    durations: np.ndarray
    uncoded: dict[str, int]

    def __len__(self) -> int:
        return len(self.shown)


def read_action_units(
    sources: Sequence[str | Path], units: Sequence[int], alternatives: str = "certain"
) -> ActionUnitTable:
    """Read the action units of clips; no frame is decoded.

    Args:
        sources: Datasets as `dface prepare` writes them (see `open_clips`), or csv files with a column
            action_units and, if known, corpus, onset, offset (frame numbers) and fps.
        units: FACS numbers of the columns.
        alternatives: Which units of an undecided cell ("12 or 14") count, see `active_units`: those of all
            readings, as the CD6ME protocol counts ("certain"), "all" that are mentioned, or the "first".

    Returns:
        [`ActionUnitTable`]. Of a dataset prepared with keyframes only, durations are not known.

    Raises:
        ValueError: A source that cannot be read, units that are given twice, or no coded clip at all; the
            message names file, row and value.
    """
    units = tuple(int(unit) for unit in units)
    if not units or len(set(units)) < len(units) or min(units) < 1:
        raise ValueError(f"units are {list(units)}; give different FACS numbers, such as 1, 2, 4")
    uncoded: Counter[str] = Counter()
    kept = []
    for source in sources:
        is_table = str(source).lower().endswith(".csv")
        for place, row in _csv_rows(Path(source)) if is_table else _dataset_rows(source):
            try:
                shown, duration = _read_cell(row, alternatives), _duration(row)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            if shown is None:
                uncoded[row["corpus"]] += 1
            else:
                kept.append((row["corpus"], duration, [unit in shown for unit in units]))
    if not kept:
        told = ", ".join(map(str, sources))
        raise ValueError(f"{told}: none of {uncoded.total()} clips has action units; give a coded corpus")
    corpora, durations, shown = zip(*kept, strict=True)
    arrays = np.array(shown, bool), np.array(corpora, np.str_), np.array(durations, float)
    return ActionUnitTable(units, *arrays, dict(sorted(uncoded.items())))


def _read_cell(row: Mapping[str, Any], alternatives: str) -> tuple[int, ...] | None:
    """The units of a clip; None where nothing was coded."""
    cell = row["action_units"]
    if not any(action_unit_readings(cell)):
        return None
    return active_units(cell, alternatives)


def _dataset_rows(source: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in open_clips(source).select_columns(list(_COLUMNS)):
        # Keyframes only: 0, 1 and 2 are no times.
        if (row["onset"], row["apex"]) == (0, 1) and row["offset"] <= 2:
            row["fps"] = None
        yield f"{source}: clip {row['corpus']}/{row['clip_id']}", row


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a csv file with a column action_units")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if "action_units" not in (reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise ValueError(f"{path}: lacks column 'action_units'; its columns are {found}")
        for row in reader:
            yield f"{path}: row {reader.line_num}", {**row, "corpus": row.get("corpus") or path.stem}


def _duration(row: Mapping[str, Any]) -> float:
    """Seconds from onset to offset, NaN where one of the three numbers is missing."""
    found = [row.get(column) for column in ("onset", "offset", "fps")]
    if any(value in (None, "") for value in found):
        return math.nan
    try:
        onset, offset, fps = map(float, found)
    except ValueError:
        raise ValueError(f"onset, offset, fps are {found}; expected numbers") from None
    if not (0 <= onset <= offset < math.inf and 0 < fps < math.inf):
        raise ValueError(f"onset, offset, fps are {found}; expected 0 <= onset <= offset and fps > 0")
    return (offset - onset) / fps


__all__ = ["ActionUnitTable", "read_action_units"]

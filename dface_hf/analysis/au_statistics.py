"""Statistics of the action units of a corpus: how often, together with which, how rare, and how long."""

from __future__ import annotations

from typing import Any

import numpy as np

from dface_hf.data.action_unit_table import ActionUnitTable

from .tables import Rows


def unit_statistics(table: ActionUnitTable) -> dict[str, Any]:
    """Count the action units of coded clips.

    Args:
        table: The clips, as from `read_action_units`.

    Returns:
        A document for JSON. Lists go by unit, in the order of `units`:

        - units, n (clips), corpora (name -> clips), uncoded (name -> clips that were left out);
        - counts (clips with the unit), rates (their share), imbalance (clips without it for one with it, None
          where there is none), all_ones_f1 (F1 of predicting the unit everywhere, which any detector has to
          beat), per_corpus (name -> counts), units_per_clip (mean);
        - cooccurrence: (units, units) clips that show both, counts on the diagonal;
        - correlation: (units, units) Pearson correlation of the two columns of 0 and 1 (phi), None where a
          unit is never or always shown;
        - durations: name -> n, median, low and high (5th and 95th percentile) in seconds, of the clips whose
          duration is known.
    """
    shown = table.shown.astype(int)
    counts = shown.sum(axis=0)
    return {
        "units": list(table.units),
        "n": len(table),
        "corpora": {name: int(rows.sum()) for name, rows in _parts(table).items()},
        "uncoded": dict(table.uncoded),
        "counts": counts.tolist(),
        "rates": (counts / len(table)).tolist(),
        "imbalance": [(len(table) - int(count)) / int(count) if count else None for count in counts],
        "all_ones_f1": (2 * counts / (len(table) + counts)).tolist(),
        "per_corpus": {name: shown[rows].sum(axis=0).tolist() for name, rows in _parts(table).items()},
        "units_per_clip": float(shown.sum(axis=1).mean()),
        "cooccurrence": (shown.T @ shown).tolist(),
        "correlation": unit_correlation(table.shown),
        "durations": _durations(table),
    }


def unit_correlation(shown: np.ndarray) -> list[list[float | None]]:
    """Pearson correlation of each two columns of (n, units); None for a column that is constant."""
    centred = shown - shown.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    varies = spread > 1e-9
    scaled = centred / np.where(varies, spread, 1)
    found = (scaled.T @ scaled).clip(-1, 1)
    known = varies[:, None] & varies
    return [
        [float(value) if there else None for value, there in zip(*row, strict=True)]
        for row in zip(found, known, strict=True)
    ]


def strongest_pairs(statistics: dict[str, Any], count: int = 6) -> list[tuple[int, int, float]]:
    """The pairs of units whose correlation is farthest from 0, as (unit, unit, correlation)."""
    units, correlation = statistics["units"], statistics["correlation"]
    pairs = [
        (units[first], units[second], correlation[first][second])
        for first in range(len(units))
        for second in range(first + 1, len(units))
        if correlation[first][second] is not None
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))[:count]


def unit_rows(statistics: dict[str, Any]) -> Rows:
    """A row for each unit, for `markdown_table`: clips by corpus, share, imbalance, F1 of all ones."""
    rows: Rows = {}
    for index, unit in enumerate(statistics["units"]):
        parts = {name: counts[index] for name, counts in statistics["per_corpus"].items()}
        row = {"clips": statistics["counts"][index], "share": statistics["rates"][index]}
        row |= {"without : with": statistics["imbalance"][index]}
        row |= {"F1 of all ones": statistics["all_ones_f1"][index]}
        rows[f"AU{unit}"] = row | (parts if len(parts) > 1 else {})
    return rows


def matrix_rows(statistics: dict[str, Any], name: str) -> Rows:
    """The matrix "cooccurrence" or "correlation" as rows for `markdown_table`."""
    names = [f"AU{unit}" for unit in statistics["units"]]
    return {
        row: dict(zip(names, values, strict=True))
        for row, values in zip(names, statistics[name], strict=True)
    }


def _parts(table: ActionUnitTable) -> dict[str, np.ndarray]:
    """Corpus -> mask of its clips, in the order of the clips."""
    return {name: table.corpora == name for name in dict.fromkeys(table.corpora.tolist())}


def _durations(table: ActionUnitTable) -> dict[str, dict[str, float]]:
    found = {}
    for name, rows in _parts(table).items():
        seconds = table.durations[rows & np.isfinite(table.durations)]
        if len(seconds):
            low, median, high = np.percentile(seconds, (5, 50, 95)).tolist()
            found[name] = {"n": len(seconds), "median": median, "low": low, "high": high}
    return found


__all__ = ["matrix_rows", "strongest_pairs", "unit_correlation", "unit_rows", "unit_statistics"]

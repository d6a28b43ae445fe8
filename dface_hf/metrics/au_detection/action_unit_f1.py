"""Binary F1 of action units and the two means over it that papers on CD6ME print.

CD6ME (Varanka et al., 2023, "Data Leakage and Evaluation Issues in Micro-Expression Analysis") leaves each of
six corpora out in turn. One mean pools the predictions of the six test sets; the other scores each test set
on its own. They differ, so both have a name here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

CD6ME_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
"""The action units of CD6ME, in the order of its columns."""


def unit_f1(truth: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    """F1 of each unit; 0 for a unit that is neither there nor predicted.

    Args:
        truth: (n, units), positive where a unit is there.
        predicted: The same for what was predicted: 0 and 1, or logits.

    Returns:
        (units,) in [0, 1].
    """
    true, said = np.asarray(truth) > 0, np.asarray(predicted) > 0
    return 2 * (true & said).sum(0) / np.maximum(true.sum(0) + said.sum(0), 1)


def au_scores(
    truth: ArrayLike,
    predicted: ArrayLike,
    units: Sequence[int] = CD6ME_UNITS,
    corpora: Sequence[str] | None = None,
) -> dict[str, Any]:
    """F1 of action units in both aggregates of CD6ME.

    Args:
        truth: (n, units), positive where a unit is there.
        predicted: (n, units), 0 and 1 or logits: positive means predicted.
        units: FACS number of each column.
        corpora: (n,) corpus of each clip.

    Returns:
        `f1`: mean over units of F1 on all predictions pooled (the main table of CD6ME); `f1_corpus_mean`:
        mean over corpora of the mean over units (None without `corpora`); `per_unit`: unit -> pooled F1;
        `per_corpus`: corpus -> mean over units; `n`. A unit that a corpus does not have counts 0 there.

    Raises:
        ValueError: Shapes that do not agree, no clip, or values that are no finite numbers.
    """
    true, said = _table(truth, "truth", len(units)), _table(predicted, "predicted", len(units))
    if len(true) != len(said):
        raise ValueError(f"{len(true)} rows of truth but {len(said)} predicted ones; give one each a clip")
    if corpora is not None and len(corpora) != len(true):
        raise ValueError(f"{len(corpora)} corpora for {len(true)} clips; give one each")
    names = np.asarray([] if corpora is None else corpora, dtype=str)
    parts = {str(name): names == name for name in dict.fromkeys(names.tolist())}
    per_unit = unit_f1(true, said)
    per_corpus = {name: float(unit_f1(true[part], said[part]).mean()) for name, part in parts.items()}
    return {
        "f1": float(per_unit.mean()),
        "f1_corpus_mean": float(np.mean(list(per_corpus.values()))) if per_corpus else None,
        "per_unit": dict(zip(map(int, units), per_unit.tolist(), strict=True)),
        "per_corpus": per_corpus,
        "n": len(true),
    }


def _table(values: ArrayLike, name: str, units: int) -> np.ndarray:
    table = np.asarray(values)
    if table.ndim != 2 or not len(table) or table.shape[1] != units:
        raise ValueError(f"{name}: shape {table.shape}; expected (n, {units}), n clips and {units} units")
    if table.dtype.kind not in "biuf" or not np.isfinite(table).all():
        raise ValueError(f"{name}: holds values that are no finite numbers; expected 0 and 1, or logits")
    return table

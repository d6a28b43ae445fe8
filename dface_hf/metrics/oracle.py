"""What a run would have scored had its epoch been chosen on the test clips: a column, never the headline.

Public code of this field often keeps the best epoch of each held-out subject. That is worth about nine points
of UF1 and cannot be had in use, as nobody knows there which epoch was best. It is computed here only to be
compared with such tables, and only beside the score of the last epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .me_recognition.recognition import SCORES, recognition_scores


def scores_with_oracle(
    truth: ArrayLike,
    by_epoch: ArrayLike,
    labels: int | Sequence[str],
    folds: Sequence[Any] | None = None,
    corpora: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Scores of the last epoch, with a column `oracle` beside them.

    Args:
        truth: (n,) class numbers from 0.
        by_epoch: (epochs, n) predictions after each epoch.
        labels: The class names in order, or how many classes there are.
        folds: (n,) the fold, or held-out subject, of each clip. The oracle takes each fold's most accurate
            epoch (the first of equals), as public code does; without folds one epoch for all, of largest UF1.
        corpora: (n,) corpus of each clip.

    Returns:
        `recognition_scores` of the last epoch, and `oracle`: `uf1`, `uar`, `accuracy` of the chosen epochs.

    Raises:
        ValueError: Bad classes or shapes.
    """
    truth, table = np.asarray(truth), np.asarray(by_epoch)
    if table.ndim != 2 or not len(table) or table.shape[1:] != truth.shape:
        raise ValueError(f"by_epoch: shape {table.shape}; expected (epochs, {len(truth)}), a row an epoch")
    headline = recognition_scores(truth, table[-1], labels, corpora)
    if folds is None:
        best = max((recognition_scores(truth, row, labels) for row in table), key=lambda one: one["uf1"])
    else:
        best = recognition_scores(truth, _best_of_folds(truth, table, folds), labels)
    return headline | {"oracle": {name: best[name] for name in SCORES}}


def _best_of_folds(truth: np.ndarray, table: np.ndarray, folds: Sequence[Any]) -> np.ndarray:
    """Each clip's prediction after the epoch that was most accurate on its fold."""
    if len(folds) != len(truth):
        raise ValueError(f"{len(folds)} folds for {len(truth)} clips; give one each")
    members: dict[Any, list[int]] = {}
    for row, name in enumerate(folds):
        members.setdefault(name, []).append(row)
    chosen = table[-1].copy()
    for rows in members.values():
        right = (table[:, rows] == truth[rows]).sum(axis=1)
        chosen[rows] = table[right.argmax()][rows]
    return chosen

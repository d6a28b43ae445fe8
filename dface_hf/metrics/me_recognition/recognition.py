"""UF1, UAR and accuracy from counts that are summed over all folds first (See et al., MEGC 2019, section II).

The mean of the folds' own scores is another, lower number: a subject who shows one class only has F1 0 in the
others. Nothing here computes it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SCORES = ("uf1", "uar", "accuracy")


def recognition_scores(
    truth: ArrayLike,
    predicted: ArrayLike,
    labels: int | Sequence[str],
    corpora: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Scores of predictions of all folds together.

    Args:
        truth: (n,) class numbers from 0.
        predicted: (n,) class numbers from 0.
        labels: The class names in order, or how many classes there are.
        corpora: (n,) corpus of each clip, for scores of each corpus' part of the same run.

    Returns:
        `uf1` (mean over classes of F1 = 2 TP / (2 TP + FP + FN)), `uar` (mean over classes of recall),
        `accuracy`, `n`, `confusion` (truth in rows), and `per_corpus`: the same five for each corpus. F1 and
        recall of a class that has no clip are 0 and count in the mean, in a corpus' part as well.

    Raises:
        ValueError: No clip, unequal lengths, or a class number that is not among the labels.
    """
    count = class_count(labels)
    truth, predicted = check_labels(truth, "truth", count), check_labels(predicted, "predicted", count)
    if len(truth) != len(predicted):
        raise ValueError(
            f"{len(truth)} true classes but {len(predicted)} predicted ones; give one each a clip"
        )
    if corpora is not None and len(corpora) != len(truth):
        raise ValueError(f"{len(corpora)} corpora for {len(truth)} clips; give one each")
    names = np.asarray([] if corpora is None else corpora, dtype=str)
    parts = {str(name): names == name for name in dict.fromkeys(names.tolist())}
    return _scores(truth, predicted, count) | {
        "per_corpus": {name: _scores(truth[part], predicted[part], count) for name, part in parts.items()}
    }


def class_scores(confusion: ArrayLike) -> dict[str, list]:
    """F1, recall, precision and number of clips of each class.

    Args:
        confusion: (classes, classes) counts, truth in rows.

    Returns:
        `f1`, `recall`, `precision`, `n`: a list over the classes each; 0 where nothing is there to divide by.
    """
    counts = np.asarray(confusion)
    hits, true, said = counts.diagonal(), counts.sum(1), counts.sum(0)
    return {
        "f1": (2 * hits / np.maximum(true + said, 1)).tolist(),
        "recall": (hits / np.maximum(true, 1)).tolist(),
        "precision": (hits / np.maximum(said, 1)).tolist(),
        "n": true.tolist(),
    }


def class_count(labels: int | Sequence[str]) -> int:
    """How many classes there are.

    Raises:
        ValueError: None.
    """
    count = operator.index(labels) if hasattr(labels, "__index__") else len(labels)
    if count < 1:
        raise ValueError(f"labels={labels!r}; expected the names of the classes, or how many there are")
    return count


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Clips of each true (rows) and predicted class: (count, count) int64."""
    return np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)


def confusion_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """UF1, UAR and accuracy of any number of confusion matrices at once.

    Args:
        confusion: (..., classes, classes) counts, truth in rows.

    Returns:
        `uf1`, `uar` and `accuracy`, each of shape (...).
    """
    hits = confusion.diagonal(axis1=-2, axis2=-1)
    true, said = confusion.sum(-1), confusion.sum(-2)
    return {
        "uf1": (2 * hits / np.maximum(true + said, 1)).mean(-1),
        "uar": (hits / np.maximum(true, 1)).mean(-1),
        "accuracy": hits.sum(-1) / np.maximum(true.sum(-1), 1),
    }


def check_labels(values: ArrayLike, name: str, count: int) -> np.ndarray:
    """Class numbers as (n,) int64.

    Raises:
        ValueError: There is none, or one is no whole number in 0..count - 1; the message names its row.
    """
    array = np.asarray(values)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: shape {array.shape}; expected (n,) class numbers of at least one clip")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: holds {array.dtype}, such as {array[0]!r}; expected whole class numbers")
    outside = np.flatnonzero((array < 0) | (array >= count))
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"{name}: class {array[row]} in row {row}; there are {count} classes, 0 to {count - 1}"
        )
    return array.astype(np.int64)


def _scores(truth: np.ndarray, predicted: np.ndarray, count: int) -> dict[str, Any]:
    confusion = confusion_counts(truth, predicted, count)
    scores = {name: float(value) for name, value in confusion_scores(confusion).items()}
    return scores | {"n": len(truth), "confusion": confusion.tolist()}

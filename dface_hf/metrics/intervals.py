"""How sure a score is: bootstrap intervals of one list of predictions, and of the difference of two.

What is drawn again and again are clips, or subjects with all their clips: clips of one subject are alike, so
intervals over subjects are wider and the more cautious ones. Percentile intervals (Efron & Tibshirani, 1993,
chapter 13).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from .me_recognition.recognition import check_labels, class_count, confusion_scores

RESAMPLES = 2000
TIE = 1e-12  # equal scores, but for rounding
_BLOCK = 1 << 21  # numbers drawn at a time: 16 MB


def bootstrap_interval(
    truth: ArrayLike,
    predicted: ArrayLike,
    labels: int | Sequence[str],
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Intervals of UF1, UAR and accuracy.

    Args:
        truth: (n,) class numbers from 0.
        predicted: (n,) class numbers from 0, or (runs, n): the score is then the mean over runs.
        labels: The class names in order, or how many classes there are.
        groups: (n,) what is drawn as a whole, such as the subject (with its corpus); each clip alone when not
            given.
        resamples: How often all is drawn again.
        seed: Of the draws.
        level: Share of the draws that lies inside, in (0, 1).

    Returns:
        `uf1`, `uar`, `accuracy`: (low, high) each.

    Raises:
        ValueError: Bad classes or lengths, `resamples` below 1 or `level` outside (0, 1).
    """
    _check(resamples, level)
    [counts] = _counts(truth, [predicted], labels, groups)
    drawn = [_scores(counts, times) for times in _draws(counts.shape[1], resamples, seed)]
    return {name: _inside(np.concatenate([part[name] for part in drawn]), level) for name in drawn[0]}


def paired_bootstrap(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    labels: int | Sequence[str],
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, float]]:
    """By how much the first list of predictions scores above the second, on the same draws.

    Args:
        truth: (n,) class numbers from 0.
        first: (n,) predictions, or (runs, n).
        second: (n,) predictions of the same clips in the same order, or (runs, n).
        labels, groups, resamples, seed, level: As in `bootstrap_interval`.

    Returns:
        For `uf1`, `uar` and `accuracy`: `difference` (first - second, on all clips), `low` and `high` of its
        interval, and `p`: twice the smaller share of draws on either side of 0, at least 2 / (resamples + 1).

    Raises:
        ValueError: As in `bootstrap_interval`.
    """
    _check(resamples, level)
    tables = _counts(truth, [first, second], labels, groups)
    once = np.ones((1, tables[0].shape[1]))
    draws = chain([once], _draws(tables[0].shape[1], resamples, seed))
    parts = [[_scores(counts, times) for counts in tables] for times in draws]
    results = {}
    for name in parts[0][0]:
        whole, *differences = (one[name] - other[name] for one, other in parts)
        differences = np.concatenate(differences)
        low, high = _inside(differences, level)
        sides = (differences <= TIE).sum(), (differences >= -TIE).sum()
        p = min(1.0, 2 * (int(min(sides)) + 1) / (resamples + 1))
        results[name] = {"difference": float(whole[0]), "low": low, "high": high, "p": p}
    return results


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples={resamples} must be at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")


def _counts(truth, predictions, labels, groups) -> list[np.ndarray]:
    """The confusion matrix of each group in each run: (runs, groups, classes, classes), a list entry each."""
    count = class_count(labels)
    truth = check_labels(truth, "truth", count)
    if groups is not None and len(groups) != len(truth):
        raise ValueError(f"{len(groups)} groups for {len(truth)} clips; give one each")
    places = {} if groups is None else {name: row for row, name in enumerate(dict.fromkeys(groups))}
    rows = np.arange(len(truth)) if groups is None else np.array([places[name] for name in groups])
    tables = []
    for predicted in predictions:
        runs = np.atleast_2d(np.asarray(predicted))
        if runs.shape[1:] != truth.shape:
            raise ValueError(
                f"{len(truth)} true classes but predictions of shape {runs.shape}; give one each a clip"
            )
        table = np.zeros((len(runs), int(rows.max()) + 1, count, count))
        for run, values in zip(table, runs, strict=True):
            np.add.at(run, (rows, truth, check_labels(values, "predicted", count)), 1)
        tables.append(table)
    return tables


def _scores(counts: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over runs of the scores (draws,) of counts (runs, groups, ...), drawn `times` (draws, groups)."""
    runs, groups, classes = counts.shape[:3]
    drawn = times @ counts.reshape(runs, groups, -1)
    scores = confusion_scores(drawn.reshape(runs, len(times), classes, classes))
    return {name: values.mean(axis=0) for name, values in scores.items()}


def _draws(groups: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn, in blocks of draws: (block, groups)."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        picked = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(picked.ravel(), minlength=size * groups).reshape(size, groups).astype(float)


def _inside(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

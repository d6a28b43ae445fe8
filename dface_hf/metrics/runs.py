"""Several runs on the same clips, such as seeds: the mean of their scores, and how far they spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .me_recognition.recognition import SCORES, recognition_scores


def scores_of_runs(
    truth: ArrayLike,
    runs: ArrayLike,
    labels: int | Sequence[str],
    corpora: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Mean scores of runs. Each run is scored whole; predictions are not pooled over runs.

    Args:
        truth: (n,) class numbers from 0.
        runs: (runs, n) predictions of each run.
        labels: The class names in order, or how many classes there are.
        corpora: (n,) corpus of each clip.

    Returns:
        As from `recognition_scores`, with means for the scores and the sum of the runs' confusion matrices;
        besides `sd`, the scores' standard deviation over runs (one fewer in the divisor), and `runs`, the
        scores of each. One run has no `sd`.

    Raises:
        ValueError: No run, or what `recognition_scores` refuses.
    """
    if np.ndim(runs) != 2 or not len(runs):
        raise ValueError(f"runs: shape {np.shape(runs)}; expected (runs, n), a row of predictions a run")
    each = [recognition_scores(truth, run, labels, corpora) for run in runs]
    parts = {name: _mean([one["per_corpus"][name] for one in each]) for name in each[0]["per_corpus"]}
    return _mean(each) | {"per_corpus": parts, "runs": [{name: one[name] for name in SCORES} for one in each]}


def _mean(each: list[dict[str, Any]]) -> dict[str, Any]:
    values = {name: [one[name] for one in each] for name in SCORES}
    result: dict[str, Any] = {name: float(np.mean(numbers)) for name, numbers in values.items()}
    result |= {"n": each[0]["n"], "confusion": np.sum([one["confusion"] for one in each], axis=0).tolist()}
    if len(each) > 1:
        result["sd"] = {name: float(np.std(numbers, ddof=1)) for name, numbers in values.items()}
    return result

"""F1 of micro-expressions found in long videos, and its product with the F1 of their recognition (STRS).

A found interval is right when it overlaps a true one by an intersection over union of at least 0.5. Counts
are summed over all videos of a database before anything is divided (MEGC 2019 and later).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import f1_score


def spotting_scores(
    truth: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    threshold: float = 0.5,
    labels: int | Sequence[str] | None = None,
) -> dict[str, Any]:
    """Scores of the events found in a database.

    Args:
        truth: For each video its true events, rows (onset, offset) of frame numbers, both frames included;
            (onset, offset, class) with `labels`, the class -1 where none is annotated: such an event counts
            in spotting only. A video may have none.
        found: The same of what was found, video by video.
        threshold: Smallest intersection over union of a hit, in (0, 1].
        labels: The class names in order, or how many classes there are, to score recognition as well.

    Returns:
        `f1` (2 hits / (true + found)), `precision`, `recall`, `hits`, `true`, `found`; 0 where there is
        nothing to divide by. With `labels` also `recognition_f1`, the mean over classes of F1 on the hits
        of a known class (0 without them), and `strs`, its product with `f1` (MEGC 2025, spot-then-recognise).

    Raises:
        ValueError: Unequal numbers of videos, an interval that ends before it starts, or a class that is not
            among the labels (a found event always has one); the message names the video.
    """
    if len(truth) != len(found):
        raise ValueError(f"{len(truth)} videos with true events but {len(found)} with found ones")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} must lie in (0, 1]")
    count = len(labels) if isinstance(labels, Sequence) else labels
    hits, classes = 0, []
    totals = np.zeros(2, int)
    for video, (one, other) in enumerate(zip(truth, found, strict=True)):
        true, said = (
            _events(rows, f"{name} of video {video}", count, lowest)
            for rows, name, lowest in ((one, "truth", -1), (other, "found", 0))
        )
        pairs = match_events(true[:, :2], said[:, :2], threshold)
        hits, totals = hits + len(pairs), totals + (len(true), len(said))
        if count is not None:
            classes += [(true[i, 2], said[j, 2]) for i, j in pairs if true[i, 2] >= 0]
    scores = {
        "f1": 2 * hits / max(int(totals.sum()), 1),
        "precision": hits / max(int(totals[1]), 1),
        "recall": hits / max(int(totals[0]), 1),
        "hits": hits,
        "true": int(totals[0]),
        "found": int(totals[1]),
    }
    if count is None:
        return scores
    right = {"labels": range(count), "average": "macro", "zero_division": 0}
    recognition = float(f1_score(*zip(*classes, strict=True), **right)) if classes else 0.0
    return scores | {"recognition_f1": recognition, "strs": scores["f1"] * recognition}


def match_events(truth: ArrayLike, found: ArrayLike, threshold: float = 0.5) -> list[tuple[int, int]]:
    """Pair true with found intervals of one video, each used once: as many pairs as there can be.

    Among equally many pairs those with the largest total overlap are taken, so that the result does not
    depend on the order of the intervals.

    Args:
        truth: (n, 2) first and last frame.
        found: (m, 2) first and last frame.
        threshold: Smallest intersection over union of a pair.

    Returns:
        (row of truth, row of found) of each pair, in the order of truth.
    """
    overlap = interval_overlaps(truth, found)
    # All overlaps together weigh less than one more pair.
    gain = np.where(overlap >= threshold, 1 + overlap / (1 + min(overlap.shape)), 0)
    pairs = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in pairs if overlap[i, j] >= threshold]


def interval_overlaps(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Intersection over union of all pairs of intervals of frames, both ends included: (n, m) in [0, 1]."""
    a, b = (np.asarray(rows, float).reshape(-1, 2) for rows in (first, second))
    low, high = np.maximum(a[:, None, 0], b[:, 0]), np.minimum(a[:, None, 1], b[:, 1])
    common = np.maximum(high - low + 1, 0)
    lengths = (a[:, 1] - a[:, 0] + 1)[:, None] + (b[:, 1] - b[:, 0] + 1)
    return common / (lengths - common)


def _events(rows: ArrayLike, where: str, count: int | None, lowest: int) -> np.ndarray:
    """Rows (k, 2), or (k, 3) with classes, as whole numbers; checked."""
    width = 2 if count is None else 3
    columns = "(onset, offset)" if count is None else "(onset, offset, class)"
    try:
        table = np.asarray(rows)
    except ValueError as error:
        raise ValueError(f"{where}: rows of different lengths; expected {columns}") from error
    table = table if table.size else np.empty((0, width), int)
    if table.ndim != 2 or table.shape[1] != width or table.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: shape {table.shape} of {table.dtype}; expected rows {columns} of whole numbers"
        )
    for row in table[table[:, 0] > table[:, 1]]:
        raise ValueError(f"{where}: interval {row[:2].tolist()} ends before it starts")
    if count is not None:
        for row in table[(table[:, 2] < lowest) | (table[:, 2] >= count)]:
            raise ValueError(f"{where}: class {row[2]}; there are {count} classes, 0 to {count - 1}")
    return table

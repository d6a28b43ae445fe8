"""Keyframes chosen anew near the annotated ones: the pair of frames that differs most.

After GAMDSS (arXiv 2603.04766): people place onset and apex a little differently each time. For TRAINING
clips only; what is tested keeps the keyframes that people gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reselection:
    """Keyframes chosen anew, and how clear the choice was.

    Attributes:
        onset: Frame number.
        apex: Frame number.
        offset: Frame number; None where none was given.
        gain: Distance of the chosen pair relative to that of the annotated one; 1 where nothing differs more.
    """

    onset: int
    apex: int
    offset: int | None
    gain: float


def reselect_keyframes(
    frame: Callable[[int], NDArray], onset: int, apex: int, offset: int | None = None, share: float = 0.10
) -> Reselection:
    """Look for a better onset a little later, a better apex a little earlier, then a better offset earlier.

    With r = int(share * (apex - onset)): the onset within [onset, onset + r] and the apex within
    [apex - r, apex] whose pictures lie farthest apart (L2). Then, with r' = int(share * (offset - apex)), the
    offset within [offset - r', offset] that lies farthest from the new apex. Of equals the annotated one.

    Args:
        frame: Frame number -> picture, all of one shape; called once for each frame that is looked at.
        onset: Annotated frame number.
        apex: Annotated frame number, after the onset.
        offset: Annotated frame number, after the apex; None where there is none.
        share: Of each phase that may be cut off, in [0, 0.5).

    Raises:
        ValueError: For keyframes out of order, or a share outside [0, 0.5).
    """
    if not (onset < apex and (offset is None or apex < offset)):
        raise ValueError(f"expected onset < apex < offset, got {onset}, {apex} and {offset}")
    if not 0 <= share < 0.5:
        raise ValueError(f"share {share} is not in [0, 0.5)")
    reach = int(share * (apex - onset))
    first = _pictures(frame, range(onset, onset + reach + 1))
    last = _pictures(frame, range(apex, apex - reach - 1, -1))
    distance = {(a, b): float(np.linalg.norm(last[b] - first[a])) for a in first for b in last}
    best = max(distance, key=distance.__getitem__)
    annotated = distance[onset, apex]
    gain = distance[best] / annotated if annotated else 1.0
    if offset is not None:
        peak = last[best[1]]
        ends = _pictures(frame, range(offset, max(offset - int(share * (offset - apex)), apex + 1) - 1, -1))
        offset = max(ends, key=lambda index: float(np.linalg.norm(ends[index] - peak)))
    return Reselection(best[0], best[1], offset, gain)


def _pictures(frame: Callable[[int], NDArray], indices: Iterable[int]) -> dict[int, NDArray[np.float32]]:
    return {index: np.asarray(frame(index), dtype=np.float32).ravel() for index in indices}

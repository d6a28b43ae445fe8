"""Names of the places of a face in the aligned crop, of the PERSON's sides as in FACS."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Centres (x, y) in [-1, 1], y down, of the person's left half, which is the right half of the picture. Eyes
# and mouth are where `faces.alignment` puts them; the others follow the mean of many procedural faces.
_SIDED = {
    "inner brow": (0.18, -0.38),
    "outer brow": (0.50, -0.40),
    "eyelid": (0.35, -0.21),
    "cheek": (0.50, 0.12),
    "lip corner": (0.30, 0.48),
    "jaw": (0.50, 0.75),
}
_MEDIAN = {
    "forehead": (0.0, -0.72),
    "nose": (0.0, 0.02),
    "upper lip": (0.0, 0.38),
    "lower lip": (0.0, 0.57),
    "chin": (0.0, 0.80),
}

FACE_REGIONS: dict[str, tuple[float, float]] = {
    **{f"left {name}": place for name, place in _SIDED.items()},
    **{f"right {name}": (-x, y) for name, (x, y) in _SIDED.items()},
    **_MEDIAN,
}
"""Region -> its centre in the aligned crop, [-1, 1], y down."""


def region_shares(motion: ArrayLike) -> NDArray[np.float64]:
    """How the energy (squared length) of motion is spread over `FACE_REGIONS`.

    Args:
        motion: (..., 2, H, H) fields on the aligned crop, of any unit.

    Returns:
        (..., regions), each point counted for the nearest centre; sums to 1, or all 0 where nothing moves.
    """
    power = np.square(np.asarray(motion, float)).sum(axis=-3)
    nearest = _nearest_region(power.shape[-1])
    shares = np.stack([power[..., nearest == k].sum(axis=-1) for k in range(len(FACE_REGIONS))], axis=-1)
    return shares / np.maximum(shares.sum(axis=-1, keepdims=True), 1e-30)


def main_region(motion: ArrayLike, least: float = 1e-3) -> str | None:
    """Where a field (2, H, H) moves most; None where nothing moves further than `least`."""
    motion = np.asarray(motion, float)
    if np.linalg.norm(motion, axis=0).max() < least:
        return None
    return list(FACE_REGIONS)[int(region_shares(motion).argmax())]


@lru_cache(maxsize=8)
def _nearest_region(size: int) -> NDArray[np.int64]:
    """(size, size) number of the region whose centre is nearest."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.argmin([(x - cx) ** 2 + (y - cy) ** 2 for cx, cy in FACE_REGIONS.values()], axis=0)

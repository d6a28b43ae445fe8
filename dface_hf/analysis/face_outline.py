"""Lines of a face in the aligned crop, to draw maps of motion on: nobody's face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def face_outline(points: int = 36) -> list[NDArray[np.float32]]:
    """Polylines (points, 2), x and y in [-1, 1] of the aligned crop, y down: oval, brows, eyes, nose, lips.

    Eye centres and mouth centre are those of `faces.alignment`; the rest follows the mean of many procedural
    faces.
    """
    t = np.linspace(0, 1, points, dtype=np.float32)
    right_side = [_arc((0.35, -0.21), (0.15, 0.055), t), np.stack([0.14 + 0.44 * t, _brow(t)], axis=1)]
    both_sides = right_side + [line * np.float32([-1, 1]) for line in right_side]
    nose = np.stack([0.3 * (t - 0.5), 0.19 + 0.05 * np.sin(np.pi * t)], axis=1)
    across = np.stack([0.58 * (t - 0.5), 0.48 - 0.012 * np.cos(4 * np.pi * t)], axis=1)
    lips = np.concatenate([_lip(t, -0.075), _lip(t[::-1], 0.095)])
    return [_arc((0.0, -0.02), (0.76, 0.94), t), *both_sides, nose, across, lips]


def _arc(centre: tuple[float, float], radii: tuple[float, float], t: NDArray) -> NDArray[np.float32]:
    angle = 2 * np.pi * t
    return np.stack(
        [centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1
    ).astype(np.float32)


def _brow(t: NDArray) -> NDArray:
    return -0.31 - 0.06 * np.sin(np.pi * (0.15 + 0.75 * t))


def _lip(t: NDArray, height: float) -> NDArray[np.float32]:
    return np.stack([0.58 * (t - 0.5), 0.48 + height * np.sin(np.pi * t)], axis=1).astype(np.float32)

"""A motion of the aligned face, applied to the whole picture it was aligned from, without blur.

The model's crops are small, pictures are not. What a decoder says about motion is smooth and can be enlarged;
its pixels cannot. So only the flow is taken over, mapped through the similarity of the alignment, and the
picture's own pixels are moved, at its own size and in its own colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .similarity import Similarity

# The motion is taken over in full inside the first ellipse and not at all outside the second; radii of the
# second in units of half a crop. The chin is inside, most of hair, neck and background are not.
FADE = (0.82, 1.0)
RESERVE = 0.8  # of the level at which a warp folds
CENTRE, RADII = (0.0, 0.06), (1.02, 1.16)


@dataclass(frozen=True, eq=False)
class MovingFace:
    """A picture and the motion its face is to make.

    Attributes:
        image: (H, W), (H, W, 3) or (H, W, 4) uint8; all channels move together.
        similarity: Aligned coordinates -> pixels of the picture.
        flow: (S, S, 2) float32, backward flow of the full action over the aligned crop, in aligned units
            (half a crop is 1): the pixel of the apex at p shows what the picture has at p + flow(p).
    """

    image: NDArray[np.uint8]
    similarity: Similarity
    flow: NDArray[np.float32]

    def at(self, level: float) -> NDArray[np.uint8]:
        """The picture with `level` times the motion: a copy at 0; shape and type are those of the picture.

        Pixels that the motion does not reach are those of the picture, bit by bit.
        """
        moved = self.image.copy()
        if level == 0 or not self.shift.any():
            return moved
        x0, y0, x1, y1 = self._box
        columns, rows = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        step = np.float32(level) * self.shift
        patch = cv2.remap(
            self.image,
            columns + step[..., 0],
            rows + step[..., 1],
            cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        moves = step.any(axis=-1)
        moved[y0:y1, x0:x1][moves] = patch[moves]
        return moved

    def frames(self, levels: Iterable[float]) -> Iterator[NDArray[np.uint8]]:
        """One picture a level."""
        return (self.at(float(level)) for level in levels)

    @cached_property
    def most(self) -> float:
        """The level up to which the warp stays one to one, with some reserve; infinite without motion."""
        return fold_level(self.flow)

    @cached_property
    def _box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of the part of the picture that can move."""
        cx, cy = CENTRE
        rx, ry = RADII
        corners = self.similarity([(cx + i * rx, cy + j * ry) for i in (-1, 1) for j in (-1, 1)])
        low = np.floor(corners.min(0)).astype(int).clip(0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, self.image.shape[1::-1])
        return int(low[0]), int(low[1]), int(max(high[0], low[0])), int(max(high[1], low[1]))

    @cached_property
    def shift(self) -> NDArray[np.float32]:
        """(h, w, 2) backward flow of the full action, pixels of the picture, over the part that can move."""
        x0, y0, x1, y1 = self._box
        columns, rows = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        points = self.similarity.inverse(np.stack([columns, rows], -1))
        size = len(self.flow)
        place = ((points + 1) * size / 2 - 0.5).astype(np.float32)
        flow = cv2.remap(
            np.ascontiguousarray(self.flow, np.float32),
            place[..., 0],
            place[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        faded = flow * face_fade(points)[..., None]
        return (faded @ self.similarity.matrix[:, :2].T).astype(np.float32)


def face_fade(points: NDArray) -> NDArray[np.float64]:
    """How far aligned points (..., 2) take part in the motion of the face: 1 inside, 0 outside, smooth."""
    radius = np.hypot(*((points[..., k] - CENTRE[k]) / RADII[k] for k in (0, 1)))
    share = ((FADE[1] - radius) / (FADE[1] - FADE[0])).clip(0, 1)
    return share * share * (3 - 2 * share)


def fold_level(flow: NDArray[np.float32]) -> float:
    """How far a flow over the aligned crop can be scaled before it folds the face over itself.

    Args:
        flow: (S, S, 2) in aligned units; `face_fade` is applied.

    Returns:
        `RESERVE` of the level at which p + level * flow(p) stops being one to one; infinite where it never
        does.
    """
    size = len(flow)
    side = (np.arange(size) + 0.5) * 2 / size - 1
    flow = flow * face_fade(np.stack(np.meshgrid(side, side), -1))[..., None]
    (u_y, u_x), (v_y, v_x) = (np.gradient(flow[..., k], 2 / size) for k in (0, 1))
    half, det = (u_x + v_y) / 2, u_x * v_y - u_y * v_x
    # I + level * J is singular first where J has its most negative real eigenvalue.
    root = half * half - det
    lowest = float(np.where(root >= 0, half - np.sqrt(root.clip(0)), 0).min())
    return -RESERVE / lowest if lowest < 0 else float("inf")

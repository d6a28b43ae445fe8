"""The path of each patch of skin through a video: what moves when the head's own motion is taken out."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .stabilisation import (
    GRID,
    Level,
    band_pass,
    cell_means,
    cell_motion,
    cell_prior,
    head_motion,
    moved,
    prepare,
)

Floats = NDArray[np.float32]

ROWS, COLUMNS = 16, 8
"""Cells whose motion is followed: flat ones, so that lids and brows fall into different rows."""

REST = np.zeros((ROWS * COLUMNS, 2), np.float32)


class SkinTrack:
    """Path of each cell through the video, chained over references."""

    MAX_AGE = 2.0

    def __init__(self, keep_reference: bool = False) -> None:
        self.paths: list[Floats] = []
        self.poses: list[Floats] = []
        self.eyes: list[float] = []
        self.shot: list[int] = []
        self.seconds: list[float] = []
        self._reference: list[Level] | None = None
        self._keep, self._size = keep_reference, 0

    def push(self, crop: NDArray | None, seconds: float) -> None:
        """Measure one crop; None, or a crop that is not the face before, begins a new shot."""
        self.seconds.append(seconds)
        if crop is None:
            self._reference = None
            return self._append(REST, np.zeros(4), 1.0, -1)
        image = self._checked(crop)
        if self._reference is None:
            return self._begin(image, seconds)
        pose, _ = head_motion(self._reference[-2:], image, _TRUST, self._pose)
        whole, eyes = likeness(self._reference[-2], image, pose)
        if whole < 0.65:
            return self._begin(image, seconds)
        path, self._pose = self._base + skin_motion(self._reference, image, pose), pose
        self._append(path, self._base_pose + pose, eyes, self.shot[-1])
        self._renew(image, seconds, eyes)

    def shots(self) -> list[tuple[int, int]]:
        """Runs of frames without a cut or a gap, as (start, stop)."""
        edges = np.flatnonzero(np.diff(self.shot, prepend=-2, append=-2))
        return [(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False) if self.shot[a] >= 0]

    def _checked(self, crop: NDArray) -> Floats:
        shape, frame = np.shape(crop), len(self.paths)
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 48 or crop.dtype != np.uint8:
            told = f"{shape} {crop.dtype}"
            raise ValueError(
                f"frame {frame}: expected a square grey uint8 crop of at least 48 pixels, got {told}"
            )
        if self._size not in (0, shape[0]):
            raise ValueError(f"frame {frame}: a crop of side {shape[0]}, those before had {self._size}")
        self._size = shape[0]
        return crop.astype(np.float32)

    def _begin(self, image: Floats, seconds: float) -> None:
        self._base, self._base_pose = REST, np.zeros(4)
        self._refer(image, seconds)
        self._append(REST, np.zeros(4), 1.0, max(self.shot, default=-1) + 1)

    def _refer(self, image: Floats, seconds: float) -> None:
        self._reference, self._since, self._pose = prepare(image), seconds, np.zeros(4)

    def _renew(self, image: Floats, seconds: float, eyes: float) -> None:
        """A new reference when the old one is old or far; not in a blink, which would become the open eye."""
        age, far = seconds - self._since, np.abs(self._pose[2:]).max() > 0.06
        if far or (not self._keep and (age > 3 * self.MAX_AGE or (age > self.MAX_AGE and eyes > 0.85))):
            self._base, self._base_pose = self.paths[-1], self.poses[-1]
            self._refer(image, seconds)

    def _append(self, path: NDArray, pose: NDArray, eyes: float, shot: int) -> None:
        self.paths.append(path.astype(np.float32))
        self.poses.append(pose.astype(np.float32))
        self.eyes.append(eyes)
        self.shot.append(shot)


def skin_motion(reference: list[Level], image: Floats, pose: NDArray[np.float64]) -> Floats:
    """Motion of the cells that is not the head's, coarse to fine: (ROWS * COLUMNS, 2) px at 128."""
    half, full = reference[-2:]
    size = image.shape[0]
    coarse = cell_motion(half, moved(band_pass(cv2.pyrDown(image)), pose)).reshape(GRID, GRID, 2)
    shift = 2 * cv2.resize(cv2.GaussianBlur(coarse, (3, 3), 0.8), (size, size))
    there = _pixels(size) + shift
    seen = cv2.remap(
        moved(band_pass(image), pose), there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    motion = cell_motion(full, seen) + cell_means(shift)
    weighed = np.concatenate([motion * full.texture[:, None], full.texture[:, None]], 1)
    cells = weighed.reshape(ROWS, GRID // ROWS, COLUMNS, GRID // COLUMNS, 3).sum((1, 3)).reshape(-1, 3)
    return cells[:, :2] / cells[:, 2:] * (128 / size)


def likeness(level: Level, image: Floats, pose: NDArray[np.float64]) -> tuple[float, float]:
    """Correlation with the reference at half size: of the whole crop (above 0.8 in one shot), of the eyes."""
    seen = moved(band_pass(cv2.pyrDown(image)), pose)
    size = seen.shape[0]
    top, bottom = round(size * 0.335), round(size * 0.46)
    sides = [slice(round(size * (0.5 + x)), round(size * (0.7 + x))) for x in (-0.275, 0.075)]
    eyes = [_correlation(seen[top:bottom, side], level.smooth[top:bottom, side]) for side in sides]
    return _correlation(seen, level.smooth), float(np.mean(eyes))


def _correlation(a: Floats, b: Floats) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


@lru_cache(maxsize=4)
def _pixels(size: int) -> Floats:
    axis = np.arange(size, dtype=np.float32)
    return np.dstack(np.meshgrid(axis, axis))


def cell_centres(rows: int, columns: int) -> tuple[NDArray, NDArray]:
    """x and y of the cells of a grid over the aligned crop, each (rows * columns,) in [-1, 1], row by row."""
    x, y = np.meshgrid((np.arange(columns) + 0.5) * 2 / columns - 1, (np.arange(rows) + 0.5) * 2 / rows - 1)
    return x.ravel(), y.ravel()


def _trust() -> Floats:
    x, y = cell_centres(GRID, GRID)
    eyes = (np.abs(y + 0.22) < 0.16) & (np.abs(np.abs(x) - 0.35) < 0.24)
    return np.where(eyes, 0, cell_prior("upper")).astype(np.float32)


# Eyes have no say in where the head is: they blink.
_TRUST = _trust()

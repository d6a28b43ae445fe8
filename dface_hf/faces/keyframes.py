"""Spotting: when does a facial action begin, peak and end in a long video?

1. *Trajectories.* Every aligned crop is stabilised on a reference crop a few seconds old at most (see
   `stabilisation`), and the motion of the skin is measured in an 16 x 8 grid of cells. References are chained, so each
   cell has one path through the video, in pixels of a 128 px crop. Only these paths are kept: 256 bytes a frame.
2. *Score.* A short action moves skin away and back. A cell's excursion at t is the part of its path that
   differs from both t - k and t + k in the same direction: what ramps or stays (head turns, drift, the onset of a
   long smile) has none. What goes with the head's own motion or with the lids (blinks) is regressed out; the rest is
   divided by how restless the cell is at other times around it, which silences a talking mouth; the score is the mean
   of the strongest third of the cells (Moilanen et al., ICPR 2014, take the strongest third of block differences too).
3. *Events.* At each peak of the score the excursions of all cells are the pattern of the action. The paths
   projected on it give one curve of activation with far less noise than any cell has; onset and offset are where
   it leaves and comes back to its resting level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from scipy.signal import find_peaks

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

EventKind = Literal["micro", "macro"]

ROWS, COLUMNS = 16, 8
"""Cells of the crop whose motion is followed: flat ones, so that lids and brows fall into different rows."""

MAX_MICRO_SECONDS = 0.7
"""Longer events are macro-expressions. The definition is 0.5 s; onset and offset are found to a frame or two."""


@dataclass(frozen=True)
class Event:
    """A facial action in a video, as indices of the frames pushed.

    Attributes:
        onset: last frame at rest before it.
        apex: frame of strongest action, onset < apex.
        offset: first frame back at rest, apex <= offset.
        confidence: in [0, 1]; 0.5 at the threshold.
        score: height of the score curve.
        kind: "micro" up to `MAX_MICRO_SECONDS`, otherwise "macro".
    """

    onset: int
    apex: int
    offset: int
    confidence: float
    score: float
    kind: EventKind = "micro"


@dataclass(frozen=True)
class SpottingResult:
    """Events in order of time, the score of each frame pushed (T,) and the threshold its peaks had to pass."""

    events: list[Event]
    score: NDArray[np.float32]
    threshold: float


class Spotter:
    """Follows one aligned face through a video, frame by frame, and names its events at the end.

    Takes 1-2 ms a frame on one core and keeps about 300 bytes of each.

    Args:
        fps: frames a second, where `push` is not told the time.
        sensitivity: larger finds more: the threshold is divided by it.
        macro: report events longer than `MAX_MICRO_SECONDS` too.

    Raises:
        ValueError: for an fps or a sensitivity that is not positive.
    """

    def __init__(self, fps: float, *, sensitivity: float = 1.0, macro: bool = True) -> None:
        if not (fps > 0 and sensitivity > 0):
            raise ValueError(f"fps and sensitivity must be positive, got {fps} and {sensitivity}")
        self.fps, self.sensitivity, self.macro = float(fps), sensitivity, macro
        self._track = Track()
        self._seconds: list[float] = []

    def push(self, crop: NDArray | None, seconds: float | None = None) -> None:
        """Add the next frame.

        Args:
            crop: aligned grey crop (S, S) uint8, S = 64 to 128, all of one size; None where no face is seen.
            seconds: its time; frame number / fps when not given.

        Raises:
            ValueError: for a crop of another shape or type, or a time that does not grow.
        """
        seconds = len(self._seconds) / self.fps if seconds is None else float(seconds)
        if self._seconds and not seconds > self._seconds[-1]:
            raise ValueError(f"frame {len(self._seconds)}: time {seconds} s is not after {self._seconds[-1]} s")
        self._track.push(crop, seconds)
        self._seconds.append(seconds)

    def finish(self) -> SpottingResult:
        """Find the events in what was pushed; more frames may follow and `finish` be called again."""
        return _spot(self._track, np.array(self._seconds), self.fps, self.sensitivity, self.macro)


class Track:
    """Path of each cell through the video, chained over references."""

    MAX_AGE = 2.0

    def __init__(self) -> None:
        self.paths: list[NDArray[np.float16]] = []
        self.poses: list[NDArray[np.float32]] = []
        self.segments: list[int] = []
        self.eyes: list[float] = []
        self._size = 0
        self._break()

    def _break(self) -> None:
        self._reference: list[Level] | None = None

    def push(self, crop: NDArray | None, seconds: float) -> None:
        """Measure one crop; None, or a crop unlike the one before, begins a new segment."""
        if crop is None:
            self._break()
            self._append(np.zeros((ROWS * COLUMNS, 2)), np.zeros(4), -1)
            return
        image = self._checked(crop)
        if self._reference is not None:
            pose, _ = head_motion(self._reference[-2:], image, _PRIOR, self._pose)
            whole, eyes = _likeness(self._reference[-2], image, pose)
            if whole < 0.65:
                self._break()
        if self._reference is None:
            self._segment = max(self.segments, default=-1) + 1
            self._base, self._base_pose = np.zeros((ROWS * COLUMNS, 2)), np.zeros(4)
            self._refer(image, seconds)
            self._append(self._base, self._base_pose, self._segment)
            return
        motion = self._motion(image, pose)
        self._append(self._base + motion, self._base_pose + pose, self._segment)
        self._pose = pose
        self.eyes[-1] = eyes
        age = seconds - self._since
        if (age > self.MAX_AGE and eyes > 0.85) or age > 3 * self.MAX_AGE or np.abs(pose[2:]).max() > 0.06:
            self._base, self._base_pose = self._base + motion, self._base_pose + pose
            self._refer(image, seconds)

    def _checked(self, crop: NDArray) -> NDArray[np.float32]:
        shape = np.shape(crop)
        if len(shape) != 2 or shape[0] != shape[1] or crop.dtype != np.uint8 or shape[0] < 48:
            raise ValueError(
                f"frame {len(self.paths)}: expected a square grey uint8 crop of 48 pixels or more, "
                f"got {shape} {crop.dtype}"
            )
        if self._size not in (0, shape[0]):
            raise ValueError(f"frame {len(self.paths)}: crop of side {shape[0]}, those before had {self._size}")
        self._size = shape[0]
        return crop.astype(np.float32)

    def _refer(self, image: NDArray[np.float32], seconds: float) -> None:
        self._reference, self._since, self._pose = prepare(image), seconds, np.zeros(4)

    def _append(self, path: NDArray, pose: NDArray, segment: int) -> None:
        self.paths.append(path.astype(np.float32))
        self.poses.append(pose.astype(np.float32))
        self.segments.append(segment)
        self.eyes.append(1.0)

    def _motion(self, image: NDArray[np.float32], pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """Motion of the cells that is not the head's: (ROWS * COLUMNS, 2) px at 128."""
        half, full = self._reference[-2:]
        coarse = cell_motion(half, moved(band_pass(cv2.pyrDown(image)), pose)).reshape(GRID, GRID, 2)
        # Twice: pixels of the full size are half those of the coarse one.
        size = image.shape[0]
        shift = 2 * cv2.resize(cv2.GaussianBlur(coarse, (3, 3), 0.8), (size, size))
        smooth = cv2.remap(
            moved(band_pass(image), pose), _pixels(size) + shift, None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        fine = cell_motion(full, smooth) + cell_means(shift)
        weighed = np.concatenate([fine * full.texture[:, None], full.texture[:, None]], 1)
        cells = weighed.reshape(ROWS, GRID // ROWS, COLUMNS, GRID // COLUMNS, 3).sum((1, 3)).reshape(-1, 3)
        return cells[:, :2] / cells[:, 2:] * (128 / size)


@lru_cache(maxsize=4)
def _pixels(size):
    axis = np.arange(size, dtype=np.float32)
    return np.dstack(np.meshgrid(axis, axis))


def _likeness(level, image, pose):
    """Correlation of a crop with the reference at half its size, of the whole and of the eyes."""
    seen = moved(band_pass(cv2.pyrDown(image)), pose)
    n = seen.shape[0]
    rows = slice(round(n * (1 - 0.33) / 2), round(n * (1 - 0.08) / 2))
    eyes = [(rows, slice(round(n * (1 + x - 0.2) / 2), round(n * (1 + x + 0.2) / 2))) for x in (-0.35, 0.35)]
    return _correlation(seen, level.smooth), np.mean([_correlation(seen[e], level.smooth[e]) for e in eyes])


def _correlation(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


_PRIOR = cell_prior("upper")


def find_events(*a, **k):
    raise NotImplementedError

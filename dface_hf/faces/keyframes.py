"""Spotting: when does a facial action begin, peak and end in a long video?

1. *Paths.* Every aligned crop is stabilised on a reference crop a few seconds old (see `stabilisation`),
   and the motion of the skin is measured in a 16 x 8 grid of cells. References are chained, so each cell
   has one path through the video, in pixels of a 128 px crop. Only the paths are kept: 1 kB a frame,
   whatever the crop.
2. *Score.* A short action moves skin away and back. A cell's excursion at t is the part of its path that
   differs from both t - k and t + k in one direction: what ramps or stays (drift, the onset of a long
   smile) has none. It is divided by how restless the cell is in the seconds around; cells near the eyes do
   not count while the eyes blink, nor those of the lower face while it keeps moving (speech). The score is
   the mean of the strongest quarter of the cells (Moilanen et al., ICPR 2014, take the strongest third of
   their block differences).
3. *Events.* At a peak of the score the excursions of all cells are the pattern of the action. The paths
   projected on it give one curve of activation with far less noise than any cell has: onset and offset are
   where it leaves and comes back to rest, and an event counts when the curve stands out of its surroundings
   and the cells are back where they were.

The thresholds were chosen on synthetic videos (``examples/benchmarks/spotting.py``, seeds from 1000).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d
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
Floats = NDArray[np.float32]

ROWS, COLUMNS = 16, 8
"""Cells whose motion is followed: flat ones, so that lids and brows fall into different rows."""

MAX_MICRO_SECONDS = 0.7
"""Longer events are macro-expressions. Defined as 0.5 s; onset and offset are found to a frame or two."""

SCORE_THRESHOLD, EVENT_THRESHOLD = 0.6, 1.7
"""What a peak of the score curve, and then the score of an event, must reach at sensitivity 1."""

SINGLE_THRESHOLD = 2.0
"""The same for the one event of a short clip, whose score is in units of noise."""


@dataclass(frozen=True)
class Event:
    """A facial action in a video, as indices of the frames pushed.

    Attributes:
        onset: last frame at rest before it.
        apex: frame of strongest action, onset < apex.
        offset: first frame back at rest, apex <= offset.
        confidence: in [0, 1]; 0.5 at the threshold.
        score: how far the action stands out, >= 0 (1.7 and more at sensitivity 1).
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
    """Events in order of time, the score curve (T,), and the height its peaks must have to be looked at."""

    events: list[Event]
    score: Floats
    threshold: float


class Spotter:
    """Follows one aligned face through a video, frame by frame, and names its events at the end.

    Args:
        fps: frames a second, where `push` is not told the time.
        sensitivity: larger finds more: the thresholds are divided by it.
        macro: report events longer than `MAX_MICRO_SECONDS` too.

    Raises:
        ValueError: for an fps or a sensitivity that is not positive.
    """

    def __init__(self, fps: float, *, sensitivity: float = 1.0, macro: bool = False) -> None:
        if not (fps > 0 and sensitivity > 0):
            raise ValueError(f"fps and sensitivity must be positive, got {fps} and {sensitivity}")
        self.fps, self.sensitivity, self.macro = float(fps), sensitivity, macro
        self._track = _Track()

    def push(self, crop: NDArray | None, seconds: float | None = None) -> None:
        """Add the next frame.

        Args:
            crop: aligned grey crop (S, S) uint8, S >= 48 (96 is best), all of one size; None where no face is
                seen.
            seconds: its time; frame number / fps when not given.

        Raises:
            ValueError: for a crop of another shape or type, or a time that does not grow.
        """
        times = self._track.seconds
        seconds = len(times) / self.fps if seconds is None else float(seconds)
        if times and not seconds > times[-1]:
            raise ValueError(
                f"frame {len(times)}: time {seconds} s is not after the one before, {times[-1]} s"
            )
        self._track.push(crop, seconds)

    def finish(self) -> SpottingResult:
        """Find the events in what was pushed; more frames may follow and `finish` be called again."""
        track, events = self._track, []
        score = np.zeros(len(track.seconds), np.float32)
        for start, stop in track.shots():
            shot = _Shot(track, start, stop, self.fps)
            score[start:stop] = shot.score
            events += shot.events(self.sensitivity)
        kept = [e for e in events if self.macro or e.kind == "micro"]
        return SpottingResult(kept, score, SCORE_THRESHOLD / self.sensitivity)


def find_events(
    crops: Iterable[NDArray | None],
    fps: float = 25.0,
    seconds: Sequence[float] | None = None,
    **options: float,
) -> SpottingResult:
    """Events in a sequence of crops; ``options`` are those of `Spotter`."""
    spotter = Spotter(fps, **options)
    for index, crop in enumerate(crops):
        spotter.push(crop, None if seconds is None else seconds[index])
    return spotter.finish()


def find_apex(crops: Sequence[NDArray], onset: int, offset: int) -> int:
    """Frame of strongest action between a given onset and offset.

    Raises:
        ValueError: unless 0 <= onset < offset < len(crops).
    """
    if not 0 <= onset < offset < len(crops):
        raise ValueError(
            f"expected 0 <= onset < offset < {len(crops)}, got onset {onset} and offset {offset}"
        )
    action = _single_action(crops[onset : offset + 1])
    return onset + max(1, action.apex)


def find_keyframes(crops: Sequence[NDArray], fps: float = 25.0) -> Event | None:
    """The best single event of a clip, which may be the whole clip; None for a still one.

    A clip of more than two seconds is searched as a long video first. In a shorter one the first and last
    frames are taken to be near rest; where the action does not come back, the offset is the last frame.
    """
    if len(crops) > 2 * fps:
        events = find_events(crops, fps, macro=True).events
        if events:
            return max(events, key=lambda event: (event.kind == "micro", event.score))
    if len(crops) < 2:
        return None
    action = _single_action(crops)
    if action.score < SINGLE_THRESHOLD or action.apex <= action.onset:
        return None
    seconds = (action.offset - action.onset) / fps
    confidence = action.score / (action.score + SINGLE_THRESHOLD)
    kind: EventKind = "micro" if seconds <= MAX_MICRO_SECONDS else "macro"
    return Event(action.onset, action.apex, action.offset, confidence, action.score, kind)


class _Track:
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
            return self._append(_REST, np.zeros(4), 1.0, -1)
        image = self._checked(crop)
        if self._reference is None:
            return self._begin(image, seconds)
        pose, _ = head_motion(self._reference[-2:], image, _TRUST, self._pose)
        whole, eyes = _likeness(self._reference[-2], image, pose)
        if whole < 0.65:
            return self._begin(image, seconds)
        path, self._pose = self._base + _skin_motion(self._reference, image, pose), pose
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
        self._base, self._base_pose = _REST, np.zeros(4)
        self._refer(image, seconds)
        self._append(_REST, np.zeros(4), 1.0, max(self.shot, default=-1) + 1)

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


def _skin_motion(reference: list[Level], image: Floats, pose: NDArray[np.float64]) -> Floats:
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


def _likeness(level: Level, image: Floats, pose: NDArray[np.float64]) -> tuple[float, float]:
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


@dataclass(frozen=True)
class _Action:
    """One candidate: indices in its shot, score (`_stands_out`), and height of its curve, px at 128."""

    onset: int
    apex: int
    offset: int
    score: float
    height: float


class _Shot:
    """The analysis of one run of frames, on a time grid of at most 50 frames a second."""

    def __init__(self, track: _Track, start: int, stop: int, fps: float) -> None:
        seconds = np.array(track.seconds[start:stop])
        fps = 1 / float(np.median(np.diff(seconds))) if len(seconds) > 1 else fps
        self.start, self.stop, self.fps = start, stop, fps
        self.step = max(1, round(fps / 50))
        self.rate = fps / self.step
        paths = gaussian_filter1d(self._grid(track.paths), 0.5, axis=0)
        self.paths = _without_pose(paths, self._grid(track.poses), self._frames(MICRO.reach))
        self.weight = _weights(self.paths, self._grid(track.poses), self._grid(track.eyes), self.rate)
        self.micro = self._score(MICRO)
        self.score = np.repeat(self.micro.curve, self.step)[: stop - start]

    def events(self, sensitivity: float) -> list[Event]:
        """Micro- and macro-expressions, in order of time; none overlaps another."""
        found = self._actions(MICRO, self.micro, sensitivity)
        found += self._actions(MACRO, self._score(MACRO), sensitivity)
        threshold = EVENT_THRESHOLD / sensitivity
        events: list[Event] = []
        # The higher of two that overlap is the one seen: bumps on a long smile belong to the smile.
        for action in sorted(found, key=lambda x: -x.height if x.score >= threshold else 0):
            event = self._event(action, threshold)
            if action.score >= threshold and not any(_overlap(event, e) for e in events):
                events.append(event)
        return sorted(events, key=lambda e: e.onset)

    def _event(self, action: _Action, threshold: float) -> Event:
        onset, apex, offset = (
            self.start + min(i * self.step + self.step // 2, self.stop - self.start - 1)
            for i in (action.onset, action.apex, action.offset)
        )
        kind: EventKind = (
            "micro" if action.offset - action.onset <= MAX_MICRO_SECONDS * self.rate else "macro"
        )
        confidence = action.score / (action.score + threshold)
        return Event(onset, apex, offset, float(confidence), float(action.score), kind)

    def _grid(self, values: Sequence) -> Floats:
        values = np.asarray(values[self.start : self.stop], np.float32)
        missing = -len(values) % self.step
        values = np.concatenate([values, np.repeat(values[-1:], missing, 0)])
        return values.reshape(-1, self.step, *values.shape[1:]).mean(1)

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds * self.rate))

    def _score(self, scale: _Scale) -> _Score:
        pull = _excursion(self.paths, self._frames(scale.reach))
        size = np.linalg.norm(pull, axis=2)
        restless = 0.06 + _around(size, self._frames(0.25), *scale.around, percentile=70)
        height = self.weight * size / restless
        count = int(_FACE.sum()) // 4
        curve = np.partition(height, -count, axis=1)[:, -count:].mean(1)
        return _Score(pull, restless, height, curve)

    def _actions(self, scale: _Scale, score: _Score, sensitivity: float) -> list[_Action]:
        height, distance = SCORE_THRESHOLD / sensitivity, self._frames(0.12)
        peaks, _ = find_peaks(score.curve, height=height, distance=distance)
        actions = [self._action(int(peak), scale, score) for peak in peaks]
        low, high = (x * self.rate for x in scale.duration)
        timely = [x for x in actions if low <= x.offset - x.onset <= high and x.onset < x.apex]
        return [x for x in timely if scale.height[0] <= x.height <= scale.height[1]]

    def _action(self, peak: int, scale: _Scale, score: _Score) -> _Action:
        pattern = _pattern(score, peak)
        low = max(0, peak - self._frames(scale.window))
        curve = np.einsum("tnc,nc->t", self.paths[low : peak + self._frames(scale.window) + 1], pattern)
        reach = self._frames(scale.reach)
        before, after = curve - _shift(curve, -reach), curve - _shift(curve, reach)
        bump = np.minimum(before, after)
        near = self._frames(scale.reach / 2)
        middle = _highest(bump, peak - low, near)
        apex = _highest(curve, middle, near)
        onset, offset, rest = _extent(curve, apex, reach, self._frames(scale.span), self._frames(0.1))
        height = max(float(bump[middle]), 0.0)
        apart = np.maximum(bump, -np.maximum(before, after))
        noise = _noise(
            [apart[: max(0, onset - reach // 2)], apart[offset + reach // 2 + 1 :]], self._frames(0.25)
        )
        pace = self._frames(2 * scale.reach)
        change = np.linalg.norm((_shift(self.paths, pace) - _shift(self.paths, -pace))[peak], axis=1)
        moved_on = change @ np.linalg.norm(pattern, axis=1)
        value = _stands_out(float(score.curve[peak]), height, noise, float(moved_on))
        return _Action(low + onset, low + apex, low + offset, value, height)


@dataclass(frozen=True)
class _Scale:
    """Times (seconds) at which a kind of event is looked for.

    Attributes:
        reach: the frames compared with are this far before and after.
        span: onset and offset are at most this far from the apex.
        window: surroundings an event is judged by.
        around: the same for the restlessness, and the gap left out around the event, in quarters of a second.
        duration: shortest and longest.
        height: lowest and highest, in px at 128 (not seconds).
    """

    reach: float
    span: float
    window: float
    around: tuple[int, int]
    duration: tuple[float, float]
    height: tuple[float, float]


# What moves the skin by several pixels and back within half a second is a gesture or a syllable.
MICRO = _Scale(0.22, 0.75, 2.0, (6, 1), (0.1, MAX_MICRO_SECONDS), (0.0, 2.5))
MACRO = _Scale(1.5, 3.0, 6.0, (24, 10), (MAX_MICRO_SECONDS, 5.0), (1.0, 30.0))


@dataclass(frozen=True)
class _Score:
    """Excursion (T, N, 2) px, restlessness (T, N) px, their weighed ratio (T, N), score curve (T,)."""

    pull: Floats
    restless: Floats
    height: Floats
    curve: Floats


def _stands_out(excursion: float, height: float, noise: float, change: float) -> float:
    """Geometric mean of three ratios no nuisance has all of.

    Excursion against the restlessness around, height of the curve against its other excursions, height
    against the change of rest from before to after. The constants are the noise of a curve and of a path,
    px at 128.
    """
    return float(np.cbrt(excursion * height / (noise + 0.02) * height / (change + 0.05)))


def _single_action(crops: Sequence[NDArray]) -> _Action:
    """The strongest action of a short clip, against its first and last frames."""
    track = _Track(keep_reference=True)
    for index, crop in enumerate(crops):
        track.push(crop, float(index))
    paths = gaussian_filter1d(np.stack(track.paths), 0.5, axis=0)
    # Most cells of a face at rest or in a small action move by their noise only.
    still = 0.1 + 2 * float(np.median(np.linalg.norm(np.diff(paths, axis=0), axis=2)[:, _FACE]))
    blinks = np.array(track.eyes) < min(0.9, float(np.median(track.eyes)))
    weight = np.where(blinks[:, None] & _BY_EYES, 0, _FACE)
    best = None
    for end in (paths[-1:], paths[:1]):  # away and back, or else away from the first frame for good
        pull = _between(paths - paths[:1], paths - end)
        height = weight * np.linalg.norm(pull, axis=2) / still
        curve = np.sort(height, axis=1)[:, -int(_FACE.sum()) // 8 :].mean(1)
        peak = int(curve.argmax())
        score = _Score(pull, np.full_like(height, still), height, curve)
        level = np.einsum("tnc,nc->t", paths, _pattern(score, peak))
        apex = _highest(level, peak, 2)
        onset, offset, _ = _extent(level, apex, len(level), len(level), 1)
        best = _Action(onset, apex, offset, float(curve[peak]), float(level[apex] - level[0]))
        if best.score >= SINGLE_THRESHOLD and 0 < apex < len(level) - 1:
            break
    return best


def _weights(paths: Floats, poses: Floats, eyes: Floats, rate: float) -> Floats:
    """Which cells count when: (T, N) in [0, 1]."""
    reach = max(1, round(MICRO.reach * rate))
    change = 1 - eyes
    wink = change - np.maximum(_shift(change, -reach), _shift(change, reach))
    blinks = wink > max(0.05, 4 * float(np.median(np.abs(wink))))
    blinks = maximum_filter1d(blinks, 2 * round(0.12 * rate) + 1)
    silent = blinks[:, None] & _BY_EYES
    for half in (_LOWER, ~_LOWER):  # speech below; above, an actor's brows, or a head that turns all the time
        silent |= _restless(paths, half & _FACE, rate)[:, None] & half
    nod = 64 * np.linalg.norm(_shift(poses, reach) - _shift(poses, -reach), axis=1)
    doubt = np.where(blinks, 0.5, 1.0) / (1 + (nod / 3) ** 2)
    return (np.where(silent, 0, _FACE) * doubt[:, None]).astype(np.float32)


def _restless(paths: Floats, cells: NDArray[np.bool_], rate: float) -> NDArray[np.bool_]:
    """When cells keep moving: in 30 % of the second before and the second after, 0.3 s left out: (T,)."""
    pace = max(1, round(0.06 * rate))
    speed = np.linalg.norm(_shift(paths, pace) - _shift(paths, -pace), axis=2)[:, cells].mean(1)
    # Noise differs between videos; but who talks all the time must not set the standard.
    busy = (speed > 2.5 * min(float(np.percentile(speed, 20)), 0.12) + 0.03).astype(np.float64)
    wide, narrow = 2 * round(rate) + 1, 2 * round(0.3 * rate) + 1
    share = (wide * uniform_filter1d(busy, wide) - narrow * uniform_filter1d(busy, narrow)) / (wide - narrow)
    return share > 0.3


def _without_pose(paths: Floats, poses: Floats, reach: int) -> Floats:
    """Paths less what goes with the head's pose: a turning head moves nose and cheeks apart."""
    both = np.concatenate([64 * poses, paths.reshape(len(paths), -1)], 1)
    bend = both - 0.5 * (_shift(both, reach) + _shift(both, -reach))
    pose, skin = bend[:, :4], bend[:, 4:]
    limit = 3 * np.percentile(np.abs(skin), 75, axis=0) + 1e-3
    normal = pose.T @ pose + 2e-4 * len(paths) * np.eye(4)
    shares = np.linalg.solve(normal, pose.T @ np.clip(skin, -limit, limit))
    return paths - (both[:, :4] @ shares).reshape(paths.shape).astype(np.float32)


def _shift(values: NDArray, by: int) -> NDArray:
    """Values ``by`` frames later, the ends held."""
    return values[np.clip(np.arange(len(values)) + by, 0, len(values) - 1)]


def _excursion(paths: Floats, reach: int) -> Floats:
    return _between(paths - _shift(paths, -reach), paths - _shift(paths, reach))


def _between(before: Floats, after: Floats) -> Floats:
    """The part two displacements have in common: along their mean, the shorter of their shadows on it."""
    mean = before + after
    along = mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-6)
    shorter = np.minimum((before * along).sum(-1), (after * along).sum(-1))
    return along * np.maximum(shorter, 0)[..., None]


def _around(size: Floats, block: int, reach: int, gap: int, percentile: float) -> Floats:
    """Percentile of the maxima of the blocks of time around each moment, the nearest left out: (T, N)."""
    count = -(-len(size) // block)
    padded = np.concatenate([size, np.zeros((count * block - len(size), size.shape[1]), size.dtype)])
    maxima = padded.reshape(count, block, -1).max(1)
    typical = np.zeros_like(maxima)
    for i in range(count):
        others = [j for j in range(max(0, i - reach), min(count, i + reach + 1)) if abs(j - i) > gap]
        if len(others) >= 3:
            typical[i] = np.percentile(maxima[others], percentile, axis=0)
    place = np.clip((np.arange(len(size)) + 0.5) / block - 0.5, 0, count - 1)
    low = place.astype(int)
    part = (place - low)[:, None].astype(np.float32)
    return typical[low] * (1 - part) + typical[np.minimum(low + 1, count - 1)] * part


def _pattern(score: _Score, peak: int) -> Floats:
    """Directions (N, 2) of the cells that act, weighed by how far they stand out; their lengths sum to 1."""
    height = score.height[peak]
    pattern = score.pull[peak] / score.restless[peak][:, None]
    pattern = np.where((height >= 0.2 * height.max())[:, None], pattern, 0)
    return pattern / max(float(np.linalg.norm(pattern, axis=1).sum()), 1e-9)


def _highest(curve: Floats, near: int, reach: int) -> int:
    low = max(0, near - reach)
    return low + int(np.argmax(curve[low : near + reach + 1]))


def _extent(curve: Floats, apex: int, reach: int, span: int, few: int) -> tuple[int, int, float]:
    """Onset and offset of the bump at the apex, and how far apart the levels before and after it are."""
    before = float(np.median(curve[max(0, apex - reach - few) : max(1, apex - reach + 1)]))
    end = min(len(curve) - 1, apex + reach)
    after = float(np.median(curve[end : end + few + 1]))
    left = _way_to_rest(curve[max(0, apex - span) : apex + 1][::-1], before)
    right = _way_to_rest(curve[apex : apex + span + 1], after)
    return apex - left, apex + right, abs(after - before)


def _way_to_rest(curve: Floats, rest: float) -> int:
    """Steps from the apex (the first value) to 85 % of the way to rest, which may lie lower further on."""
    for _ in range(3):
        there = np.flatnonzero(curve <= rest + 0.15 * (curve[0] - rest))
        steps = int(there[0]) if len(there) else len(curve) - 1
        lower = float(curve[steps : steps + 4].min())
        if rest - lower < 0.12 * (curve[0] - rest):
            break
        rest = lower
    return steps


def _noise(parts: list[Floats], block: int) -> float:
    """How high the curve gets elsewhere: upper quartile of its maxima in blocks of time."""
    rest = np.concatenate(parts)
    maxima = [rest[i : i + block].max() for i in range(0, len(rest) - block + 1, block)]
    return float(np.percentile(maxima, 75)) if len(maxima) > 2 else 0.0


def _overlap(a: Event, b: Event) -> bool:
    return a.onset < b.offset and b.onset < a.offset


def _cells(rows: int, columns: int) -> tuple[NDArray, NDArray]:
    x, y = np.meshgrid((np.arange(columns) + 0.5) * 2 / columns - 1, (np.arange(rows) + 0.5) * 2 / rows - 1)
    return x.ravel(), y.ravel()


_X, _Y = _cells(ROWS, COLUMNS)
_LIDS = (np.abs(_Y + 0.25) < 0.1) & (np.abs(np.abs(_X) - 0.4) < 0.3)
_FACE = ((_X / 0.85) ** 2 + (_Y / 0.98) ** 2 < 1) & ~_LIDS
_BY_EYES = (np.abs(_Y + 0.215) < 0.335) & (np.abs(_X) < 0.8)
_LOWER = _Y > 0.05
_REST = np.zeros((ROWS * COLUMNS, 2), np.float32)


def _trust() -> Floats:
    x, y = _cells(GRID, GRID)
    eyes = (np.abs(y + 0.22) < 0.16) & (np.abs(np.abs(x) - 0.35) < 0.24)
    return np.where(eyes, 0, cell_prior("upper")).astype(np.float32)


# Eyes have no say in where the head is: they blink.
_TRUST = _trust()

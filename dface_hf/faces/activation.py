"""From the paths of the skin to actions: a score over time, and where each action begins, peaks and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d
from scipy.signal import find_peaks

from .skin_motion import COLUMNS, ROWS, Floats, SkinTrack, cell_centres

EventKind = Literal["micro", "macro"]

MAX_MICRO_SECONDS = 0.7
"""Longer events are macro-expressions. Defined as 0.5 s; onset and offset are found to a frame or two."""

SCORE_THRESHOLD, EVENT_THRESHOLD = 0.6, 1.7
"""What a peak of the score curve, and then the score of an event, must reach at sensitivity 1."""

SINGLE_THRESHOLD = 2.0
"""What the one event of a short clip must reach; its score is in units of noise."""

_X, _Y = cell_centres(ROWS, COLUMNS)
_LIDS = (np.abs(_Y + 0.25) < 0.1) & (np.abs(np.abs(_X) - 0.4) < 0.3)
#: (ROWS * COLUMNS,) whether a cell of `SkinTrack` lies on the face; the lids, which blink, are left out.
FACE_CELLS = ((_X / 0.85) ** 2 + (_Y / 0.98) ** 2 < 1) & ~_LIDS
_BY_EYES = (np.abs(_Y + 0.215) < 0.335) & (np.abs(_X) < 0.8)
_LOWER = _Y > 0.05


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
class Action:
    """One candidate: indices in its shot, score (`_stands_out`), and height of its curve, px at 128."""

    onset: int
    apex: int
    offset: int
    score: float
    height: float


class Shot:
    """The analysis of one run of frames, on a time grid of at most 50 frames a second."""

    def __init__(self, track: SkinTrack, start: int, stop: int, fps: float) -> None:
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

    def _event(self, action: Action, threshold: float) -> Event:
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
        count = int(FACE_CELLS.sum()) // 4
        curve = np.partition(height, -count, axis=1)[:, -count:].mean(1)
        return _Score(pull, restless, height, curve)

    def _actions(self, scale: _Scale, score: _Score, sensitivity: float) -> list[Action]:
        height, distance = SCORE_THRESHOLD / sensitivity, self._frames(0.12)
        peaks, _ = find_peaks(score.curve, height=height, distance=distance)
        actions = [self._action(int(peak), scale, score) for peak in peaks]
        low, high = (x * self.rate for x in scale.duration)
        timely = [x for x in actions if low <= x.offset - x.onset <= high and x.onset < x.apex]
        return [x for x in timely if scale.height[0] <= x.height <= scale.height[1]]

    def _action(self, peak: int, scale: _Scale, score: _Score) -> Action:
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
        return Action(low + onset, low + apex, low + offset, value, height)


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


def single_action(crops: Sequence[NDArray], threshold: float = SINGLE_THRESHOLD) -> Action:
    """The strongest action of a short clip, against its first and last frames.

    Below the threshold it is taken against the first frame alone: an action that does not come back.
    """
    track = SkinTrack(keep_reference=True)
    for index, crop in enumerate(crops):
        track.push(crop, float(index))
    paths = gaussian_filter1d(np.stack(track.paths), 0.5, axis=0)
    # Most cells of a face at rest or in a small action move by their noise only.
    still = 0.1 + 2 * float(np.median(np.linalg.norm(np.diff(paths, axis=0), axis=2)[:, FACE_CELLS]))
    blinks = np.array(track.eyes) < min(0.9, float(np.median(track.eyes)))
    weight = np.where(blinks[:, None] & _BY_EYES, 0, FACE_CELLS)
    best = None
    for end in (paths[-1:], paths[:1]):  # away and back, or else away from the first frame for good
        pull = _between(paths - paths[:1], paths - end)
        height = weight * np.linalg.norm(pull, axis=2) / still
        curve = np.sort(height, axis=1)[:, -int(FACE_CELLS.sum()) // 8 :].mean(1)
        peak = int(curve.argmax())
        score = _Score(pull, np.full_like(height, still), height, curve)
        level = np.einsum("tnc,nc->t", paths, _pattern(score, peak))
        apex = _highest(level, peak, 2)
        onset, offset, _ = _extent(level, apex, len(level), len(level), 1)
        best = Action(onset, apex, offset, float(curve[peak]), float(level[apex] - level[0]))
        if best.score >= threshold and 0 < apex < len(level) - 1:
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
        silent |= _restless(paths, half & FACE_CELLS, rate)[:, None] & half
    nod = 64 * np.linalg.norm(_shift(poses, reach) - _shift(poses, -reach), axis=1)
    doubt = np.where(blinks, 0.5, 1.0) / (1 + (nod / 3) ** 2)
    return (np.where(silent, 0, FACE_CELLS) * doubt[:, None]).astype(np.float32)


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

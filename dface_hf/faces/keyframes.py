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

import numpy as np
from numpy.typing import NDArray

from .activation import (
    MAX_MICRO_SECONDS,
    SCORE_THRESHOLD,
    SINGLE_THRESHOLD,
    Event,
    EventKind,
    Shot,
    single_action,
)
from .skin_motion import Floats, SkinTrack


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
        self._track = SkinTrack()

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
            shot = Shot(track, start, stop, self.fps)
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
    action = single_action(crops[onset : offset + 1])
    return onset + max(1, action.apex)


def find_keyframes(crops: Sequence[NDArray], fps: float = 25.0, sensitivity: float = 1.0) -> Event | None:
    """The best single event of a clip, which may be the whole clip; None for a still one.

    A clip of more than two seconds is searched as a long video first. In a shorter one the first and last
    frames are taken to be near rest; where the action does not come back, the offset is the last frame.

    Args:
        crops: Aligned grey crops (S, S) uint8, as for `Spotter.push`.
        fps: Frames a second.
        sensitivity: Larger finds more: the thresholds are divided by it.
    """
    threshold = SINGLE_THRESHOLD / sensitivity
    if len(crops) > 2 * fps:
        events = find_events(crops, fps, macro=True, sensitivity=sensitivity).events
        if events:
            return max(events, key=lambda event: (event.kind == "micro", event.score))
    if len(crops) < 2:
        return None
    action = single_action(crops, threshold)
    if action.score < threshold or action.apex <= action.onset:
        return None
    seconds = (action.offset - action.onset) / fps
    confidence = action.score / (action.score + threshold)
    kind: EventKind = "micro" if seconds <= MAX_MICRO_SECONDS else "macro"
    return Event(action.onset, action.apex, action.offset, confidence, action.score, kind)

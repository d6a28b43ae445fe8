"""What a face does over a clip: action weights and head movement per frame, and the list of true events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .fields import ActionFields
from .nuisances import REFERENCE_SIZE, NuisanceConfig
from .pairs import BLINK, RELATIVE_AMPLITUDE, UNITS
from .rendering import largest_motion
from .seeds import seeded
from .timing import TimeCourse, blink_course, draw_macro_course, draw_time_course

MICRO = "micro"
MACRO = "macro"
SPEECH = "speech"
BLINKS = "blink"
SPEECH_UNITS = (25, 26, 18, 24)
MACRO_UNITS = ((6, 12), (12,), (1, 2), (4,), (1, 4, 15), (9, 10), (20,), (17, 24))


@dataclass(frozen=True)
class Event:
    """One thing that happens: frames of onset, apex and offset (0-based, offset included).

    Attributes:
        onset: First frame (intensity 0).
        apex: First frame of full intensity.
        offset: Last frame (intensity 0 again).
        kind: "micro", "macro", "blink" or "speech".
        units: FACS numbers.
        peak: Largest motion at the apex, px of a 128 crop.
    """

    onset: int
    apex: int
    offset: int
    kind: str
    units: tuple[int, ...]
    peak: float


@dataclass
class Track:
    """Everything a renderer needs to know of time.

    Attributes:
        weights: (T, K) weight of each action field.
        camera: (T, 4) head movement: shift x, y (px of 128), degrees, relative scale change.
        fps: Frames a second.
        events: True events, in order of onset.
    """

    weights: torch.Tensor
    camera: torch.Tensor
    fps: float
    events: list[Event]

    def __len__(self) -> int:
        return len(self.weights)


def action_weights(fields: ActionFields, units: Mapping[int | str, float]) -> torch.Tensor:
    """Field weights for action units given as the largest motion each alone would make.

    Args:
        fields: The fields.
        units: ``{12: 1.5, "AU14_left": 0.8}``: px of a 128 crop by FACS number (both sides) or field name
            (one side).

    Returns:
        (K,) weights.

    Raises:
        KeyError: An unknown unit or name.
    """
    weights = torch.zeros(len(fields.units))
    for key, pixels in units.items():
        if isinstance(key, str) and key not in fields.names:
            raise KeyError(f"no action field {key!r}; known: {', '.join(fields.names)}")
        rows = [fields.names.index(key)] if isinstance(key, str) else fields.index(key)
        weights[rows] += pixels / fields.peak[rows]
    return weights


def peak_motion(fields: ActionFields, weights: torch.Tensor) -> torch.Tensor:
    """Largest motion (n,) in px of a 128 crop of field weights (n, K)."""
    return largest_motion(torch.einsum("nk,kcyx->ncyx", weights, fields.displacement)) * REFERENCE_SIZE / 2


def units_of(fields: ActionFields, weights: torch.Tensor) -> tuple[int, ...]:
    """FACS numbers of the fields with a weight in (K,)."""
    return tuple(sorted({fields.units[k] for k in torch.nonzero(weights)[:, 0].tolist()}))


def smooth_walk(frames: int, fps: float, generator: torch.Generator, seconds: float = 1.5) -> torch.Tensor:
    """Smooth random movements (frames, 4) in about [-1, 1] that change direction every ``seconds``."""
    knots = max(4, int(frames / fps / seconds) + 3)
    values = 2 * torch.rand(1, 4, knots, 1, generator=generator) - 1
    return F.interpolate(values, size=(frames, 1), mode="bicubic", align_corners=True)[0, :, :, 0].T


def head_track(
    frames: int, fps: float, nuisances: NuisanceConfig, generator: torch.Generator
) -> torch.Tensor:
    """Head drift (frames, 4) within the ranges of the nuisances, 0 in the first frame."""
    reach = torch.tensor([nuisances.drift, nuisances.drift, nuisances.rotation, nuisances.scale])
    walk = smooth_walk(frames, fps, generator) * reach * 0.7
    return walk - walk[:1]


def clip_track(
    fields: ActionFields,
    weights: torch.Tensor,
    course: TimeCourse,
    fps: float,
    nuisances: NuisanceConfig,
    generator: torch.Generator,
    before: int = 0,
    after: int = 0,
) -> Track:
    """One event: field weights (K,) times the course, with head drift and perhaps a blink."""
    intensity, keyframes = course.frames(fps, before, after)
    track = intensity[:, None] * weights
    kind = MICRO if course.total <= 0.6 else MACRO
    events = [Event(*keyframes, kind, units_of(fields, weights), float(peak_motion(fields, weights[None])))]
    if torch.rand(1, generator=generator).item() < nuisances.blink:
        start = int(torch.randint(len(intensity), (1,), generator=generator))
        events.append(
            _act(track, fields, _blink_weights(fields), blink_course(generator), start, fps, BLINKS)
        )
    camera = head_track(len(intensity), fps, nuisances, generator)
    return Track(track, camera, fps, sorted(events, key=lambda e: e.onset))


def long_track(
    fields: ActionFields,
    seconds: float,
    fps: float = 25,
    seed: int = 0,
    micro_per_minute: float = 10,
    macro_per_minute: float = 4,
    blinks_per_minute: float = 15,
    speech_share: float = 0.25,
    amplitude: tuple[float, float] = (0.5, 2.0),
    drift: float = 4.0,
    rotation: float = 2.0,
    units: tuple[int, ...] = UNITS,
) -> Track:
    """A long recording: micro-expressions among macro-expressions, speech, blinks and a wandering head.

    Micro-expressions, macro-expressions and stretches of speech do not overlap each other; blinks fall
    anywhere.

    Args:
        fields: The fields.
        seconds: Length.
        fps: Frames a second.
        seed: Equal seeds give equal tracks.
        micro_per_minute, macro_per_minute, blinks_per_minute: Mean number of events.
        speech_share: Share of the time with speech-like mouth movement.
        amplitude: Range of a micro-expression's largest motion, px of a 128 crop.
        drift: Reach of the head's shifts, px of a 128 crop.
        rotation: Reach of its rotations, degrees.
        units: Action units of the micro-expressions.
    """
    generator = seeded("long", seed)
    frames = round(seconds * fps)
    track = torch.zeros(frames, len(fields.units))
    events = []
    for kind, start, length in _schedule(
        seconds, micro_per_minute, macro_per_minute, speech_share, generator
    ):
        begin = round(start * fps)
        if kind == SPEECH:
            events.append(_speak(track, fields, begin, length, fps, generator))
        elif kind == MACRO:
            weights = _draw_set(fields, MACRO_UNITS, (3.0, 8.0), generator)
            events.append(_act(track, fields, weights, draw_macro_course(generator), begin, fps, MACRO))
        else:
            weights = _draw_micro(fields, units, amplitude, generator)
            events.append(_act(track, fields, weights, draw_time_course(generator), begin, fps, MICRO))
    for _ in range(round(blinks_per_minute * seconds / 60)):
        begin = int(torch.randint(max(1, frames), (1,), generator=generator))
        events.append(
            _act(track, fields, _blink_weights(fields), blink_course(generator), begin, fps, BLINKS)
        )
    walk = smooth_walk(frames, fps, generator) * torch.tensor([drift, drift, rotation, 0.02])
    events = [e for e in events if e is not None and e.offset < frames]
    return Track(track, walk, fps, sorted(events, key=lambda e: e.onset))


def _schedule(seconds, micro, macro, speech_share, generator) -> list[tuple[str, float, float]]:
    """Slots (kind, start, length in s) of events in random order with random pauses, filling the
    recording."""
    minutes = seconds / 60
    slots = [(MICRO, 0.6)] * round(micro * minutes) + [(MACRO, 3.4)] * round(macro * minutes)
    talk = speech_share * seconds
    while talk > 0.5:
        length = min(talk, 1.0 + 4.0 * torch.rand(1, generator=generator).item())
        slots.append((SPEECH, length))
        talk -= length
    slots = [slots[i] for i in torch.randperm(len(slots), generator=generator).tolist()]
    spare = seconds - sum(length for _, length in slots)
    if spare < 0.3 * len(slots):
        raise ValueError(
            f"{seconds} s are too short for {len(slots)} events and speech; ask for fewer or a longer video"
        )
    gaps = torch.rand(len(slots) + 1, generator=generator) + 0.2
    gaps = (0.3 + gaps / gaps.sum() * (spare - 0.3 * len(gaps))).clamp_min(0).tolist()
    plan, clock = [], 0.0
    for (kind, length), gap in zip(slots, gaps, strict=False):
        clock += gap
        plan.append((kind, clock, length))
        clock += length
    return plan


def _act(track, fields, weights, course, begin: int, fps: float, kind: str) -> Event | None:
    """Add an event to the track (T, K) in place; None when nothing of it lies inside."""
    intensity, (onset, apex, offset) = course.frames(fps)
    room = len(track) - begin
    if room <= 0:
        return None
    track[begin : begin + len(intensity)] += intensity[:room, None] * weights
    peak = float(peak_motion(fields, weights[None]))
    return Event(begin + onset, begin + apex, begin + offset, kind, units_of(fields, weights), peak)


def _speak(track, fields, begin: int, seconds: float, fps: float, generator) -> Event:
    """Syllables at 3 to 6 Hz: jaw and lips at random weights, each an opening and a closing."""
    clock, peak, end = 0.0, 0.0, min(len(track) - 1, begin + round(seconds * fps))
    highest, apex = 0.0, begin + 1
    while clock < seconds - 0.2:
        length = 0.16 + 0.17 * torch.rand(1, generator=generator).item()
        weights = action_weights(fields, {u: 0.2 for u in SPEECH_UNITS})
        weights = (
            weights
            * 12
            * torch.rand(len(weights), generator=generator)
            * (0.3 + 0.7 * torch.rand(1, generator=generator))
        )
        course = TimeCourse(0.45 * length, 0.0, 0.55 * length)
        event = _act(track[: end + 1], fields, weights, course, begin + round(clock * fps), fps, SPEECH)
        peak = max(peak, event.peak if event else 0.0)
        if event and event.peak > highest:
            highest, apex = event.peak, min(event.apex, end - 1)
        clock += length
    return Event(begin, max(begin + 1, apex), end, SPEECH, SPEECH_UNITS, peak)


def _blink_weights(fields: ActionFields) -> torch.Tensor:
    weights = torch.zeros(len(fields.units))
    weights[fields.index(BLINK)] = 1.0
    return weights


def _draw_set(fields, sets, amplitude, generator) -> torch.Tensor:
    chosen = sets[int(torch.randint(len(sets), (1,), generator=generator))]
    return _scaled(fields, action_weights(fields, {u: 1.0 for u in chosen}), amplitude, generator)


def _draw_micro(fields, units, amplitude, generator) -> torch.Tensor:
    """One or two units, often stronger on one side, sometimes on one side alone."""
    count = 1 + int(torch.rand(1, generator=generator) < 0.4)
    chosen = [units[i] for i in torch.randperm(len(units), generator=generator)[:count].tolist()]
    weights = action_weights(fields, {u: RELATIVE_AMPLITUDE.get(u, 1.0) for u in chosen})
    weak = ("left", "right")[int(torch.rand(1, generator=generator) < 0.5)]
    factor = (
        0.0
        if torch.rand(1, generator=generator) < 0.15
        else 0.5 + 0.5 * torch.rand(1, generator=generator).item()
    )
    weights = weights * torch.tensor([factor if side == weak else 1.0 for side in fields.sides])
    top = max(RELATIVE_AMPLITUDE.get(u, 1.0) for u in chosen)
    return _scaled(fields, weights, (amplitude[0] * top, amplitude[1] * top), generator)


def _scaled(fields, weights, amplitude, generator) -> torch.Tensor:
    low, high = amplitude
    pixels = low * (high / low) ** torch.rand(1, generator=generator).item()
    return weights * (pixels / peak_motion(fields, weights[None]).clamp_min(1e-6))

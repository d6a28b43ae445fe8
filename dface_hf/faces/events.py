"""From a clip to aligned onset/apex pairs: decode, track, spot, align each event once, stabilise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .alignment import align, fit_similarity, locate
from .detection import Face, FaceDetector, grey_of, make_detector
from .errors import ClipError
from .frames import Frame, FrameSource
from .images import WebcamFrames
from .keyframes import Event, EventKind, Spotter, find_keyframes
from .stabilisation import Stabilised, stabilise
from .tracking import FaceTrack, FaceTracker
from .video import open_frames

MAX_SIDE = 1280  # larger frames are shrunk while decoded: a face keeps more pixels than any model reads
SPOTTING_SIZE = 96  # side of the grey crops in which events are looked for
SHORT_CLIP = 2.0  # seconds: a clip this short may be one cut-out event, with no rest around it
SMALLEST_CROP = 32  # pixels: what `stabilise` needs
EVENTS_AT_ONCE = 8  # whose frames are read in one pass and held in memory
# Share of the upper face that must follow the stabilisation's motion. Measured on real videos: 0.4 to 0.9
# while a head talks, 0.1 to 0.35 where it turns, is covered, or has left.
LEAST_AGREEMENT = 0.35


NAMES = ("onset", "apex", "offset")


@dataclass(frozen=True)
class FaceEvent:
    """One facial action of one face, as two frames in the onset's alignment.

    Attributes:
        onset: Frame index of the last frame at rest.
        apex: Frame index of the strongest action.
        offset: Frame index of the first frame back at rest; the apex where it is not known.
        seconds: Times of the three.
        onset_image: (size, size, 3) uint8 RGB, aligned.
        apex_image: The same for the apex, in the onset's alignment, stabilised on it unless switched off.
        box: (x, y, width, height) of the face in the onset frame, in pixels of the clip and inside it.
        confidence: Of the spotting, in [0, 1]; 1 for keyframes that were given.
        kind: "micro" or "macro".
        stabilisation: What was taken out of the apex frame; None when switched off.
    """

    onset: int
    apex: int
    offset: int
    seconds: tuple[float, float, float]
    onset_image: np.ndarray
    apex_image: np.ndarray
    box: tuple[float, float, float, float]
    confidence: float
    kind: str = "micro"
    stabilisation: Stabilised | None = None


@dataclass
class ClipEvents:
    """All events of a clip.

    Attributes:
        path: Where the clip was read from, or a short name of it.
        fps: Frames a second.
        frames: Number of frames.
        events: In order of time.
        warnings: What a reader should know.
        score: (T,) spotting score of the first face; None when keyframes were given.
        threshold: Score that an event's peak had to pass.
    """

    path: str
    fps: float
    frames: int
    events: list[FaceEvent] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    score: np.ndarray | None = None
    threshold: float = 0.0


def find_clip_events(
    source: Any,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    *,
    fps: float | None = None,
    detector: FaceDetector | str = "haar",
    faces: Literal["largest", "all"] = "largest",
    kinds: tuple[str, ...] = ("micro",),
    sensitivity: float = 1.0,
    size: int = 128,
    stabilised: bool = True,
) -> ClipEvents:
    """Find the events of a clip, or take the one whose keyframes are given.

    Args:
        source: Whatever `open_frames` takes: video file, folder of images, array, list of frames.
        onset: Frame index, from 0, of the onset; give it with `apex`, or neither.
        apex: Frame index of the apex.
        offset: Frame index of the offset, if known.
        fps: Frames a second, where the source does not tell or tells wrongly.
        detector: Face detector or its name.
        faces: "largest" follows one face, "all" every face.
        kinds: Which events to return: "micro", "macro" or both.
        sensitivity: Larger finds more events.
        size: Side of the aligned crops in pixels.
        stabilised: Whether head motion and light are taken out of the apex frame.

    Returns:
        [`ClipEvents`]; a clip in which nothing happens has no events and a warning that says so.

    Raises:
        ClipError: If the clip cannot be used: unreadable, a camera, a single frame, no face, keyframes
            incomplete, out of order or out of range.
        ValueError: For an unknown detector, `faces` or kind, or a sensitivity that is not positive.
    """
    strangers = set(kinds) - set(get_args(EventKind))
    if strangers or not kinds:
        raise ValueError(f"kinds are {kinds!r}; choose from {', '.join(get_args(EventKind))}")
    detector = make_detector(detector) if isinstance(detector, str) else detector
    frames = open_frames(source, fps=fps, max_side=MAX_SIDE)
    if isinstance(frames, WebcamFrames):
        raise ClipError(frames.name, "a camera has no end", "collect its frames and give those")
    cutter = _Cutter(frames, detector, size, stabilised)
    if onset is None and apex is None and offset is None:
        return _spot(frames, cutter, faces, kinds, sensitivity)
    return _given(frames, cutter, onset, apex, offset)


def _given(
    frames: FrameSource, cutter: _Cutter, onset: int | None, apex: int | None, offset: int | None
) -> ClipEvents:
    """The one event with these keyframes."""
    if onset is None or apex is None:
        told = ", ".join(
            f"{name} is {value}" for name, value in zip(NAMES, (onset, apex, offset), strict=True)
        )
        raise ClipError(frames.name, told, "give onset and apex, or none of them")
    offset = apex if offset is None else offset
    if not 0 <= onset < apex <= offset:
        order = f"onset {onset}, apex {apex}, offset {offset} are not in order"
        raise ClipError(frames.name, order, "frames count from 0 and onset < apex <= offset")
    read = frames.read({onset, apex, offset})
    faces = cutter.detector.detect(read[onset].image)
    if not faces:
        fix = "choose a frame with a frontal face"
        raise ClipError(frames.name, f"no face found in the onset frame {onset}", fix)
    if len(faces) > 1:
        frames.warn(f"{len(faces)} faces in view; following the largest")
    seconds = tuple(read[index].seconds for index in (onset, apex, offset))
    event = cutter.cut(Event(onset, apex, offset, 1.0, 0.0), faces[0], read, seconds)
    warnings = [*frames.warnings, *_doubts([event])]
    return ClipEvents(frames.name, frames.fps, _count(frames), [event], warnings)


def _spot(
    frames: FrameSource, cutter: _Cutter, faces: str, kinds: tuple[str, ...], sensitivity: float
) -> ClipEvents:
    """All events of the face, or of every face."""
    tracker = FaceTracker(frames.fps, cutter.detector, faces=faces)
    crops, seconds = _CropStream(tracker, frames.fps, sensitivity), []
    for frame in frames:
        crops.push(frame)
        seconds.append(frame.seconds)
    crops.flush()
    count = frames.frame_count = len(seconds)
    if count < 2:
        raise ClipError(frames.name, f"the clip has {count} frame", "an onset and an apex need two or more")
    if not tracker.tracks:
        fix = "the face must be frontal and 40 px or larger"
        raise ClipError(frames.name, f"no face found in {count} frames", fix)
    found = ClipEvents(frames.name, frames.fps, count)
    spotted = list(crops.events(found))
    wanted = [(track, event) for track, event in spotted if event.kind in kinds]
    found.events = list(cutter.cut_all(wanted, seconds))
    found.warnings = [*frames.warnings, *tracker.warnings, *_absence(tracker.tracks[0], count)]
    found.warnings += _doubts(found.events)
    if not found.events:
        found.warnings.append(_nothing(kinds, len(spotted)))
    return found


def _nothing(kinds: tuple[str, ...], others: int) -> str:
    """What is said of a clip without an event of the kinds that were asked for."""
    told = "no facial event found" if len(kinds) > 1 else f"no {kinds[0]}-expression found"
    return told + (f"; {others} of another length left out" if others else "")


def _absence(track: FaceTrack, count: int) -> list[str]:
    """Warnings of a face that comes late or leaves for good; gaps between are the tracker's to tell."""
    first, last = track.segments[0][0], track.segments[-1][1]
    late = [f"no face in view before frame {first}"] if first > 0 else []
    return late + ([f"face out of view from frame {last + 1} on"] if last < count - 1 else [])


def _doubts(events: Iterable[FaceEvent]) -> list[str]:
    """A warning that names the events whose head motion could not be taken out."""
    moved = [
        f"{event.onset}-{event.apex}"
        for event in events
        if (report := event.stabilisation) is not None
        and not (report.plausible and report.agreement >= LEAST_AGREEMENT)
    ]
    if not moved:
        return []
    more = f" and {len(moved) - 5} more" if len(moved) > 5 else ""
    told = "the head moves too much between onset and apex, or is covered; tokens may show that, not the face"
    return [f"frames {', '.join(moved[:5])}{more}: {told}"]


def _count(frames: FrameSource) -> int:
    if frames.frame_count is None:
        frames.frame_count = sum(1 for _ in frames)
    return frames.frame_count


class _CropStream:
    """Places grey crops along each face track, a look behind the stream so that positions can be
    interpolated."""

    def __init__(self, tracker: FaceTracker, fps: float, sensitivity: float) -> None:
        self.tracker, self.fps, self.sensitivity = tracker, fps, sensitivity
        self._waiting: list[Frame] = []
        self._spotters: list[Spotter] = []
        self._first: list[int] = []
        self._kept: list[np.ndarray | None] = []  # crops of the first face, while the clip is short
        self._short = True

    def push(self, frame: Frame) -> None:
        """Take the next frame."""
        self.tracker.push(frame)
        self._waiting.append(Frame(frame.index, frame.seconds, grey_of(frame.image)))
        self._short = self._short and frame.seconds <= SHORT_CLIP
        if frame.index % self.tracker.every == 0:
            self.flush()

    def flush(self) -> None:
        """Cut the frames that wait for a look."""
        for frame in self._waiting:
            self._cut(frame)
        self._waiting.clear()

    def events(self, found: ClipEvents) -> Iterator[tuple[FaceTrack, Event]]:
        """Finish the spotting: each event, of any kind, with the track it belongs to; the first face's score
        goes to `found`."""
        for number, (spotter, first) in enumerate(zip(self._spotters, self._first, strict=True)):
            result = spotter.finish()
            events = [_later(event, first) for event in result.events]
            if number == 0:
                found.score = np.concatenate([np.zeros(first, np.float32), result.score])
                found.threshold = result.threshold
                events = self._single(first) if self._whole else events
            for event in events:
                yield self.tracker.tracks[number], event

    @property
    def _whole(self) -> bool:
        """Whether the clip is short and the first face in view throughout."""
        return self._short and len(self._kept) > 1 and all(crop is not None for crop in self._kept)

    def _single(self, first: int) -> list[Event]:
        """The one event of a short clip, which was probably cut around it.

        The spotter judges an event by the seconds around it, which a short clip does not have: of 24
        synthetic clips cut 0.05 to 0.4 s around a micro-expression it found 11 (IoU 0.5), `find_keyframes`
        23.
        """
        event = find_keyframes(np.stack(self._kept), self.fps, self.sensitivity)
        return [] if event is None else [_later(event, first)]

    def _cut(self, frame: Frame) -> None:
        while len(self._spotters) < len(self.tracker.tracks):
            self._spotters.append(Spotter(self.fps, sensitivity=self.sensitivity, macro=True))
            self._first.append(frame.index)
        for number, (track, spotter) in enumerate(zip(self.tracker.tracks, self._spotters, strict=True)):
            similarity = track.similarity_at(frame.index)
            crop = None if similarity is None else align(frame.image, similarity, SPOTTING_SIZE)[..., 0]
            spotter.push(crop, frame.seconds)
            if number == 0 and self._short:
                self._kept.append(crop)


def _later(event: Event, frames: int) -> Event:
    """The event with its frames counted from the start of the clip."""
    onset, apex, offset = (index + frames for index in (event.onset, event.apex, event.offset))
    return Event(onset, apex, offset, event.confidence, event.score, event.kind)


class _Cutter:
    """Cuts the pair of an event out of the clip: ONE similarity, from the onset frame, for both frames."""

    def __init__(self, frames: FrameSource, detector: FaceDetector, size: int, stabilised: bool) -> None:
        self.frames, self.detector, self.size, self.stabilised = frames, detector, size, stabilised

    def cut_all(self, events: list[tuple[FaceTrack, Event]], seconds: list[float]) -> Iterator[FaceEvent]:
        """Cut the events of tracked faces, in order of time; `seconds` are those of all frames."""
        events = sorted(events, key=lambda pair: (pair[1].onset, pair[1].apex))
        for start in range(0, len(events), EVENTS_AT_ONCE):
            some = events[start : start + EVENTS_AT_ONCE]
            read = self.frames.read({index for _, event in some for index in (event.onset, event.apex)})
            for track, event in some:
                times = tuple(seconds[index] for index in (event.onset, event.apex, event.offset))
                yield self.cut(event, track.face_at(event.onset), read, times)

    def cut(
        self, event: Event, face: Face, read: dict[int, Frame], seconds: tuple[float, float, float]
    ) -> FaceEvent:
        """Align and stabilise the pair of an event of this face, as seen in the onset frame."""
        onset = read[event.onset].image
        similarity = fit_similarity(*locate(onset, face))
        onset_image = align(onset, similarity, self.size)
        apex_image = align(read[event.apex].image, similarity, self.size)
        report = stabilise(onset_image, apex_image) if self.stabilised else None
        return FaceEvent(
            event.onset,
            event.apex,
            event.offset,
            seconds,
            onset_image,
            apex_image if report is None else report.apex,
            self._box(face),
            event.confidence,
            event.kind,
            report,
        )

    def _box(self, face: Face) -> tuple[float, float, float, float]:
        """The face's box in pixels of the clip, cut off at the picture's edge."""
        x, y, width, height = face.box
        left, top = max(0.0, x), max(0.0, y)
        right, bottom = min(x + width, self.frames.size[0]), min(y + height, self.frames.size[1])
        return tuple(float(v) / self.frames.scale for v in (left, top, right - left, bottom - top))


def align_pair(
    onset: str | Path,
    apex: str | Path,
    *,
    aligned: bool = False,
    stabilised: bool = True,
    detector: FaceDetector | str = "haar",
    size: int = 128,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring two photos of one face, taken by a camera that stood still, to one alignment: that of the first.

    Args:
        onset: Image file of the face at rest.
        apex: Image file of the face in action, as large as the first.
        aligned: The images are aligned crops already; they keep their own size.
        stabilised: Whether head motion and light are taken out of the apex.
        detector: Face detector or its name.
        size: Side of the crops in pixels.

    Returns:
        Both crops (size, size, 3) uint8 RGB, or as large as they were given.

    Raises:
        ClipError: If an image cannot be read, there is no face on the first, or sizes do not fit.
    """
    first, second = (open_frames(str(path), fps=1).read([0])[0].image for path in (onset, apex))
    if first.shape != second.shape:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (first, second))
        raise ClipError(apex, f"the two images are {sizes} pixels", "use frames of one camera, of one size")
    if aligned and first.shape[0] != first.shape[1]:
        raise ClipError(onset, f"an aligned crop is square, not {first.shape[1]}x{first.shape[0]}")
    if aligned and len(first) < SMALLEST_CROP:
        raise ClipError(
            onset, f"a crop of {len(first)} px", f"give aligned crops of {SMALLEST_CROP} px or more"
        )
    pair = [first, second]
    if not aligned:
        detector = make_detector(detector) if isinstance(detector, str) else detector
        faces = detector.detect(first)
        if not faces:
            raise ClipError(onset, "no face found", "use a frontal face, or --aligned for an aligned crop")
        similarity = fit_similarity(*locate(first, faces[0]))
        pair = [align(image, similarity, size) for image in (first, second)]
    return (pair[0], stabilise(*pair).apex) if stabilised else (pair[0], pair[1])

"""Motion magnification: what a face does after the onset, several times larger, at the clip's own size.

Lagrangian, after Liu et al. (SIGGRAPH 2005): motion is measured, and the pixels are moved further along it.
The head is followed by one similarity a frame, so that its own motion is not magnified.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .alignment import align, fit_similarity, locate
from .detection import FaceDetector, make_detector
from .errors import ClipError
from .events import LEAST_AGREEMENT, find_clip_events
from .flow import optical_flow
from .frames import FrameSource
from .moving import MovingFace, face_fade, fold_level
from .similarity import Similarity, pixels_of_crop
from .stabilisation import stabilise
from .video import open_frames

SIZE = 192  # side of the crops in which motion is measured
AT_ONCE = 16  # frames held in memory
KEPT = 96  # side of the flow fields that are kept, one a frame
AROUND = 0.5  # seconds shown before and after the event
LENGTH = 2.0  # seconds shown after an onset whose offset is not given
SMOOTH = 0.02  # seconds: noise differs from frame to frame, skin does not
NOISE = 0.12  # px of a 128 px crop: motion as small as this is halved, less is nearly left out
ROUNDS, DAMPING = 16, 0.7  # of the fixed point that turns motion into sampling positions


@dataclass(frozen=True)
class Magnified:
    """A magnified part of a clip.

    Attributes:
        frames: The frames (H, W, 3) uint8, one by one; they can be read once.
        fps: Frames a second.
        start, onset, stop: Frames of the clip: first one shown, reference, and the one after the last.
        peak: Largest motion of the face against the onset, px of a 128 px crop, before magnification.
        lost: How many frames are shown as they are, because the head moves too much there.
        limited: How many are magnified less, because the face would fold over itself.
    """

    frames: Iterator[NDArray[np.uint8]]
    fps: float
    start: int
    onset: int
    stop: int
    peak: float
    lost: int
    limited: int

    def __len__(self) -> int:
        return self.stop - self.start


def magnify_motion(
    source: Any,
    factor: float = 5.0,
    onset: int | None = None,
    offset: int | None = None,
    *,
    fps: float | None = None,
    detector: FaceDetector | str = "haar",
    sensitivity: float = 1.0,
) -> Magnified:
    """Magnify what the face does in a clip's clearest event, or after a given onset.

    Args:
        source: Whatever `open_frames` takes, a camera excepted.
        factor: What the motion against the onset is multiplied by; 1 gives the clip, 0 a still face. Frames
            in which it would fold the face over itself get less.
        onset: Frame, from 0, at which the face is at rest.
        offset: Frame at which the action is over; two seconds after the onset by default.
        fps: Frames a second, where the source does not tell.
        detector: Face detector or its name.
        sensitivity: Of the search for events.

    Returns:
        [`Magnified`]: the event and half a second around it.

    Raises:
        ClipError: No event, no face at the onset, frames out of order, or an unreadable clip.
        ValueError: A factor that is negative or not finite.
    """
    if not 0 <= factor <= 100:
        raise ValueError(f"factor is {factor}; give 0 (still) to 100")
    detector = make_detector(detector) if isinstance(detector, str) else detector
    if onset is None:
        onset, offset = _found(source, fps, detector, sensitivity)
    frames = open_frames(source, fps=fps)
    stop = _stop(frames, onset, offset)
    start = max(0, onset - round(AROUND * frames.fps))
    follower = _Follower(frames, onset, detector)
    for index, image in _in_order(frames, [*range(onset, stop), *range(onset - 1, start - 1, -1)]):
        follower.measure(index, image)
    heads = [follower.heads.get(index) for index in range(start, stop)]
    flows = _steady(np.stack([follower.flows[index] for index in range(start, stop)]), frames.fps)
    shown = _magnified(frames, start, flows, heads, factor)
    limited = sum(_share(flow, factor) < 1 for flow in flows)
    return Magnified(shown, frames.fps, start, onset, stop, _peak(flows), heads.count(None), limited)


def _found(source: Any, fps: float | None, detector: FaceDetector, sensitivity: float) -> tuple[int, int]:
    """Onset and offset of the clearest event."""
    clip = find_clip_events(
        source, fps=fps, detector=detector, kinds=("micro", "macro"), sensitivity=sensitivity
    )
    if not clip.events:
        fix = "give --onset, the frame at which the face is at rest, or a higher --sensitivity"
        raise ClipError(clip.path, f"no event found in {clip.frames} frames", fix)
    event = max(clip.events, key=lambda event: event.confidence)
    return event.onset, event.offset


def _stop(frames: FrameSource, onset: int, offset: int | None) -> int:
    """The frame after the last one shown."""
    if offset is not None and not 0 <= onset < offset:
        raise ClipError(frames.name, f"onset {onset}, offset {offset}", "frames count from 0, onset < offset")
    seconds = LENGTH if offset is None else AROUND
    stop = _end(frames, (onset if offset is None else offset) + 1 + round(seconds * frames.fps))
    if onset + 1 >= stop:
        raise ClipError(frames.name, f"nothing follows the onset {onset}", "choose an earlier frame")
    return stop


def _end(frames: FrameSource, stop: int) -> int:
    """`stop`, or the number of frames where there are fewer: a file that was cut off claims too many."""
    stop = min(stop, frames.frame_count or stop)
    try:
        frames.read([max(stop - 1, 0)])
    except ClipError:  # the search for it has counted the frames
        return min(stop, frames.frame_count or stop)
    return stop


def _in_order(frames: FrameSource, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Frames by index, a few in memory at a time."""
    for first in range(0, len(indices), AT_ONCE):
        some = indices[first : first + AT_ONCE]
        read = frames.read(some)
        for index in some:
            yield index, read[index].image


class _Follower:
    """Follows the head step by step from the onset on, and measures what the face does besides."""

    def __init__(self, frames: FrameSource, onset: int, detector: FaceDetector) -> None:
        image = frames.read([onset])[onset].image
        faces = detector.detect(image)
        if not faces:
            told = f"no face found in the onset frame {onset}"
            raise ClipError(frames.name, told, "choose a frame with a frontal face")
        self.onset = onset
        self.rest = fit_similarity(*locate(image, faces[0]))
        self.crop = align(image, self.rest, SIZE)
        self.heads: dict[int, Similarity] = {}
        self.flows: dict[int, NDArray[np.float32]] = {}
        self._near = self.rest

    def measure(self, index: int, image: NDArray[np.uint8]) -> None:
        """The next frame away from the onset."""
        if index in (self.onset, self.onset - 1):
            self._near = self.rest
        report = stabilise(self.crop, align(image, self._near, SIZE))
        self.flows[index] = np.zeros((KEPT, KEPT, 2), np.float32)
        if not (report.plausible and report.agreement >= LEAST_AGREEMENT):
            return
        pixels = pixels_of_crop(SIZE)
        self.heads[index] = self._near = self._near @ pixels @ Similarity(report.matrix) @ pixels.inverse
        flow = optical_flow(report.apex, self.crop, "farneback") * np.float32(2 / SIZE)
        self.flows[index] = cv2.resize(flow, (KEPT, KEPT), interpolation=cv2.INTER_AREA)


def _steady(flows: NDArray[np.float32], fps: float) -> NDArray[np.float32]:
    """Backward flow (T, S, S, 2) in aligned units with less of what only noise moves."""
    flows = gaussian_filter(flows, (SMOOTH * fps, 1, 1, 0))
    power = (flows**2).sum(-1, keepdims=True)
    return flows * power / (power + (NOISE / 64) ** 2)


def _peak(flows: NDArray[np.float32]) -> float:
    """Largest motion on the face, px of a 128 px crop."""
    length = np.linalg.norm(flows, axis=-1) * face_fade(_grid())
    return float(length.max()) * 64


def _magnified(
    frames: FrameSource,
    start: int,
    flows: NDArray[np.float32],
    heads: Sequence[Similarity | None],
    factor: float,
) -> Iterator[NDArray[np.uint8]]:
    for index, image in _in_order(frames, range(start, start + len(flows))):
        head, flow = heads[index - start], flows[index - start]
        yield image if head is None else MovingFace(image, head, further(flow, factor)).at(1.0)


def further(flow: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Where a frame has to be sampled so that its motion appears `factor` times as large.

    The pixel that is to be seen at y has come from the onset's p + flow(p) to p, and is to go on to
    p - (factor - 1) flow(p): p is the fixed point of y + (factor - 1) flow(p).

    Args:
        flow: (S, S, 2) backward flow from the frame to the onset, aligned units.
        factor: 1 leaves the frame as it is; it is lowered where it would fold the face over itself.

    Returns:
        (S, S, 2) displacement of the sampling position, aligned units.
    """
    more = np.float32((factor - 1) * _share(flow, factor)) * flow
    size, shift = len(flow), more
    rows, columns = np.indices((size, size), np.float32)
    for _ in range(ROUNDS):
        there = shift * np.float32(size / 2)
        place = columns + there[..., 0], rows + there[..., 1]
        step = cv2.remap(more, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shift = shift + np.float32(DAMPING) * (step - shift)
    return shift


def _share(flow: NDArray[np.float32], factor: float) -> float:
    """How much of the further motion can be shown before the face folds over itself."""
    return min(1.0, fold_level(-(factor - 1) * flow))


def _grid() -> NDArray[np.float64]:
    side = (np.arange(KEPT) + 0.5) * 2 / KEPT - 1
    return np.stack(np.meshgrid(side, side), -1)

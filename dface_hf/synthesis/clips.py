"""Whole clips: a face or a full portrait animated frame by frame along a track of actions and head
movement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .fields import ActionFields, load_fields
from .nuisances import NuisanceConfig, draw_pose, jpeg
from .rendering import Stage, backward_shift, head_positions, look
from .seeds import seed_of, seeded
from .timing import TimeCourse
from .tracks import Event, Track, action_weights, clip_track, long_track, peak_motion, units_of

BLOCK = 16  # frames rendered at a time


@dataclass
class ClipTruth:
    """What is known about a rendered clip.

    Attributes:
        onset, apex, offset: Frames, 0-based, offset included.
        flow: (2, S, S) forward motion (dx, dy) from onset to apex by the action alone, px of the crop.
        units: FACS numbers.
        peak: Largest motion in px of a 128 crop.
        events: Everything that happens, blinks included.
    """

    onset: int
    apex: int
    offset: int
    flow: torch.Tensor
    units: tuple[int, ...]
    peak: float
    events: list[Event]


def render_clip(
    face: torch.Tensor,
    units: Mapping[int | str, float] | torch.Tensor,
    course: TimeCourse,
    fps: float = 200,
    nuisances: NuisanceConfig | None = None,
    seed: int = 0,
    fields: ActionFields | None = None,
    before: int = 0,
    after: int = 0,
    size: int | None = None,
    only: Sequence[int] | None = None,
) -> tuple[np.ndarray, ClipTruth]:
    """A face makes one expression.

    Args:
        face: (3, R, R) in [0, 1], an aligned crop.
        units: Largest motion in px of a 128 crop by FACS number or field name, or (K,) field weights.
        course: How it unfolds.
        fps: Frames a second.
        nuisances: Pose, head drift, light, noise, JPEG, blink, grey (default: none); geometry, tone and
            mirror belong to the identity and are not applied.
        seed: Equal seeds give equal clips.
        fields: Action fields (default: the package's own).
        before, after: Still frames around the event.
        size: Pixels S of the frames (default: R).
        only: Render these frames only, exactly as they would be among all.

    Returns:
        Frames (T, S, S, 3) uint8 RGB, and the truth.
    """
    size, nuisances = size or face.shape[-1], nuisances or NuisanceConfig.none()
    fields = (fields or load_fields(size)).at(size)
    weights = units if isinstance(units, torch.Tensor) else action_weights(fields, units)
    track = clip_track(fields, weights, course, fps, nuisances, seeded("clip", seed), before, after)
    frames = np.stack(list(render_crop(face, track, nuisances, seed, fields, only)))
    event = next(e for e in track.events if e.units == units_of(fields, weights))
    flow = Stage(fields, _pose(nuisances, seed)).motion(weights[None])[0] * (size / 2)
    peak = float(peak_motion(fields, weights[None]))
    return frames, ClipTruth(event.onset, event.apex, event.offset, flow, event.units, peak, track.events)


def long_video(
    face: torch.Tensor,
    seconds: float = 60,
    fps: float = 25,
    nuisances: NuisanceConfig | None = None,
    seed: int = 0,
    fields: ActionFields | None = None,
    **events: object,
) -> tuple[Iterator[np.ndarray], list[Event]]:
    """A long recording of an aligned face: micro-expressions among blinks, speech, macro-expressions and
    drift.

    Args:
        face: (3, S, S) in [0, 1].
        seconds, fps: Length and rate.
        nuisances: Light, noise, JPEG and grey of the frames (default: noise of 1 grey level).
        seed: Equal seeds give equal videos.
        fields: Action fields (default: the package's own).
        events: Passed on to :func:`~dface_hf.synthesis.tracks.long_track` (rates, amplitude, drift ...).

    Returns:
        A generator of frames (S, S, 3) uint8, and all true events (``kind == "micro"`` are the ones to spot).
    """
    size = face.shape[-1]
    fields = (fields or load_fields(size)).at(size)
    track = long_track(fields, seconds, fps, seed, **events)
    return render_crop(face, track, nuisances or _SENSOR_ONLY, seed, fields), track.events


def animate_portrait(
    image: np.ndarray,
    matrix: np.ndarray,
    units: Mapping[int | str, float] | None = None,
    course: TimeCourse | None = None,
    fps: float = 30,
    track: Track | None = None,
    nuisances: NuisanceConfig | None = None,
    seed: int = 0,
    fields: ActionFields | None = None,
    before: int = 0,
    after: int = 0,
    cavity: bool = False,
) -> tuple[Iterator[np.ndarray], list[Event]]:
    """A full photograph makes an expression: only the face region is warped, in place.

    Args:
        image: (H, W, 3) uint8 RGB.
        matrix: (2, 3) similarity from aligned coordinates ([-1, 1], y down) to pixels of the image.
        units: Largest motion in px of a 128 crop by FACS number or field name; with ``course``, unless
            ``track``.
        course: How it unfolds.
        fps: Frames a second.
        track: A ready track (from ``long_track``, say), instead of units and course.
        nuisances: As in :func:`render_clip`; head drift moves the whole picture.
        seed: Equal seeds give equal frames.
        fields: Action fields (default: the package's own at 256 px).
        before, after: Still frames around the event.
        cavity: Paint a dark mouth where closed lips part; leave off for an open mouth.

    Returns:
        A generator of frames (H, W, 3) uint8, and the true events.

    Raises:
        ValueError: The image is not (H, W, 3) uint8, or neither a track nor units and a course were given.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}; give uint8 RGB (H, W, 3)")
    fields, nuisances = fields or load_fields(256), nuisances or NuisanceConfig.none()
    if track is None:
        if units is None or course is None:
            raise ValueError("animate_portrait needs either a track, or units and a course")
        weights = action_weights(fields, units)
        track = clip_track(fields, weights, course, fps, nuisances, seeded("clip", seed), before, after)
    return render_portrait(image, matrix, track, nuisances, seed, fields, cavity), track.events


def render_crop(
    face: torch.Tensor,
    track: Track,
    nuisances: NuisanceConfig,
    seed: int,
    fields: ActionFields,
    only: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """Frames (S, S, 3) uint8, S that of the fields, of an aligned face (3, R, R) along a track."""
    pose, faces, sensor = _pose(nuisances, seed), face[None].float(), _Sensor(nuisances, seed)
    numbers = range(len(track)) if only is None else only
    for start in range(0, len(numbers), BLOCK):
        block = list(numbers[start : start + BLOCK])
        weights, camera, n = track.weights[block], track.camera[block], len(block)
        stage = Stage(fields, pose.expand(n, -1, -1))
        frames = stage.acting(faces.expand(n, -1, -1, -1), weights, stage.motion(weights), camera)
        for number, frame in zip(block, frames.permute(0, 2, 3, 1), strict=True):
            yield sensor(frame.numpy(), number)


def render_portrait(
    image: np.ndarray,
    matrix: np.ndarray,
    track: Track,
    nuisances: NuisanceConfig,
    seed: int,
    fields: ActionFields,
    cavity: bool = False,
) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 of a photograph whose face follows a track."""
    matrix = np.asarray(matrix, np.float64)
    stage, sensor = Stage(fields), _Sensor(nuisances, seed)
    photo = image.astype(np.float32) / 255
    for number, (weights, camera) in enumerate(zip(track.weights, track.camera, strict=True)):
        frame = _move_face(photo, matrix, stage, weights[None], cavity)
        yield sensor(_move_head(frame, matrix, camera), number)


def _pose(nuisances: NuisanceConfig, seed: int) -> torch.Tensor:
    """The pose (1, 2, 3) that all frames of a clip share."""
    return draw_pose(1, nuisances, seeded("pose", seed))


_SENSOR_ONLY = NuisanceConfig.none().but(noise=(1.0, 1.0))


def _move_face(photo, matrix, stage: Stage, weights: torch.Tensor, cavity: bool) -> np.ndarray:
    """The photograph (H, W, 3) float with the face moved; pixels away from the face are untouched."""
    if not weights.any():
        return photo
    box = _face_box(matrix, photo.shape)
    points = _aligned_points(matrix, box)[None]
    taper = _taper(points)
    motion = stage.motion(weights)
    shift = backward_shift(motion, points)[0] * taper[0, ..., None]
    source = (points[0] + shift).numpy() @ matrix[:, :2].T + matrix[:, 2]
    source = source.astype(np.float32)
    patch = cv2.remap(photo, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    shade = torch.einsum("nk,kcyx->ncyx", weights, stage.fields.shading)
    gain = torch.exp(look(shade, points + shift)[0, 0] * taper[0])
    if cavity:
        gain = gain * (1 - 0.8 * look(stage.fields.mouth_opening(weights), points)[0, 0])
    frame = photo.copy()
    x0, y0, x1, y1 = box
    frame[y0:y1, x0:x1] = patch * gain.numpy()[..., None]
    return frame


def _face_box(matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Pixels (x0, y0, x1, y1) of the photograph that the aligned crop covers."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ matrix[:, :2].T + matrix[:, 2]
    low = np.floor(corners.min(0)).astype(int).clip(0)
    high = np.ceil(corners.max(0)).astype(int) + 1
    return low[0], low[1], min(high[0], shape[1]), min(high[1], shape[0])


def _aligned_points(matrix: np.ndarray, box: tuple[int, int, int, int]) -> torch.Tensor:
    """Aligned coordinates (h, w, 2) of the pixels of a box."""
    x0, y0, x1, y1 = box
    x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    pixels = np.stack([x, y], -1).astype(np.float64)
    points = (pixels - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    return torch.from_numpy(points.astype(np.float32))


def _taper(points: torch.Tensor) -> torch.Tensor:
    """1 inside the crop, falling to 0 over its last tenth, so that the picture around it does not tear."""
    edge = 1 - points.abs().amax(-1)
    return (edge / 0.1).clamp(0, 1)


def _move_head(frame: np.ndarray, matrix: np.ndarray, camera: torch.Tensor) -> np.ndarray:
    """The whole photograph shifted, turned and scaled about the face."""
    if not camera.any():
        return frame
    rest = torch.zeros(1, 1, 2)
    ends = torch.cat([rest, rest + torch.tensor([1.0, 0.0]), rest + torch.tensor([0.0, 1.0])])
    source = head_positions(camera[None], ends)[0, :, 0].numpy().astype(np.float64)
    aligned = np.column_stack([source[1] - source[0], source[2] - source[0], source[0]])
    full, lift = np.vstack([matrix, [0, 0, 1]]), np.vstack([aligned, [0, 0, 1]])
    backward = full @ lift @ np.linalg.inv(full)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, backward[:2], frame.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)


class _Sensor:
    """Light flicker, noise, grey and JPEG of a clip's frames: settings once per clip, noise anew for each
    frame."""

    def __init__(self, nuisances: NuisanceConfig, seed: int):
        self.cfg, self.seed = nuisances, seed_of("sensor", seed)
        rng = np.random.default_rng(self.seed)
        self.noise = rng.uniform(*nuisances.noise) / 255
        self.grey = rng.random() < nuisances.grey
        low, high = nuisances.jpeg_quality
        self.quality = int(rng.integers(low, high + 1)) if rng.random() < nuisances.jpeg_share else None
        self.period, self.phase = rng.uniform(1, 4), rng.uniform(0, 6.28)

    def __call__(self, frame: np.ndarray, number: int) -> np.ndarray:
        """The frame (H, W, 3) float as the camera gives it: uint8."""
        swing = np.sin(number / 25 / self.period * 6.28 + self.phase) - np.sin(self.phase)
        frame = frame * np.float32(1 + 0.5 * self.cfg.gain * swing)
        if self.noise:
            rng = np.random.default_rng((self.seed, number))
            frame = frame + np.float32(self.noise) * rng.standard_normal(frame.shape, np.float32)
        if self.grey:
            frame = np.repeat(frame @ np.float32([0.299, 0.587, 0.114])[:, None], 3, axis=2)
        frame = (frame.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        return frame if self.quality is None else jpeg(frame, self.quality)

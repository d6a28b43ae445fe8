"""One clip of a corpus as a row of the clip schema: its frames cut out along one alignment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from dface_hf.faces import (
    ClipError,
    FaceDetector,
    Similarity,
    align,
    fit_similarity,
    locate,
    make_detector,
    open_frames,
)

from .corpora import CorpusClip

BORDER = (
    0.3  # added around a cropped face, as a share of its sides, for detectors that want to see the outline
)


@dataclass(frozen=True)
class Cutting:
    """How clips are cut: the arguments of `prepare` of these names."""

    size: int = 128
    frames: str = "all"
    margin: float = 0.1
    cropped: bool = False
    detector: str = "haar"


def cut_clip(clip: CorpusClip, cutting: Cutting) -> tuple[dict, tuple[str, ...]]:
    """Align a clip by one similarity, from its onset frame, so that alignment adds no motion of its own.

    Args:
        clip: Where its frames lie.
        cutting: Size and choice of frames.

    Returns:
        A row of `CLIP_FEATURES`, its frames PNG bytes and its indices counted from the first of them; and
        notes for the report.

    Raises:
        ClipError: A frame that is missing or unreadable, or no face.
    """
    indices = _indices(clip, cutting)
    picture = _pictures(clip, indices)
    similarity, notes = _alignment(clip, picture, cutting)
    frames = [
        {"bytes": _png(align(picture(index), similarity, cutting.size)), "path": None} for index in indices
    ]
    onset, apex, offset = (indices.index(index) for index in (clip.onset, clip.apex, clip.offset))
    row = {
        "clip_id": clip.clip_id,
        "corpus": clip.corpus,
        "subject": clip.subject,
        "frames": frames,
        "path": None,
        "fps": float(clip.fps or _rate(clip)),
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "emotion": clip.emotion,
        "action_units": clip.action_units,
        "license": clip.license,
    }
    return row, notes


def _indices(clip: CorpusClip, cutting: Cutting) -> list[int]:
    """Frames that are kept, ascending."""
    if cutting.frames == "keyframes":
        return sorted({clip.onset, clip.apex, clip.offset})
    margin = round(cutting.margin * (clip.fps or _rate(clip)))
    last = len(clip.frames) - 1 if clip.frames else _last_frame(clip)
    return list(range(max(0, clip.onset - margin), min(last, clip.offset + margin) + 1))


def _rate(clip: CorpusClip) -> float:
    return open_frames(clip.path).fps


def _last_frame(clip: CorpusClip) -> int:
    count = open_frames(clip.path).frame_count
    return clip.offset if count is None else max(clip.offset, count - 1)


def _pictures(clip: CorpusClip, indices: list[int]) -> Callable[[int], np.ndarray]:
    """Index -> picture (H, W, 3) uint8. Files are read one by one, a video's frames are kept."""
    if clip.path is not None:
        kept = open_frames(clip.path).read(indices)
        return lambda index: kept[index].image
    first = indices[0]
    source = open_frames(list(clip.frames[first : indices[-1] + 1]), fps=clip.fps)
    return lambda index: source.read([index - first])[index - first].image


def _alignment(
    clip: CorpusClip, picture: Callable[[int], np.ndarray], cutting: Cutting
) -> tuple[Similarity, tuple[str, ...]]:
    """The similarity of the onset's face; of the apex's or the offset's where the onset shows none."""
    detector = _detector(cutting.detector)
    for name in ("onset", "apex", "offset"):
        for border in (0.0, BORDER) if cutting.cropped else (0.0,):
            similarity = _fit(picture(getattr(clip, name)), detector, border)
            if similarity is not None:
                note = f"no face found in the onset frame; aligned by the {name}"
                return similarity, () if name == "onset" else (note,)
    if cutting.cropped:
        return _whole(picture(clip.onset)), ("no face found; the whole picture was taken as the crop",)
    file = clip.path or clip.frames[clip.onset]
    raise ClipError(
        file, "no face found, nor in apex and offset", "for a release of cropped faces: --cropped"
    )


@functools.cache
def _detector(name: str) -> FaceDetector:
    return make_detector(name)


def _fit(image: np.ndarray, detector: FaceDetector, border: float) -> Similarity | None:
    """The alignment of the largest face; the image is given a plain border first."""
    height, width = (round(border * side) for side in image.shape[:2])
    padded = cv2.copyMakeBorder(image, height, height, width, width, cv2.BORDER_REPLICATE)
    if not (faces := detector.detect(padded)):
        return None
    similarity = fit_similarity(*locate(padded, faces[0]))
    return Similarity.of(1.0, 0.0, (-float(width), -float(height))) @ similarity


def _whole(image: np.ndarray) -> Similarity:
    """The largest square in the middle of the picture."""
    height, width = image.shape[:2]
    return Similarity.of(min(height, width) / 2, 0.0, ((width - 1) / 2, (height - 1) / 2))


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()

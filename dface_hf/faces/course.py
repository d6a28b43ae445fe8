"""How an action unfolds: its level in each frame from onset over apex to offset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .activation import FACE_CELLS
from .alignment import align
from .detection import grey_of
from .frames import FrameSource
from .similarity import Similarity
from .skin_motion import Floats, SkinTrack

CROP_SIZE = 96  # side of the grey crops in which motion is measured
AT_ONCE = 24  # frames held in memory
FAINTEST = 0.05  # px at 128: below, the motion at the apex is noise and tells no course


def read_course(frames: FrameSource, similarity: Similarity, onset: int, apex: int, offset: int) -> Floats:
    """The time course of an event of a clip; the arguments are frames, the face aligned as in the onset.

    Returns:
        (T,) as `time_course` gives it.

    Raises:
        ClipError: A frame does not exist.
    """
    crops = []
    for start in range(onset, offset + 1, AT_ONCE):
        read = frames.read(range(start, min(start + AT_ONCE, offset + 1)))
        crops += [align(grey_of(read[i].image), similarity, CROP_SIZE)[..., 0] for i in sorted(read)]
    return time_course(crops, apex - onset)


def time_course(crops: Sequence[NDArray[np.uint8]], apex: int) -> Floats:
    """Level of the action in each frame: the motion of the skin projected on that of the apex.

    Args:
        crops: Aligned grey crops (S, S) uint8, S >= 48, from the onset to the offset.
        apex: Index of the apex among them; the last one where the offset is not known.

    Returns:
        (T,) float32 in [0, 1], 0 at the first frame and the last, 1 at the strongest. T is the number of
        crops, or, with the apex at the end, twice that less one: the way back is then that of the way there.

    Raises:
        ValueError: Unless 0 < apex < number of crops.
    """
    if not 0 < apex < len(crops):
        raise ValueError(f"apex {apex} of {len(crops)} crops; expected 0 < apex < number of crops")
    curve = _measured(crops, apex)
    if apex == len(curve) - 1:
        return np.concatenate([curve, curve[-2::-1]])
    # An action seldom ends exactly where it began; what is left of it goes with the way back.
    rest = np.maximum(np.arange(len(curve)) - apex, 0) / (len(curve) - 1 - apex)
    return _unit(curve - rest * curve[-1])


def _measured(crops: Sequence[NDArray[np.uint8]], apex: int) -> Floats:
    track = SkinTrack(keep_reference=True)
    for index, crop in enumerate(crops):
        track.push(crop, float(index))
    paths = gaussian_filter1d(np.stack(track.paths), 0.5, axis=0)
    paths = paths - paths[:1]
    length = np.where(FACE_CELLS, np.linalg.norm(paths[apex], axis=1), 0)
    if length.max() < FAINTEST or len(set(track.shot)) > 1:
        steps = np.arange(len(crops))
        share = np.where(
            steps <= apex, steps / apex, (len(crops) - 1 - steps) / max(1, len(crops) - 1 - apex)
        )
        return (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)
    pattern = paths[apex] * (length > 0.3 * length.max())[:, None]
    return _unit(np.einsum("tnc,nc->t", paths, pattern))


def _unit(curve: NDArray) -> Floats:
    return (curve / max(float(curve.max()), 1e-9)).clip(0, 1).astype(np.float32)

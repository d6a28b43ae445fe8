"""All frames of an event that are wanted, in one alignment: that of its onset, which adds no motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .alignment import Similarity, align, fit_similarity, locate
from .detection import Face
from .errors import ClipError
from .frames import FrameSource


def similarity_in_box(image: np.ndarray, box: Sequence[float]) -> Similarity:
    """The alignment of a face that is known by its box (x, y, width, height), pixels of the image."""
    # Twice, as detection and alignment do it: the box alone says nothing of how the head is turned.
    eyes, mouth = locate(image, Face(tuple(map(float, box)), 1.0))
    return fit_similarity(*locate(image, Face(tuple(box), 1.0, eyes, mouth)))


def event_crops(
    frames: FrameSource, box: Sequence[float], indices: Sequence[int], size: int = 128
) -> list[np.ndarray]:
    """Cut an event's frames out of a clip; as many full frames are held as there are different indices.

    Args:
        frames: The clip.
        box: Of the face in the first frame: (x, y, width, height), pixels of the clip's own size.
        indices: Frames, counted from 0; the first one, the onset, gives the similarity of all. They may
            repeat.
        size: Side of the crops in pixels.

    Returns:
        A crop (size, size, 3) uint8 RGB for each index.

    Raises:
        ClipError: A frame does not exist, or the box is none.
    """
    if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0:
        told = f"box {list(box)} of the event at frame {indices[0]}"
        raise ClipError(frames.name, told, "give x, y, width and height in pixels")
    read = frames.read(indices)
    first = read[indices[0]].image  # read before the scale, which some sources know only then
    similarity = similarity_in_box(first, [value * frames.scale for value in box])
    crops = {index: align(frame.image, similarity, size) for index, frame in read.items()}
    return [crops[index] for index in indices]


__all__ = ["event_crops", "similarity_in_box"]

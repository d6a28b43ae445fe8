"""From a face to the aligned crop: find its eye and mouth centres, fit one similarity, sample."""

from __future__ import annotations

import numpy as np

from .detection import Face, Point, grey_of
from .landmarks import landmark_cascade
from .similarity import EYES, MOUTH, Similarity, fit_similarity, warp

__all__ = ["EYES", "MOUTH", "Similarity", "align", "fit_similarity", "locate"]


def locate(image: np.ndarray, face: Face) -> tuple[tuple[Point, Point], Point]:
    """Eye and mouth centres of a detected face, refined on the image.

    Eye centres are those of the lid contours, not of the pupils, so that a glance does not turn the crop; the
    mouth centre is the mean of the lip contours.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        face: A detection; its own eyes and mouth, if it has them, are where the refinement starts.

    Returns:
        ((image-left eye, image-right eye), mouth), each (x, y) in pixels.
    """
    cascade = landmark_cascade()
    if face.eyes is not None:
        start = fit_similarity(face.eyes, face.mouth)
    else:
        start = cascade.start(face.box)
    left, right, mouth = (tuple(map(float, point)) for point in cascade.locate(grey_of(image), start)[0])
    return (left, right), mouth


def align(image: np.ndarray, similarity: Similarity, size: int = 128) -> np.ndarray:
    """The aligned crop: eye centres at `EYES`, mouth centre near `MOUTH` of the [-1, 1] square.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        similarity: Aligned coordinates -> image pixels, from `fit_similarity`.
        size: Side of the crop in pixels.

    Returns:
        (size, size, 3) uint8 RGB; anti-aliased when the face is shrunk, mirrored beyond the image's border.
    """
    crop = warp(image, similarity, size)
    return np.repeat(crop[..., None], 3, axis=2) if crop.ndim == 2 else crop

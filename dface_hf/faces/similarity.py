"""The geometry of alignment: one similarity between the aligned crop and the image.

Aligned coordinates run over [-1, 1] x [-1, 1], y down, whatever the crop's size: the outer edges of its
pixels lie at -1 and 1, so that pixel ``i`` of ``size`` has its centre at ``2 (i + 0.5) / size - 1``. Image
coordinates are OpenCV's: pixel centres at whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Point = tuple[float, float]

EYES: tuple[Point, Point] = ((-0.35, -0.21), (0.35, -0.21))
MOUTH: Point = (0.0, 0.48)


@dataclass(frozen=True, eq=False)
class Similarity:
    """A similarity of the plane, as built by `fit_similarity`: aligned coordinates -> image pixels.

    Attributes:
        matrix: (2, 3) float64, ``[[a, -b, tx], [b, a, ty]]``.
    """

    matrix: np.ndarray

    @classmethod
    def of(cls, scale: float = 1.0, rotation: float = 0.0, shift: Sequence[float] = (0.0, 0.0)) -> Similarity:
        """From scale, rotation (radians, clockwise on the screen, as y points down) and shift."""
        a, b = scale * math.cos(rotation), scale * math.sin(rotation)
        return cls(np.array([[a, -b, shift[0]], [b, a, shift[1]]], float))

    @property
    def scale(self) -> float:
        """Length of a unit vector after the map: image pixels per half a crop."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def rotation(self) -> float:
        """Radians, clockwise on the screen; positive when the head tips to the image's right."""
        return float(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))

    @property
    def inverse(self) -> Similarity:
        """The map back, image pixels -> aligned coordinates."""
        return Similarity(cv2.invertAffineTransform(self.matrix))

    def __matmul__(self, first: Similarity) -> Similarity:
        """``(a @ b)(p) = a(b(p))``."""
        linear = self.matrix[:, :2]
        return Similarity(np.column_stack([linear @ first.matrix[:, :2], self(first.matrix[:, 2])]))

    def __call__(self, points: np.ndarray | Sequence) -> np.ndarray:
        """Map points, (..., 2) -> (..., 2) float64."""
        return np.asarray(points, float) @ self.matrix[:, :2].T + self.matrix[:, 2]


def fit_similarity(eyes: Sequence[Point], mouth: Point | None = None) -> Similarity:
    """The least-squares similarity that takes the standard eye (and mouth) centres to the ones given.

    Args:
        eyes: Image positions of the eye centres, the image-left one first.
        mouth: Image position of the mouth centre.

    Returns:
        Aligned coordinates -> image pixels.

    Raises:
        ValueError: Points that are not finite or fall together.
    """
    target = np.array([*eyes] + ([mouth] if mouth is not None else []), float)
    source = np.array([*EYES, MOUTH][: len(target)], float)
    similarity = _least_squares(source, target)
    if not np.isfinite(similarity.matrix).all() or similarity.scale < 1e-3:
        raise ValueError(f"eyes {eyes} and mouth {mouth} do not span a face; give distinct points in pixels")
    return similarity


def _least_squares(source: np.ndarray, target: np.ndarray) -> Similarity:
    """Closed form in complex numbers (Umeyama 1991 without reflection, in two dimensions)."""
    p, q = source @ [1, 1j], target @ [1, 1j]
    dp, dq = p - p.mean(), q - q.mean()
    factor = (dp.conj() @ dq) / (dp.conj() @ dp).real
    shift = q.mean() - factor * p.mean()
    return Similarity.of(abs(factor), float(np.angle(factor)), (shift.real, shift.imag))


def pixels_of_crop(size: int, margin: float = 0.0) -> Similarity:
    """Crop pixel indices -> aligned coordinates, for ``size`` pixels that reach to ``1 + margin``."""
    reach = 1.0 + margin
    return Similarity.of(2 * reach / size, 0.0, (reach / size - reach, reach / size - reach))


def warp(image: np.ndarray, similarity: Similarity, size: int, margin: float = 0.0) -> np.ndarray:
    """Sample the aligned square; anti-aliased when shrinking, mirrored beyond the image's border.

    Args:
        image: (H, W) or (H, W, C), any depth OpenCV resizes.
        similarity: Aligned coordinates -> image pixels.
        size: Side of the result in pixels.
        margin: How far the square reaches beyond [-1, 1] on every side.

    Returns:
        (size, size) or (size, size, C) of the image's type.
    """
    to_image = similarity @ pixels_of_crop(size, margin)
    image, to_image = _cut_out(image, to_image, size)
    shrink = to_image.scale
    if shrink > 1.0:  # area-average first, so that bilinear sampling sees no frequency it would alias
        height, width = image.shape[:2]
        width, height = max(1, round(width / shrink)), max(1, round(height / shrink))
        factor = np.array([width / image.shape[1], height / image.shape[0]])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        matrix = to_image.matrix * factor[:, None]
        matrix[:, 2] += (factor - 1) / 2  # centres of the first pixels
    else:
        matrix = to_image.matrix
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _cut_out(image: np.ndarray, to_image: Similarity, size: int) -> tuple[np.ndarray, Similarity]:
    """The part of the image under the square, with some room, and the map into that part."""
    corners = to_image([(-1, -1), (size, -1), (-1, size), (size, size)])
    room = 2 * max(1.0, to_image.scale)
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners.min(0) - room), 0, [width - 2, height - 2]).astype(int)
    high = np.clip(np.ceil(corners.max(0) + room) + 1, low + 2, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    return part, Similarity.of(1.0, 0.0, -low.astype(float)) @ to_image

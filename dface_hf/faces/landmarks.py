"""Eye and mouth centres inside a detected face: a short cascade of linear regressions on gradient histograms.

The supervised descent method (Xiong and De la Torre, CVPR 2013) on three points: from a rough similarity, cut
the aligned square, describe it by histograms of oriented gradients, regress where the three points really
are, and again; then the same on a patch around each point. Several starts vote by their median, and a linear
score of the square they end at tells whether there is a face at all. The figures come from `fit_landmarks.py`
(126 frontal photographs with hand-placed landmarks) and travel with the package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import cv2
import numpy as np

from .similarity import EYES, MOUTH, Similarity, fit_similarity, warp

SQUARE, MARGIN = 64, 0.25  # pixels of the square of the first stages, and its reach beyond [-1, 1]
PATCH, REACH = 32, 0.3  # pixels of the patch around each point in the last stages, and half its side
STANDARD = np.array([*EYES, MOUTH])
MIN_SCORE = -0.35  # of a face: set by eye on detections in talking-head videos
STARTS = (
    (0.0, 0.0, 1.0),
    (0.08, 0.06, 1.08),
    (-0.08, -0.06, 0.93),
)  # shift x, shift y, scale, in the aligned frame


@functools.cache
def _hog(side: int, stride: int) -> cv2.HOGDescriptor:
    return cv2.HOGDescriptor((side, side), (16, 16), (stride, stride), (8, 8), 9)


def describe_square(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Gradient histograms of the aligned square that three points span.

    Args:
        grey: (H, W) uint8.
        points: (3, 2) image-left eye, image-right eye, mouth in pixels.

    Returns:
        (576,) float32.
    """
    square = warp(grey, fit_similarity(points[:2], points[2]), SQUARE, MARGIN)
    return _hog(SQUARE, 16).compute(square).ravel()


def describe_points(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Gradient histograms of a patch around each point, at the points' scale and rotation: (972,) float32."""
    linear = fit_similarity(points[:2], points[2]).matrix[:, :2] * REACH
    patches = [warp(grey, Similarity(np.column_stack([linear, point])), PATCH) for point in points]
    return np.concatenate([_hog(PATCH, 8).compute(patch).ravel() for patch in patches])


def shift_of(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One linear regression: (D,) features, (D + 1, 6) weights -> (3, 2) shifts in the aligned frame."""
    return (features @ weights[:-1] + weights[-1]).reshape(3, 2)


def move_to_standard(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Points at their standard places plus ``shift``, in the frame that ``points`` span; (3, 2) pixels."""
    return fit_similarity(points[:2], points[2])(STANDARD + shift)


def move(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each point moved by ``shift`` in the frame that ``points`` span; (3, 2) pixels."""
    return points + shift @ fit_similarity(points[:2], points[2]).matrix[:, :2].T


@dataclass(frozen=True, eq=False)
class LandmarkCascade:
    """The fitted figures: features and a constant -> shifts of three points (x, y) in the frame they span.

    Attributes:
        square: (stages, 577, 6) float32, on `describe_square`: where the points lie, minus their standard
            places.
        points: (stages, 973, 6) float32, on `describe_points`: where the points lie, minus where they are
            now.
        face: (577,) float32, on `describe_square` at the end: about 1 for a face, -1 for anything else.
        box: (3,) float64: the aligned square in a Haar box of side 1: centre x, centre y, scale.
    """

    square: np.ndarray
    points: np.ndarray
    face: np.ndarray
    box: np.ndarray

    def start(self, box: tuple[float, float, float, float]) -> Similarity:
        """The mean similarity of a face whose detection box (x, y, w, h) is given."""
        x, y, width, height = box
        return Similarity.of(self.box[2] * width, 0.0, (x + self.box[0] * width, y + self.box[1] * height))

    def box_of(self, similarity: Similarity) -> tuple[float, float, float, float]:
        """The detection box (x, y, w, h) of a similarity: the inverse of `start`, less the rotation."""
        width = similarity.scale / self.box[2]
        x, y = similarity((0.0, 0.0)) - self.box[:2] * width
        return float(x), float(y), float(width), float(width)

    def descend(self, grey: np.ndarray, start: Similarity) -> np.ndarray:
        """One run from one start: (3, 2) float64 points in image pixels."""
        points = start(STANDARD)
        for weights in self.square:
            points = move_to_standard(points, shift_of(describe_square(grey, points), weights))
        for weights in self.points:
            points = move(points, shift_of(describe_points(grey, points), weights))
        return points

    def locate(self, grey: np.ndarray, start: Similarity, starts: tuple = STARTS) -> tuple[np.ndarray, float]:
        """Median of the runs from several starts, and whether there is a face.

        Args:
            grey: (H, W) uint8.
            start: Rough aligned coordinates -> image pixels.
            starts: Shift x, shift y and scale of each run's start.

        Returns:
            (3, 2) float64 image-left eye, image-right eye, mouth in pixels; and the score, about 1 for a face
            and -1 for anything else.
        """
        try:
            runs = [self.descend(grey, start @ Similarity.of(scale, 0.0, (x, y))) for x, y, scale in starts]
            points = np.median(runs, axis=0)
            return points, float(describe_square(grey, points) @ self.face[:-1] + self.face[-1])
        except ValueError:  # a run fell together: not a face
            return start(STANDARD), -1.0


@functools.cache
def landmark_cascade() -> LandmarkCascade:
    """The cascade that travels with the package."""
    with resources.files(__package__).joinpath("landmarks.npz").open("rb") as file, np.load(file) as figures:
        square, points, face = (figures[name].astype(np.float32) for name in ("square", "points", "face"))
        return LandmarkCascade(square, points, face, figures["box"].astype(float))

"""Where are the faces: one small interface over OpenCV's cascades, YuNet and MediaPipe."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from .errors import ClipError
from .landmarks import MIN_SCORE, landmark_cascade

Point = tuple[float, float]
Box = tuple[float, float, float, float]

SCALE_STEP = 1.15  # of the search for faces of all sizes
SMALLEST = 24  # pixels of the smallest face that the cascade knows
YUNET_REPOSITORY = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
MEDIAPIPE_FILE = "blaze_face_short_range.tflite"


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of the image it was found in.

    Attributes:
        box: (x, y, width, height).
        score: Confidence of the detector; comparable within one detector only.
        eyes: Eye centres, the image-left one first; None when the detector does not give them.
        mouth: Mouth centre, or None.
    """

    box: Box
    score: float
    eyes: tuple[Point, Point] | None = None
    mouth: Point | None = None

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return self.box[2] * self.box[3]


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of an (H, W, 3) RGB or (H, W) grey uint8 image, the largest first."""
        ...


def largest_first(faces: list[Face]) -> list[Face]:
    """Sorted by the area of their boxes."""
    return sorted(faces, key=lambda face: face.area, reverse=True)


def grey_of(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of an RGB or grey uint8 image."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


class HaarDetector:
    """OpenCV's frontal-face cascade, checked and refined by the landmark cascade; needs no download.

    A box counts as a face when the landmark cascade says so and its points lie where a face in this box has
    them.

    Args:
        max_side: The image is shrunk to this many pixels before the search.
        min_size: Smallest face as a share of the image's shorter side.
        min_neighbors: Raw hits that must agree on a box.
        min_score: Least face score of the landmark cascade (about 1 for a face, -1 for anything else).
    """

    def __init__(
        self,
        max_side: int = 320,
        min_size: float = 0.12,
        min_neighbors: int = 3,
        min_score: float = MIN_SCORE,
    ) -> None:
        self.max_side, self.min_size = max_side, min_size
        self.min_neighbors, self.min_score = min_neighbors, min_score

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of an (H, W, 3) RGB or (H, W) grey uint8 image, the largest first."""
        grey = grey_of(image)
        return largest_first(
            [face for box, score in self._boxes(grey) if (face := self._checked(grey, box, score))]
        )

    def _boxes(self, grey: np.ndarray) -> list[tuple[Box, float]]:
        """What the cascade takes for faces, with its own score."""
        scale = min(1.0, self.max_side / max(grey.shape))
        if scale * min(grey.shape) < SMALLEST:
            return []
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        smallest = max(SMALLEST, round(self.min_size * min(grey.shape)))
        boxes, _, weights = _cascade().detectMultiScale3(
            grey, SCALE_STEP, self.min_neighbors, minSize=(smallest, smallest), outputRejectLevels=True
        )
        rows = np.asarray(boxes, float).reshape(-1, 4) / scale
        return [(tuple(map(float, row)), float(w)) for row, w in zip(rows, np.ravel(weights), strict=True)]

    def _checked(self, grey: np.ndarray, box: Box, score: float) -> Face | None:
        """The face with its points, or None when there is none in the box."""
        cascade = landmark_cascade()
        start = cascade.start(box)
        points, certainty = cascade.locate(grey, start)
        if certainty < self.min_score or not plausible(start.inverse(points)):
            return None
        left, right, mouth = (tuple(map(float, point)) for point in points)
        return Face(box, score, (left, right), mouth)


def plausible(points: np.ndarray) -> bool:
    """Do eyes and mouth, (3, 2) in the mean aligned frame of their box, lie as in a nearly frontal face?"""
    across, middle = points[1] - points[0], points[:2].mean(axis=0)
    distance, drop = float(np.linalg.norm(across)), points[2] - middle
    if (
        not 0.45 < distance < 1.05
        or abs(across[1]) > 0.6 * abs(across[0])
        or np.linalg.norm(middle - [0, -0.21]) > 0.35
    ):
        return False
    ratio = (
        across[0] * drop[1] - across[1] * drop[0]
    ) / distance**2  # height of the mouth below the eye line
    lean = abs(across @ drop) / distance**2
    return 0.6 < ratio < 1.6 and lean < 0.45


_of_thread = threading.local()


def _cascade() -> cv2.CascadeClassifier:
    # One a thread: it holds the picture that is searched, and two searches at a time would mix theirs.
    if not hasattr(_of_thread, "cascade"):
        path = os.path.join(cv2.data.haarcascades, "haarcascade_frontalface_default.xml")
        _of_thread.cascade = cv2.CascadeClassifier(path)
    return _of_thread.cascade


class YuNetDetector:
    """OpenCV's FaceDetectorYN (YuNet: Wu et al., Machine Intelligence Research 2023).

    Args:
        weights: Path of the ONNX file; without it, the file is fetched from the Hub.
        repo_id: Hub repository that holds it.
        filename: Name of the file there.
        max_side: The image is shrunk to this many pixels before the search.
        threshold: Least score, in [0, 1].
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        repo_id: str = YUNET_REPOSITORY,
        filename: str = YUNET_FILE,
        max_side: int = 640,
        threshold: float = 0.7,
    ) -> None:
        path = _weights_file("YuNet", weights, repo_id, filename)
        self.max_side = max_side
        try:
            self._model = cv2.FaceDetectorYN.create(path, "", (max_side, max_side), threshold)
        except cv2.error as error:
            raise ClipError(
                path, "OpenCV cannot read these YuNet weights", "download the file again"
            ) from error

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of an (H, W, 3) RGB or (H, W) grey uint8 image, the largest first."""
        bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)
        scale = min(1.0, self.max_side / max(bgr.shape[:2]))
        if scale < 1:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._model.setInputSize((bgr.shape[1], bgr.shape[0]))
        rows = self._model.detect(bgr)[1]
        return largest_first([] if rows is None else [_face_of_row(row, scale) for row in rows])


def _face_of_row(row: np.ndarray, scale: float) -> Face:
    """A row of YuNet: box, right eye, left eye, nose, right and left mouth corner (the subject's), score."""
    values = row[:14].astype(float) / scale
    eyes = sorted((tuple(values[4:6]), tuple(values[6:8])))
    mouth = (values[10:12] + values[12:14]) / 2
    return Face(tuple(values[:4]), float(row[14]), (eyes[0], eyes[1]), tuple(mouth))


class MediaPipeDetector:
    """MediaPipe's face detector (BlazeFace: Bazarevsky et al., 2019); needs the package ``mediapipe``.

    Args:
        weights: Path of the .tflite file; without it, the file is fetched from the Hub.
        repo_id: Hub repository that holds it; MediaPipe itself publishes none.
        filename: Name of the file there.
        threshold: Least score, in [0, 1].
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        repo_id: str | None = None,
        filename: str = MEDIAPIPE_FILE,
        threshold: float = 0.5,
    ) -> None:
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            # No extra: its metadata asks for an OpenCV beside ours, without the cascades; it needs none.
            fix = "pip install --no-deps mediapipe absl-py certifi flatbuffers sounddevice"
            raise ImportError(f"the detector mediapipe cannot be loaded ({error}); {fix}") from error
        path = _weights_file("MediaPipe", weights, repo_id, filename)
        self._package: Any = mediapipe
        self._lock = threading.Lock()  # one picture at a time goes through the task
        try:
            base = BaseOptions(model_asset_path=path)
            options = vision.FaceDetectorOptions(base, min_detection_confidence=threshold)
            self._model = vision.FaceDetector.create_from_options(options)
        except (OSError, RuntimeError, ValueError) as error:
            told = f"MediaPipe cannot read these weights ({error})"
            raise ClipError(path, told, f"download {MEDIAPIPE_FILE} again") from error

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of an (H, W, 3) RGB or (H, W) grey uint8 image, the largest first."""
        rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image)
        picture = self._package.Image(image_format=self._package.ImageFormat.SRGB, data=rgb)
        with self._lock:
            found = self._model.detect(picture).detections
        return largest_first([_face_of_detection(one, rgb.shape[1], rgb.shape[0]) for one in found])


def _face_of_detection(detection: Any, width: int, height: int) -> Face:
    """A detection of MediaPipe: the box in pixels; points, relative to the image, are the subject's right and
    left eye, nose, mouth and ears."""
    box = detection.bounding_box
    points = [(point.x * width, point.y * height) for point in detection.keypoints]
    eyes, score = sorted(points[:2]), float(detection.categories[0].score)
    pixels = tuple(map(float, (box.origin_x, box.origin_y, box.width, box.height)))
    return Face(pixels, score, (eyes[0], eyes[1]), points[3])


def _weights_file(
    detector: str, weights: str | os.PathLike | None, repo_id: str | None, filename: str
) -> str:
    """The file of a detector's weights: that of the path, else fetched from the Hub."""
    if weights is None and repo_id is None:
        raise ClipError(filename, f"no {detector} weights given", "pass weights=PATH, or repo_id of the Hub")
    path = os.fspath(weights) if weights is not None else _download(detector, repo_id, filename)
    if not os.path.isfile(path):
        raise ClipError(path, f"no {detector} weights there", f"give the path of a file like {filename}")
    return path


def _download(detector: str, repo_id: str, filename: str) -> str:
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(repo_id, filename)
    except Exception as error:  # the Hub client raises many kinds: offline, missing, gated, proxy
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClipError(
            f"{repo_id}/{filename}", f"{detector} weights not fetched ({reason})", "pass weights=PATH"
        ) from error


DETECTORS = {"haar": HaarDetector, "yunet": YuNetDetector, "mediapipe": MediaPipeDetector}


def make_detector(name: str = "haar", **options: Any) -> FaceDetector:
    """A face detector by name.

    Args:
        name: ``"haar"`` (in OpenCV), ``"yunet"`` or ``"mediapipe"`` (installed apart); weights of these two
            may follow a colon, as in ``"mediapipe:blaze_face_short_range.tflite"``.
        **options: Arguments of the detector's class.

    Raises:
        ValueError: An unknown name.
        ImportError: The detector's package is missing.
        ClipError: Its weights are missing or broken.
    """
    kind, _, weights = name.partition(":")
    if kind not in DETECTORS or (weights and kind == "haar"):
        raise ValueError(f"face detector {name!r} is unknown; choose from {', '.join(DETECTORS)}")
    return DETECTORS[kind](**options | ({"weights": weights} if weights else {}))

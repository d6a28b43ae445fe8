"""Frames that are not a video file: numbered images, arrays and a camera."""

from __future__ import annotations

import os
import re
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ClipError
from .frames import Frame, FrameSource

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ASSUMED_FPS = 25.0
ASSUMED_CAMERA_FPS = 30.0


def to_rgb(image: Any, name: str) -> np.ndarray:
    """Any picture as (H, W, 3) uint8 RGB.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or float in [0, 1]; or a PIL image.
        name: What an error calls it.

    Raises:
        ClipError: Another shape or number type, or values out of range.
    """
    if isinstance(image, Image.Image):
        # Pillow cuts what is above 255 off when it converts numbers of more than 8 bits.
        plain = image.mode in ("L", "RGB", "I", "F") or image.mode.startswith("I;16")
        image = np.asarray(image if plain else image.convert("RGB"))
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ClipError(
            name, f"a frame has shape {array.shape}", "give (height, width, 3) or (height, width)"
        )
    array = _to_bytes(array, name)
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.itemsize == 2:  # of either byte order
        return (array >> 8).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise ClipError(name, f"a frame has number type {array.dtype}", "give uint8, or float in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also catches NaN
        raise ClipError(
            name, f"float frame with values {low:.3g} to {high:.3g}", "scale to [0, 1], without NaN"
        )
    return np.rint(array.clip(0, 1) * 255).astype(np.uint8)


def _rate(source: FrameSource, fps: float | None) -> float:
    if fps is None:
        source.warn(f"no frame rate given; {ASSUMED_FPS:g} fps assumed")
    return fps or ASSUMED_FPS


class _Stills(FrameSource):
    """Pictures of which any one can be had at once."""

    frame_count: int

    @abstractmethod
    def _frame(self, index: int) -> Frame: ...

    def __iter__(self) -> Iterator[Frame]:
        return map(self._frame, range(self.frame_count))

    def read(self, indices: Iterable[int]) -> dict[int, Frame]:
        """Read a few frames by index."""
        wanted = self._checked(indices)
        return self._complete(wanted, {i: self._frame(i) for i in wanted if i < self.frame_count})


class ArrayFrames(_Stills):
    """Frames of an array (T, H, W, 3) or (T, H, W), uint8 or float in [0, 1]."""

    def __init__(self, array: Any, fps: float | None = None, max_side: int | None = None) -> None:
        super().__init__(None, fps or ASSUMED_FPS, max_side)
        self.fps = _rate(self, fps)
        self._array = np.asarray(array)
        shape = self._array.shape
        if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
            raise ClipError(
                "array", f"shape {shape}", "give (frames, height, width, 3) or (frames, height, width)"
            )
        if len(shape) == 3 and shape[2] <= 4:
            raise ClipError("array", f"shape {shape} is one picture", "give (frames, height, width, 3)")
        self.frame_count = shape[0]
        self._frame(0)

    def _frame(self, index: int) -> Frame:
        image = to_rgb(self._array[index], f"array frame {index}")
        return Frame(index, index / self.fps, self._shrink(image))


class ImageFrames(_Stills):
    """Frames of a list of image files, arrays or PIL images; all of one size."""

    def __init__(self, items: list, path: str | None, fps: float | None, max_side: int | None) -> None:
        super().__init__(path, fps or ASSUMED_FPS, max_side)
        if not items:
            raise ClipError(self.name, "an empty list", "give at least one frame")
        self.fps = 1.0 if len(items) == 1 and fps is None else _rate(self, fps)
        self._items = items
        self.frame_count = len(items)
        self._shape: tuple[int, int] | None = None
        self._frame(0)

    @classmethod
    def from_folder(cls, folder: str, fps: float | None = None, max_side: int | None = None) -> ImageFrames:
        """The images of a folder in the order of the last number in their names: img46 before img100.

        Raises:
            ClipError: No image, two images with one number, an unreadable image, or images of differing size.
        """
        files = sorted(p for p in Path(folder).iterdir() if p.is_file())
        images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        if not images:
            raise ClipError(
                folder, f"no images among its {len(files)} files", "give a folder of numbered images"
            )
        numbered = sorted((_number(p), p) for p in images if _number(p) is not None)
        for (number, first), (again, second) in zip(numbered, numbered[1:], strict=False):
            if number == again:
                raise ClipError(folder, f"{first.name} and {second.name} have one number", "keep one of them")
        used = [p for _, p in numbered] or images
        _check_sizes(folder, used)
        source = cls([str(p) for p in used], folder, fps, max_side)
        source._report(files, used, [n for n, _ in numbered])
        return source

    def _report(self, files: list[Path], used: list[Path], numbers: list[int]) -> None:
        left = [p.name for p in files if p not in set(used)]
        if left:
            more = ", ..." if len(left) > 3 else ""
            self.warn(
                f"{len(left)} files are not numbered images and were ignored: {', '.join(left[:3])}{more}"
            )
        if not numbers:
            self.warn("no number in the image names; they are sorted as text")
            return
        self.numbers = numbers
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        if missing:
            self.warn(
                f"{missing} numbers are missing between {numbers[0]} and {numbers[-1]}; frames are played on"
            )

    def _frame(self, index: int) -> Frame:
        item = self._items[index]
        if isinstance(item, (str, os.PathLike)):
            name, image = os.fspath(item), _read_image(os.fspath(item))
        else:
            name = f"{self.name} frame {index}"
            image = to_rgb(item, name)
        self._shape = self._shape or image.shape[:2]
        if image.shape[:2] != self._shape:
            raise ClipError(
                name, f"size {_size(image.shape)}, the first frame has {_size(self._shape)}", "give one size"
            )
        return Frame(index, index / self.fps, self._shrink(image))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _number(path: Path) -> int | None:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else None


def _check_sizes(folder: str, paths: list[Path]) -> None:
    """Compare sizes by the file headers, so that a mixed folder fails before minutes of work."""
    first: tuple[int, int] | None = None
    for path in paths:
        try:
            with Image.open(path) as image:
                size = image.size
        except (UnidentifiedImageError, OSError) as error:
            raise ClipError(path, "not a readable image", "replace or remove the file") from error
        first = first or size
        if size != first:
            told = f"size {size[0]}x{size[1]}, {paths[0].name} has {first[0]}x{first[1]}"
            raise ClipError(path, told, f"give images of one size in {folder}")


def _read_image(path: str) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, turned upright by its EXIF tag (OpenCV does that)."""
    if not os.path.exists(path):
        raise ClipError(path, "no such file", "check the path")
    data = np.fromfile(path, np.uint8)  # not cv2.imread: it fails on non-ASCII paths on Windows
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ClipError(path, f"not a readable image ({data.size} bytes)", "replace or remove the file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class WebcamFrames(FrameSource):
    """A camera through OpenCV; time stamps are those of arrival. It can be iterated over once."""

    def __init__(self, camera: int | str, fps: float | None = None, max_side: int | None = None) -> None:
        number = str(camera).removeprefix("webcam:")
        super().__init__(f"webcam:{number}", fps or ASSUMED_CAMERA_FPS, max_side)
        if not number.isdigit():
            raise ClipError(self.name, f"camera number {number!r}", "give webcam:0 for the first camera")
        self._capture = cv2.VideoCapture(int(number))
        if not self._capture.isOpened():
            raise ClipError(self.name, "the camera cannot be opened", "check that it is connected and free")
        if fps is None and self._capture.get(cv2.CAP_PROP_FPS) > 0:
            self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        index, start = 0, time.monotonic()
        try:
            while True:
                arrived, image = self._capture.read()
                if not arrived:
                    break
                yield Frame(
                    index, time.monotonic() - start, self._shrink(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                )
                index += 1
        finally:
            self._capture.release()
        self.frame_count = index

    def read(self, indices: Iterable[int]) -> dict[int, Frame]:
        """A camera cannot go back in time."""
        raise ClipError(self.name, "a camera cannot be read at random", "iterate over it")

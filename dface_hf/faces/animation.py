"""Pictures that move, as files: a video, an animated GIF, or one picture; and several beside each other."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import ClipError
from .images import to_rgb
from .video import whole_media, write_video

GIF_FPS = 50.0  # players take shorter delays for "as slow as you like"


def write_animation(path: str | os.PathLike, frames: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Write frames as a video, or as a GIF that plays at their speed (every n-th frame where they are fast).

    The file appears under its name when it is complete.

    Args:
        path: Target, ending in .gif, .mp4, .mov, .mkv or .avi.
        frames: (H, W), (H, W, 3) or (H, W, 4) uint8 pictures of one size; transparency is dropped.
        fps: Frames a second.

    Raises:
        ClipError: Unknown suffix, no frames, or frames of differing size.
    """
    if Path(path).suffix.lower() != ".gif":
        return write_video(path, (to_rgb(frame, os.fspath(path)) for frame in frames), fps)
    step = math.ceil(fps / GIF_FPS)
    shown = [to_rgb(frame, os.fspath(path)) for number, frame in enumerate(frames) if number % step == 0]
    if not shown:
        raise ClipError(path, "no frames to write", "give at least one")
    # One palette for all frames, without dithering, which would flicker more than the motion shown.
    sample = Image.fromarray(np.vstack(shown[:: math.ceil(len(shown) / 4)]))
    palette = sample.quantize(256, dither=Image.Dither.NONE)
    chosen = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    delay = max(20, 10 * round(100 * step / fps))  # ms; the format counts hundredths of a second
    options = {"save_all": True, "append_images": chosen[1:], "duration": delay, "loop": 0}
    _save(chosen[0], Path(path), "GIF", options)


def write_picture(path: str | os.PathLike, image: NDArray[np.uint8]) -> None:
    """Write one picture, (H, W), (H, W, 3) or (H, W, 4) uint8; it appears when it is complete.

    Raises:
        ClipError: The file cannot be written.
    """
    _save(Image.fromarray(image), Path(path), "PNG", {})


def _save(picture: Image.Image, target: Path, kind: str, options: dict) -> None:
    with whole_media(target) as partial:
        picture.save(partial, kind, **options)


def tile(
    rows: Iterable[Sequence[NDArray[np.uint8]]], columns: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Several moving pictures as one: a grid, nearly square by default.

    Args:
        rows: For each moment, the pictures (S, S, 3) uint8, all of one size, in reading order.
        columns: Of the grid.

    Yields:
        (h, w, 3) uint8, white where there is no picture.
    """
    for pictures in rows:
        width = columns or math.ceil(math.sqrt(len(pictures)))
        empty = [np.full_like(pictures[0], 255)] * (-len(pictures) % width)
        cells = [*pictures, *empty]
        yield np.vstack([np.hstack(cells[i : i + width]) for i in range(0, len(cells), width)])


def square_around(
    image: NDArray[np.uint8], centre: Sequence[float], half: float, size: int
) -> NDArray[np.uint8]:
    """An upright square of a picture as (size, size, 3) RGB; the picture's edge is repeated beyond it.

    Args:
        image: (H, W), (H, W, 3) or (H, W, 4) uint8.
        centre: (x, y) pixels.
        half: Half the side of the square, pixels.
        size: Side of the result.
    """
    low = [round(c - half) for c in centre]
    side = max(2, round(2 * half))
    height, width = image.shape[:2]
    rows = np.arange(low[1], low[1] + side).clip(0, height - 1)
    columns = np.arange(low[0], low[0] + side).clip(0, width - 1)
    cut = to_rgb(np.ascontiguousarray(image[rows][:, columns]), "picture")
    return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)

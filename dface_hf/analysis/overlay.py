"""The input video with what was found in it: face box, label, tokens, and a timeline along the bottom edge.

Texts are set by Pillow in matplotlib's own font, once an event, and blended into its frames: OpenCV's stroke
fonts know no letters beyond ASCII.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dface_hf.faces.errors import ClipError
from dface_hf.faces.frames import Frame
from dface_hf.faces.video import write_video

from .style import (
    ACCENT,
    attention_strength,
    check_event,
    elide,
    label_colours,
    readable_on,
    result_labels,
    rgb,
    token_grid_side,
)

MAX_SIDE = 1280
"""Longer side of the written video, pixels."""

Box = Sequence[float]


def write_overlay(
    frames: Iterable[NDArray | Frame],
    result: Mapping[str, Any],
    path: str | os.PathLike,
    fps: float | None = None,
    boxes: Sequence[Box | None] | None = None,
) -> None:
    """Draw a clip result on its frames and write them as a video; one frame is held at a time.

    Args:
        frames: The frames from the first on: (H, W, 3) uint8 RGB arrays or `Frame`s, all of one size,
            in the pixels that the result's boxes are given in. Larger ones than `MAX_SIDE` are shrunk.
        result: A clip result; an event is shown from its onset to its offset frame.
        path: Target, .mp4, .mov, .mkv or .avi.
        fps: Frames a second of the video; the result's own when not given.
        boxes: Face box (x, y, width, height) or None for each frame, drawn between events too. Without it the
            box is that of the event, which is its onset frame's, and none is drawn between events.

    Raises:
        ValueError: The result cannot be drawn, or there is no frame rate.
        ClipError: No frames, frames of differing size or another type, or an unknown suffix.
    """
    for number, event in enumerate(result.get("events", ()), 1):
        check_event(event, number)
    fps = fps or result.get("fps")
    if not fps or not np.isfinite(fps) or fps <= 0:
        raise ValueError(f"{path}: no frame rate for the video; give fps as a positive number")
    write_video(path, overlay_frames(frames, result, boxes), float(fps))


def overlay_frames(
    frames: Iterable[NDArray | Frame], result: Mapping[str, Any], boxes: Sequence[Box | None] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """The drawn frames, one by one; the arguments are those of `write_overlay`.

    Yields:
        (H, W, 3) uint8 RGB, new arrays of at most `MAX_SIDE` pixels a side.
    """
    painter, shape = None, None
    for count, frame in enumerate(frames):
        index, image = (frame.index, frame.image) if isinstance(frame, Frame) else (count, np.asarray(frame))
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ClipError(
                f"frame {index}", f"is {image.dtype} of shape {image.shape}", "give uint8 (H, W, 3)"
            )
        if painter is None:
            painter, shape = _Painter(result, image.shape[1], image.shape[0]), image.shape
        if image.shape != shape:
            raise ClipError(f"frame {index}", f"is {image.shape}, the first is {shape}", "give one size")
        known = boxes is not None and index < len(boxes)
        yield painter.paint(image, index, boxes[index] if known else None)


class _Painter:
    """Everything that stays the same from frame to frame, for frames of one size."""

    def __init__(self, result: Mapping[str, Any], width: int, height: int) -> None:
        self.scale = min(1.0, MAX_SIDE / max(width, height))
        self.width, self.height = (max(1, round(side * self.scale)) for side in (width, height))
        self.unit = float(np.clip(min(self.width, self.height) / 360, 0.4, 2))
        self.events = list(result.get("events", ()))
        self.colours = {k: rgb(v) for k, v in label_colours(result_labels(result)).items()}
        offsets = [event["offset"] + 1 for event in self.events]
        self.total = max([result.get("frames") or 1, *offsets])
        self.panel = lru_cache(maxsize=8)(self._panel)
        self.strip = self._strip()

    def paint(self, image: NDArray[np.uint8], index: int, box: Box | None) -> NDArray[np.uint8]:
        size = (self.width, self.height)
        canvas = image.copy() if self.scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        active = [n for n, e in enumerate(self.events) if e["onset"] <= index <= e["offset"]]
        if box is not None:
            self._box(canvas, box, (255, 255, 255), max(1, round(self.unit)))
        for n in active:
            if self.events[n].get("box") is not None:
                colour = self.colours[self.events[n]["label"]]
                self._box(canvas, self.events[n]["box"], colour, max(1, round(1.5 * self.unit)))
        self._panels(canvas, active)
        self._timeline(canvas, index)
        return canvas

    def _box(self, canvas: NDArray, box: Box, colour: tuple[int, int, int], thickness: int) -> None:
        x, y, width, height = (float(value) * self.scale for value in box)
        corners = [(round(x), round(y)), (round(x + width), round(y + height))]
        cv2.rectangle(canvas, *corners, colour, thickness)

    def _panels(self, canvas: NDArray, active: Sequence[int]) -> None:
        """The panels of the running events, downwards in the corner farther from the first one's face."""
        margin = y = round(8 * self.unit)
        for n in active:
            panel = self.panel(n)
            if y + panel.shape[0] > self.height - len(self.strip) and y > margin:
                break  # more faces act at once than fit; their boxes and the timeline still show them
            x = margin if self._face_is_right(active[0]) else self.width - margin - panel.shape[1]
            _blend(canvas, panel, max(0, x), y)
            y += panel.shape[0] + margin

    def _face_is_right(self, n: int) -> bool:
        box = self.events[n].get("box")
        return box is not None and (box[0] + box[2] / 2) * self.scale > self.width / 2

    def _panel(self, n: int) -> NDArray[np.uint8]:
        """Label, score, times and token grid of event n: (h, w, 4) uint8."""
        event, unit = self.events[n], self.unit
        pad, cell = 8 * unit, 24 * unit
        side = token_grid_side(len(event["action_ids"]))
        title = f"{elide(event['label'], 18)}  {event['scores'][event['label']]:.0%}"
        width = max(side * cell, _font(13 * unit, True).getlength(title)) + 2 * pad
        panel = Image.new("RGBA", (round(width), round(side * cell + 26 * unit + 2 * pad)), (18, 22, 27, 200))
        draw = ImageDraw.Draw(panel)
        colour = self.colours[event["label"]]
        ink = readable_on("#" + bytes(colour).hex())
        draw.rectangle((0, 0, width, 26 * unit), fill=(*colour, 255))
        draw.text((pad, 13 * unit), title, font=_font(13 * unit, True), fill=ink, anchor="lm")
        _draw_tokens(draw, event, (width - side * cell) / 2, 26 * unit + pad, cell)
        return np.asarray(panel)

    def _strip(self) -> NDArray[np.uint8]:
        """The timeline without its playhead: (h, width, 4) uint8; white ticks are apexes."""
        height = max(4, round(9 * self.unit))
        strip = np.full((height, self.width, 4), (18, 22, 27, 190), np.uint8)
        for event in self.events:
            first, last = (self._column(event[key]) for key in ("onset", "offset"))
            strip[:, first : max(last, first + 1) + 1] = (*self.colours[event["label"]], 255)
        for event in self.events:
            column = self._column(event["apex"])
            strip[: height // 2, column : column + max(1, round(self.unit))] = 255
        return strip

    def _column(self, index: int) -> int:
        return min(self.width - 1, index * self.width // self.total)

    def _timeline(self, canvas: NDArray, index: int) -> None:
        strip = self.strip[-canvas.shape[0] :]
        top = canvas.shape[0] - len(strip)
        _blend(canvas, strip, 0, top)
        half, column = max(1, round(self.unit)), self._column(index)
        canvas[max(0, top - 2 * half) :, max(0, column - half) : column + half + 1] = 255


@lru_cache(maxsize=16)
def _font(size: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", max(6, size))


def _draw_tokens(draw: ImageDraw.ImageDraw, event: Mapping, left: float, top: float, cell: float) -> None:
    side = token_grid_side(len(event["action_ids"]))
    amber = np.array(rgb(ACCENT), float)
    for k, strength in enumerate(attention_strength(event["attention"])):
        x, y = left + (k % side) * cell, top + (k // side) * cell
        fill = np.rint(38 + strength * (0.85 * amber - 38)).astype(int)
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=(*fill.tolist(), 235))
        code = event["action_ids"][k]
        text, ink = ("·", (255, 255, 255, 120)) if code == 0 else (str(code), "white")
        middle = (x + cell / 2 - 1, y + cell / 2 - 1)
        draw.text(middle, text, font=_font(0.5 * cell, True), fill=ink, anchor="mm")


def _blend(canvas: NDArray[np.uint8], patch: NDArray[np.uint8], x: int, y: int) -> None:
    """Blend an RGBA patch into the canvas in place; what does not fit is cut off."""
    target = canvas[y : y + patch.shape[0], x : x + patch.shape[1]]
    patch = patch[: target.shape[0], : target.shape[1]]
    alpha = patch[..., 3:].astype(np.uint16)
    target[:] = ((patch[..., :3] * alpha + target * (255 - alpha)) // 255).astype(np.uint8)

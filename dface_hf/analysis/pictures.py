"""Pictures of the motion between an onset and its apex crop: arrays in, arrays out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dface_hf.faces.flow import optical_flow

from .style import ACCENT, rgb

MID_GREY = np.array([128, 128, 128], np.float32)
BRIGHTER = np.array([255, 214, 122], np.float32)
DARKER = np.array([10, 50, 110], np.float32)
"""Ends of the diverging scale: lightness follows the sign, for grey print and for any colour vision."""

WHITE = (255, 255, 255)
ARROWS = 14
"""Arrows along one side of the motion picture."""


def crop_pair(onset_image: NDArray, apex_image: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Check two aligned crops.

    Args:
        onset_image: (S, S, 3) uint8 RGB.
        apex_image: the same shape.

    Returns:
        Both as arrays.

    Raises:
        ValueError: Another shape or type, or two sizes.
    """
    pair = np.asarray(onset_image), np.asarray(apex_image)
    for name, image in zip(("onset", "apex"), pair, strict=True):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"{name} crop is {image.dtype} of shape {image.shape}; expected uint8 (S, S, 3)")
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"onset crop is {pair[0].shape}, apex crop {pair[1].shape}; expected one size")
    return pair


def magnify(onset_image: NDArray, apex_image: NDArray, factor: float = 10.0) -> NDArray[np.uint8]:
    """The signed difference apex - onset in luminance, magnified, around mid grey.

    Args:
        onset_image: (S, S, 3) uint8 RGB, aligned crop.
        apex_image: the same shape, stabilised on the onset.
        factor: What the difference is multiplied by; half the range of grey levels is full colour.

    Returns:
        (S, S, 3) uint8: mid grey where nothing changes, amber where the apex is brighter, blue where it is
        darker.

    Raises:
        ValueError: Crops of another shape or type, or of two sizes.
    """
    pair = crop_pair(onset_image, apex_image)
    onset, apex = (image.astype(np.float32) @ np.float32([0.299, 0.587, 0.114]) for image in pair)
    change = np.clip((apex - onset) * (factor / 128), -1, 1)[..., None]
    end = np.where(change > 0, BRIGHTER, DARKER)
    return np.rint(MID_GREY + np.abs(change) * (end - MID_GREY)).astype(np.uint8)


def motion_picture(
    onset_image: NDArray, apex_image: NDArray, size: int = 420
) -> tuple[NDArray[np.uint8], int, float]:
    """Arrows of the optical flow (DIS) over the pale onset crop.

    Args:
        onset_image: (S, S, 3) uint8 RGB, aligned crop.
        apex_image: the same shape, stabilised on the onset.
        size: Side of the picture in pixels.

    Returns:
        The picture (size, size, 3) uint8; how many times longer than the motion its arrows are; and the
        longest motion shown, in pixels of the crop.
    """
    onset, apex = crop_pair(onset_image, apex_image)
    height, width = onset.shape[:2]
    # Averaged over the cell of each arrow: single pixels of a flow field jitter.
    flow = cv2.resize(optical_flow(onset, apex, "dis"), (ARROWS, ARROWS), interpolation=cv2.INTER_AREA)
    length = np.hypot(flow[..., 0], flow[..., 1])
    factor = _enlargement(float(length.max()), max(width, height))
    return _draw_arrows(_pale(onset, size), flow * (factor * size / width)), factor, float(length.max())


def explanation_picture(
    onset_image: NDArray, motion: NDArray, saliency: NDArray, size: int = 420
) -> tuple[NDArray[np.uint8], int]:
    """What the tokens say over the pale onset crop: arrows of the motion they decode to, and amber where
    those move that speak for the label.

    Args:
        onset_image: (S, S, 3) uint8 RGB, aligned crop.
        motion: (2, h, h) forward motion (dx, dy) over the crop, px of a 128 px crop.
        saliency: (h, h) in [0, 1].
        size: Side of the picture in pixels.

    Returns:
        The picture (size, size, 3) uint8, and how many times longer than the motion its arrows are.
    """
    heat = cv2.resize(np.asarray(saliency, np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    heat = 0.75 * np.clip(heat, 0, 1)[..., None]
    ground = (1 - heat) * _pale(np.asarray(onset_image), size) + heat * np.array(rgb(ACCENT), float)
    flow = np.ascontiguousarray(np.moveaxis(np.asarray(motion, np.float32), 0, -1))
    flow = cv2.resize(flow, (ARROWS, ARROWS), interpolation=cv2.INTER_AREA) / 128
    factor = _enlargement(float(np.hypot(flow[..., 0], flow[..., 1]).max()), 1.0)
    return _draw_arrows(np.rint(ground).astype(np.uint8), flow * (factor * size), WHITE), factor


def _enlargement(longest: float, width: float) -> int:
    """How many times longer than the motion arrows may be drawn without crossing each other."""
    return next((n for n in (20, 10, 5, 2) if n * longest <= 1.3 * width / ARROWS), 1)


def _pale(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat((0.6 * grey).astype(np.uint8)[..., None], 3, axis=2)


def _draw_arrows(
    canvas: NDArray[np.uint8], flow: NDArray, colour: tuple[int, int, int] = rgb(ACCENT)
) -> NDArray[np.uint8]:
    """Arrows shorter than two pixels become dots, so that rest looks like rest. Drawn at 1/16 pixel."""
    cell = canvas.shape[0] / ARROWS
    for row, column in np.ndindex(ARROWS, ARROWS):
        start = np.array([(column + 0.5) * cell, (row + 0.5) * cell])
        vector = flow[row, column]
        points = [tuple(int(v) for v in np.rint(p * 16)) for p in (start, start + vector)]
        if np.hypot(*vector) < 2:
            cv2.circle(canvas, points[0], 16, (130, 130, 130), -1, cv2.LINE_AA, 4)
        else:
            _arrow(canvas, points, colour)
    return canvas


def _arrow(canvas: NDArray[np.uint8], points: list[tuple[int, int]], colour: tuple[int, int, int]) -> None:
    """A line with a small filled head; OpenCV's own heads take no sub-pixel lines at this thickness."""
    start, end = (np.array(point, float) for point in points)
    direction = (end - start) / np.hypot(*(end - start))
    side = np.array([-direction[1], direction[0]])
    head = 16 * 5.0
    tip = [end + direction * head / 2, end - direction * head / 2 + side * head / 2]
    tip.append(end - direction * head / 2 - side * head / 2)
    cv2.line(canvas, points[0], points[1], colour, 2, cv2.LINE_AA, 4)
    cv2.fillConvexPoly(canvas, np.rint(tip).astype(np.int32), colour, cv2.LINE_AA, 4)

"""Dense optical flow between two aligned crops, optical strain, and the three-channel flow picture.

Flow is in pixels of the crop, forward: the point seen at ``(x, y)`` in the onset frame is seen at
``(x + u, y + v)`` in the apex frame, ``u`` to the right and ``v`` down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

FlowMethod = Literal["farneback", "dis", "tvl1"]


def grey_image(image: NDArray) -> NDArray[np.float32]:
    """The luminance of a picture.

    Args:
        image: (H, W, 3) RGB or (H, W) grey; uint8, or floating point in [0, 1].

    Returns:
        (H, W) float32 in [0, 255].

    Raises:
        ValueError: for another shape or another kind of number.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"expected a picture of shape (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    if image.dtype == np.uint8:
        scale = 1.0
    elif np.issubdtype(image.dtype, np.floating):
        scale = 255.0
    else:
        raise ValueError(f"expected uint8 or floating point in [0, 1], got {image.dtype}")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(_cv_image(image), cv2.COLOR_RGB2GRAY)
    return image.astype(np.float32) * np.float32(scale)


def optical_flow(onset: NDArray, apex: NDArray, method: FlowMethod = "farneback") -> NDArray[np.float32]:
    """Forward optical flow from the onset frame to the apex frame.

    Args:
        onset: (H, W, 3) or (H, W), uint8 or floating point in [0, 1].
        apex: the same shape.
        method: "farneback" (Farneback 2003, window and pyramid as in the common micro-expression recipe),
            "dis" (dense inverse search, Kroeger et al. 2016; faster) or "tvl1" (Perez et al., IPOL 2013/26;
            what STSTNet and HTNet use; needs OpenCV's contrib modules).

    Returns:
        (H, W, 2) float32, pixels: ``[..., 0]`` to the right, ``[..., 1]`` down.

    Raises:
        ValueError: for pictures of different size, or an unknown method.
        RuntimeError: for "tvl1" where OpenCV was built without its contrib modules.
    """
    if np.shape(onset)[:2] != np.shape(apex)[:2]:
        raise ValueError(f"onset and apex differ in size: {np.shape(onset)[:2]} and {np.shape(apex)[:2]}")
    if method not in _METHODS:
        raise ValueError(f"unknown flow method {method!r}: choose one of {', '.join(get_args(FlowMethod))}")
    first, second = (np.rint(grey_image(x)).clip(0, 255).astype(np.uint8) for x in (onset, apex))
    return np.ascontiguousarray(_METHODS[method](first, second), dtype=np.float32)


def optical_strain(flow: NDArray) -> NDArray[np.float32]:
    """Magnitude of the infinitesimal strain tensor, sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2).

    Source: STSTNet (Liong et al., 2019), section III-A, after Shreve et al. (2011).

    Args:
        flow: (H, W, 2), pixels.

    Returns:
        (H, W) float32, dimensionless, >= 0.
    """
    flow = np.asarray(flow, dtype=np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2 or min(flow.shape[:2]) < 2:
        raise ValueError(f"expected a flow field of shape (H, W, 2), at least 2x2, got {flow.shape}")
    u_y, u_x = np.gradient(flow[..., 0])
    v_y, v_x = np.gradient(flow[..., 1])
    return np.sqrt(u_x**2 + v_y**2 + 0.5 * (u_y + v_x) ** 2)


def flow_image(flow: NDArray, size: int = 28) -> NDArray[np.uint8]:
    """Flow as the picture STSTNet and HTNet are trained on: red = u, green = v, blue = strain.

    Each channel is resized and then stretched to 0..255 on its own, so the absolute scale is lost by design.
    A constant channel (a still pair) becomes 0 everywhere.

    Args:
        flow: (H, W, 2), pixels.
        size: side of the picture.

    Returns:
        (size, size, 3) uint8.
    """
    strain = optical_strain(flow)
    channels = np.dstack([np.asarray(flow, dtype=np.float32), strain])
    shrinks = size < min(channels.shape[:2])
    channels = cv2.resize(
        channels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    low, high = channels.min(axis=(0, 1)), channels.max(axis=(0, 1))
    spread = np.where(high - low > 1e-6, high - low, np.inf)
    return np.rint(255 * (channels - low) / spread).astype(np.uint8)


def flow_to_rgb(flow: NDArray, max_px: float | None = None) -> NDArray[np.uint8]:
    """Flow as a colour wheel: hue is the direction, saturation the length; white does not move.

    Args:
        flow: (H, W, 2), pixels.
        max_px: length shown at full saturation; the longest vector when not given.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    length, angle = cv2.cartToPolar(np.float32(flow[..., 0]), np.float32(flow[..., 1]), angleInDegrees=True)
    full = max(float(length.max()) if max_px is None else max_px, 1e-6)
    hsv = np.dstack([angle, np.minimum(length / full, 1), np.ones_like(length)])
    return np.rint(255 * cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB)).astype(np.uint8)


def _cv_image(image: NDArray) -> NDArray:
    """OpenCV converts colours of 8-bit and 32-bit floating-point pictures only."""
    return image if image.dtype == np.uint8 else image.astype(np.float32)


def _farneback(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray:
    if np.array_equal(first, second):  # the method leaves up to 0.3 px at the border of an identical pair
        return np.zeros((*first.shape, 2), np.float32)
    # pyramid scale, levels, window, iterations, polynomial neighbourhood and its sigma
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)


def _dis(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray:
    solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The preset starts at half resolution; micro-expressions move by less than a pixel of the full one.
    solver.setFinestScale(0)
    return solver.calc(first, second, None)


def _tvl1(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray:
    if not hasattr(cv2, "optflow"):
        raise RuntimeError(
            "TV-L1 flow is in OpenCV's contrib modules: install opencv-contrib-python-headless in place of "
            "opencv-python-headless, or choose method='farneback' or 'dis'"
        )
    return cv2.optflow.createOptFlow_DualTVL1().calc(first, second, None)


_METHODS: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray]] = {
    "farneback": _farneback,
    "dis": _dis,
    "tvl1": _tvl1,
}

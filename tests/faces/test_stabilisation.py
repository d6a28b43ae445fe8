import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dface_hf.faces.stabilisation import stabilise

EYES_AND_MOUTH = np.array([[201.8, 100.4], [247.6, 102.7], [224.9, 147.0]])
CANONICAL = np.array([[-0.35, -0.21], [0.35, -0.21], [0.0, 0.48]])


def face(size: int = 128) -> np.ndarray:
    """The astronaut's aligned face."""
    target = (CANONICAL + 1) * size / 2 - 0.5
    matrix, _ = cv2.estimateAffinePartial2D(EYES_AND_MOUTH, target)
    return cv2.warpAffine(astronaut(), matrix, (size, size), flags=cv2.INTER_AREA)


def drift(size: int, x: float, y: float, degrees: float = 0.0) -> np.ndarray:
    """(2, 3) matrix: pixel of the drifted crop -> pixel of the still one."""
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 1.0)
    matrix[:, 2] -= x, y
    return matrix


def brow_raise(size: int, peak: float) -> np.ndarray:
    """Upward motion of both brows and the forehead above them, (size, size, 2) px."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(axis, axis)
    rise = np.exp(-(((np.abs(x) - 0.35) / 0.25) ** 2) - ((y + 0.5) / 0.2) ** 2)
    return np.dstack([0 * rise, -peak * rise / rise.max()])


def seen(image: np.ndarray, motion: np.ndarray, matrix: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """The face after a forward motion and then a drift, with sensor noise."""
    size = len(image)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    u, v = (
        (matrix @ np.stack([x.ravel(), y.ravel(), np.ones(size * size)]))
        .reshape(2, size, size)
        .astype(np.float32)
    )
    motion = motion.astype(np.float32)
    sx, sy = u, v
    for _ in range(5):
        shift = cv2.remap(motion, sx, sy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        sx, sy = u - shift[..., 0], v - shift[..., 1]
    moved = cv2.remap(image, sx, sy, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.rint(gain * moved + noise).clip(0, 255).astype(np.uint8)


def left_over(result, matrix: np.ndarray, size: int) -> np.ndarray:
    """Motion that stabilising left or made, on the face: (N, 2) px."""
    y, x = np.mgrid[0:size, 0:size]
    inside = (((x + 0.5) * 2 / size - 1) / 0.75) ** 2 + (((y + 0.5) * 2 / size - 1) / 0.9) ** 2 < 1
    points = np.stack([x[inside], y[inside], np.ones(inside.sum())])
    through = matrix @ np.vstack([result.matrix @ points, np.ones(points.shape[1])])
    return -(through - points[:2]).T


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("region", ["upper", "all"])
@pytest.mark.parametrize("shift", [(0.4, -0.3, 0.3), (-3.0, 1.0, 1.5), (2.0, 2.2, -1.2)])
def test_drift_is_removed(size, region, shift):
    scale = size / 128
    matrix = drift(size, shift[0] * scale, shift[1] * scale, shift[2])
    onset = face(size)
    result = stabilise(onset, seen(onset, np.zeros((size, size, 2)), matrix), region)
    assert result.applied and result.apex.shape == onset.shape and result.apex.dtype == np.uint8
    assert np.median(np.linalg.norm(left_over(result, matrix, size), axis=1)) < 0.1
    assert result.rotation_deg == pytest.approx(shift[2], abs=0.1) and result.scale == pytest.approx(
        1, abs=0.003
    )
    centre = np.array([(size - 1) / 2, (size - 1) / 2])
    there = cv2.invertAffineTransform(matrix) @ [*centre, 1] - centre
    np.testing.assert_allclose(result.shift_px, there, atol=0.1)


@pytest.mark.parametrize("peak", [1.0, 2.0, 5.0])
def test_a_brow_raise_survives(peak):
    motion, matrix, onset = brow_raise(128, peak), drift(128, 1.5, -1.0, 0.7), face()
    result = stabilise(onset, seen(onset, motion, matrix))
    strong = np.abs(motion[..., 1]) > 0.5 * peak
    rest = np.median(left_over(result, matrix, 128), axis=0)
    survived = 1 + rest[1] / motion[..., 1][strong].mean()
    assert 0.85 < survived < 1.15
    assert np.linalg.norm(rest) < 0.1 * max(peak, 1)


def test_brightness_is_matched():
    onset = face()
    apex = (onset * 0.9 + 8).astype(np.uint8)
    result = stabilise(onset, apex)
    assert result.gain == pytest.approx(0.9, abs=0.02)
    assert np.abs(result.apex.astype(int) - onset).mean() < 1.5 < np.abs(apex.astype(int) - onset).mean()
    assert stabilise(onset, apex, match_brightness=False).gain == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("colour", [True, False])
def test_an_identical_pair_is_untouched(dtype, colour):
    onset = face() if colour else face()[..., 0]
    onset = onset if dtype == np.uint8 else (onset / 255).astype(dtype)
    apex = onset.copy()
    result = stabilise(onset, apex)
    assert not result.applied and result.apex is apex
    assert result.shift_px == (0.0, 0.0) and result.rotation_deg == 0.0 and result.scale == 1.0
    assert result.gain == 1.0 and result.offset == 0.0
    np.testing.assert_array_equal(result.apex, onset)


def test_floats_stay_in_range():
    onset = (face() / 255).astype(np.float32)
    apex = (seen(face(), np.zeros((128, 128, 2)), drift(128, 1, 1)) / 255).astype(np.float32)
    result = stabilise(onset, apex)
    assert result.applied and result.apex.dtype == np.float32
    assert result.apex.min() >= 0 and result.apex.max() <= 1


def test_an_implausible_motion_is_reported_and_not_applied():
    onset = face()
    apex = seen(onset, np.zeros((128, 128, 2)), drift(128, 4, 0))
    result = stabilise(onset, apex, max_shift=0.02)
    assert not result.applied and not result.plausible and result.apex is apex
    assert result.shift_px[0] == pytest.approx(4, abs=0.2)


def test_a_flat_crop_does_not_fail():
    result = stabilise(np.full((64, 64), 90, np.uint8), np.full((64, 64), 90, np.uint8))
    assert not result.applied and np.isfinite(result.matrix).all()


@pytest.mark.parametrize(
    ("onset", "apex", "options", "message"),
    [
        (np.zeros((64, 64), np.uint8), np.zeros((128, 128), np.uint8), {}, "one shape and type"),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.float32), {}, "one shape and type"),
        (np.zeros((64, 32), np.uint8), np.zeros((64, 32), np.uint8), {}, r"\(64, 32\)"),
        (
            np.zeros((64, 64), np.uint8),
            np.zeros((64, 64), np.uint8),
            {"region": "nose"},
            "unknown region 'nose'",
        ),
    ],
)
def test_bad_input_names_the_value(onset, apex, options, message):
    with pytest.raises(ValueError, match=message):
        stabilise(onset, apex, **options)

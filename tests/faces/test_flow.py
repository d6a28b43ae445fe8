import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dface_hf.faces.flow import flow_image, flow_to_rgb, grey_image, optical_flow, optical_strain

METHODS = ("farneback", "dis", "tvl1") if hasattr(cv2, "optflow") else ("farneback", "dis")


def face(size: int = 128) -> np.ndarray:
    return cv2.resize(astronaut()[30:190, 145:305], (size, size), interpolation=cv2.INTER_AREA)


def shifted(image: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(
        image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


@pytest.mark.parametrize("method", METHODS)
def test_flow_is_forward_in_pixels(method):
    flow = optical_flow(face(), shifted(face(), 1.5, -1.0), method)
    assert flow.shape == (128, 128, 2) and flow.dtype == np.float32
    inner = flow[24:-24, 24:-24].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inner, axis=0), [1.5, -1.0], atol=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_flow_of_an_identical_pair_is_zero(method):
    assert np.abs(optical_flow(face(), face(), method)).max() < 1e-3


def test_flow_takes_grey_and_floating_point_alike():
    onset, apex = face(), shifted(face(), 1, 0)
    colour = optical_flow(onset, apex)
    floats = optical_flow(onset.astype(np.float64) / 255, apex / np.float32(255))
    greys = [np.rint(grey_image(x)).astype(np.uint8) for x in (onset, apex)]
    np.testing.assert_allclose(floats, colour, atol=0.05)
    np.testing.assert_allclose(optical_flow(*greys), colour, atol=1e-5)


@pytest.mark.skipif(hasattr(cv2, "optflow"), reason="OpenCV has its contrib modules here")
def test_tvl1_without_contrib_says_what_to_install():
    with pytest.raises(RuntimeError, match="opencv-contrib-python"):
        optical_flow(face(), face(), "tvl1")


@pytest.mark.parametrize(
    ("onset", "apex", "method", "message"),
    [
        (np.zeros((64, 64), np.uint8), np.zeros((64, 32), np.uint8), "dis", "differ in size"),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8), "raft", "unknown flow method 'raft'"),
        (np.zeros((64, 64, 2), np.uint8), np.zeros((64, 64, 2), np.uint8), "dis", r"\(64, 64, 2\)"),
        (np.zeros((64, 64), np.int32), np.zeros((64, 64), np.int32), "dis", "int32"),
    ],
)
def test_bad_input_names_the_value(onset, apex, method, message):
    with pytest.raises(ValueError, match=message):
        optical_flow(onset, apex, method)


def test_strain_of_a_linear_field_is_the_tensor_norm():
    y, x = np.mgrid[0:20, 0:30].astype(np.float32)
    flow = np.dstack([0.1 * x + 0.2 * y, -0.05 * y + 0.3 * x])
    np.testing.assert_allclose(optical_strain(flow), np.sqrt(0.1**2 + 0.05**2 + 0.5 * 0.5**2), rtol=1e-4)


def test_strain_does_not_see_shift_or_rotation():
    y, x = np.mgrid[0:20, 0:20].astype(np.float32)
    assert optical_strain(np.dstack([2 - 0.03 * y, 1 + 0.03 * x])).max() < 1e-5


def test_flow_image_stretches_each_channel():
    flow = optical_flow(face(), shifted(face(), 0.7, 0.2)) * np.float32([1, 0.01])
    image = flow_image(flow)
    assert image.shape == (28, 28, 3) and image.dtype == np.uint8
    assert image.min(axis=(0, 1)).tolist() == [0, 0, 0] and image.max(axis=(0, 1)).tolist() == [255, 255, 255]
    np.testing.assert_array_equal(flow_image(3 * flow), image)


def test_flow_image_channels_are_u_v_and_strain():
    y, x = np.mgrid[0:56, 0:56].astype(np.float32)
    image = flow_image(np.dstack([x, 0.01 * y**2])).astype(int)
    assert (np.diff(image[:, :, 0], axis=1) > 0).all() and (np.ptp(image[:, :, 0], axis=0) <= 1).all()
    assert (np.diff(image[2:-2, :, 1], axis=0) > 0).all()
    assert image[-3, 5, 2] > image[3, 5, 2]


def test_flow_image_of_a_still_pair_is_black():
    assert flow_image(np.zeros((64, 64, 2), np.float32)).max() == 0


def test_colour_wheel_shows_direction_and_length():
    flow = np.zeros((8, 8, 2), np.float32)
    flow[0, 0], flow[0, 1] = (2, 0), (-1, 0)
    picture = flow_to_rgb(flow)
    assert picture[4, 4].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[0, 1].tolist() == [128, 255, 255]

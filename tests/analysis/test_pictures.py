import numpy as np
import pytest

from dface_hf.analysis.pictures import magnify, motion_picture


def grey(value: int, size: int = 32) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_no_change_is_mid_grey():
    assert (magnify(grey(77), grey(77), 10) == 128).all()


def test_sign_is_lightness_and_hue():
    brighter, darker = magnify(grey(100), grey(105), 10)[0, 0], magnify(grey(100), grey(95), 10)[0, 0]
    assert brighter.sum() > 3 * 128 > darker.sum()
    assert brighter[0] > brighter[2] and darker[2] > darker[0]


def test_factor_and_saturation():
    faint, strong = (magnify(grey(100), grey(101), factor).astype(int) for factor in (2, 20))
    assert (strong - 128)[0, 0, 0] == pytest.approx(10 * (faint - 128)[0, 0, 0], abs=6)
    assert (magnify(grey(0), grey(255), 10) == magnify(grey(0), grey(200), 10)).all()


def test_motion_is_where_the_face_moved(crops):
    picture, factor, longest = motion_picture(*crops, size=280)
    assert picture.shape == (280, 280, 3) and picture.dtype == np.uint8
    assert 0.8 < longest < 2.0 and factor in (1, 2, 5, 10, 20)
    amber = (picture[..., 0] > 200) & (picture[..., 2] < 60)
    assert amber[20:140, 40:240].sum() > 10 * amber[140:240, 40:240].sum()


def test_still_pair_has_no_arrows(crops):
    picture, factor, longest = motion_picture(crops[0], crops[0])
    assert longest < 0.01 and factor == 20
    assert not ((picture[..., 0] > 200) & (picture[..., 2] < 60)).any()


@pytest.mark.parametrize(
    ("onset", "apex", "message"),
    [
        (grey(1, 16), grey(1, 32), "expected one size"),
        (grey(1)[..., 0], grey(1), "onset crop is uint8 of shape"),
        (grey(1), grey(1) / 255.0, "apex crop is float64"),
    ],
)
def test_bad_crops_are_refused(onset, apex, message):
    with pytest.raises(ValueError, match=message):
        magnify(onset, apex)

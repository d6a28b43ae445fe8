import numpy as np
import pytest

from dface_hf.analysis.pictures import explanation_picture, magnify, motion_picture


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


def test_explanations_mark_what_matters_and_which_way_it_moves(crops, explained):
    picture, times = explanation_picture(crops[0], explained["decoded_motion"], explained["saliency"], 320)
    assert picture.shape == (320, 320, 3) and picture.dtype == np.uint8 and times == 5
    plain, _ = explanation_picture(crops[0], explained["decoded_motion"], np.zeros((32, 32)), 320)
    changed = (picture != plain).any(axis=-1)
    assert changed[70:100, 180:230].mean() > 0.5 and not changed[:, :140].any() and not changed[140:].any()
    white = (plain == 255).all(axis=-1)
    assert white[40:110, 90:230].any() and not white[140:].any()  # arrows where the brows are

import pytest

from dface_hf.data import CLIP_FEATURES, check_clip

GOOD = {
    "clip_id": "EP02_01f",
    "corpus": "CASME II",
    "subject": "sub01",
    "frames": None,
    "path": "sub01/EP02_01f",
    "fps": 200.0,
    "onset": 46,
    "apex": 59,
    "offset": 86,
    "emotion": "happiness",
    "action_units": "4+R12",
    "license": "research only",
}


def test_a_good_row_passes():
    assert set(GOOD) == set(CLIP_FEATURES)
    check_clip(GOOD)
    check_clip(GOOD | {"emotion": None, "action_units": "", "apex": 86})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onset": 60}, "onset=60, apex=59, offset=86"),
        ({"apex": 90}, "onset < apex <= offset"),
        ({"apex": "/"}, "apex='/' must be a whole frame"),
        ({"onset": -1}, "0 <= onset"),
        ({"fps": 0.0}, "fps=0.0"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"path": None}, "either frames or a path"),
        ({"frames": [1, 2]}, "not both"),
        ({"frames": [1], "path": None}, "frames holds 1"),
        ({"frames": [1] * 50, "path": None}, "offset=86 lies beyond its 50 frames"),
        ({"emotion": "joyful-ish"}, "joyful-ish"),
        ({"action_units": "12+?"}, "12"),
        ({"subject": ""}, "subject=''"),
        ({"license": None}, "license=None"),
        ({"extra": 1}, r"unknown columns \['extra'\]"),
    ],
)
def test_a_bad_row_is_named_with_its_value(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_clip(GOOD | changes)
    assert "CASME II/EP02_01f" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"lacks \['fps'\]"):
        check_clip({k: v for k, v in GOOD.items() if k != "fps"})

from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab

from dface_hf.actions.schemes import CLASS_SCHEMES
from dface_hf.analysis.style import (
    attention_strength,
    check_event,
    describe_stabilisation,
    elide,
    keyframe_seconds,
    label_colours,
    readable_on,
    rgb,
    token_grid_side,
)

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def seen(colour: str, vision: np.ndarray) -> np.ndarray:
    value = np.array(rgb(colour)) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(vision @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("scheme", CLASS_SCHEMES)
def test_classes_of_a_scheme_can_be_told_apart(scheme, vision):
    colours = label_colours(CLASS_SCHEMES[scheme].labels)
    for one, other in combinations(colours, 2):
        distance = np.linalg.norm(seen(colours[one], VISIONS[vision]) - seen(colours[other], VISIONS[vision]))
        assert distance > 20, (one, other, distance)


def test_any_class_names_have_colours():
    colours = label_colours(["negative", "x", "y", "x"])
    assert list(colours) == ["negative", "x", "y"] and len(set(colours.values())) == 3
    many = label_colours(f"class {n}" for n in range(40))
    assert len(many) == 40 and all(len(rgb(colour)) == 3 for colour in many.values())


def test_ink_contrasts_with_every_background():
    assert readable_on("#000000") == "#ffffff" and readable_on("#ffffff") != "#ffffff"
    assert readable_on("#009e73") != "#ffffff" and readable_on("#683e00") == "#ffffff"


def test_elide():
    assert elide("short") == "short"
    assert elide("a" * 50, 10) == "a" * 9 + "…"
    assert elide("start_" + "x" * 50 + "_end.mp4", 16, middle=True).endswith("end.mp4")
    assert len(elide("x" * 500, 17, middle=True)) == 17
    assert elide("two\nlines\x00\u202e") == "two lines"


def test_token_grid_must_be_square():
    assert [token_grid_side(n) for n in (1, 4, 16, 64)] == [1, 2, 4, 8]
    with pytest.raises(ValueError, match="15 action_ids"):
        token_grid_side(15)


def test_even_attention_is_pale_and_a_peak_is_full():
    assert attention_strength([1 / 16] * 16) == pytest.approx([0.25] * 16)
    assert max(attention_strength([0.9] + [0.1 / 15] * 15)) == 1
    assert attention_strength([0.0] * 16) == [0.0] * 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apex": 10}, r"event 3: onset, apex, offset are \[10, 10, 20\]"),
        ({"offset": 12}, "onset, apex, offset"),
        ({"action_ids": [1] * 9}, "16 attention weights, 9 ids"),
        ({"label": "fear"}, "'fear' has no score"),
        ({"attention": [float("nan")] * 16}, "attention holds nan"),
        ({"similarities": {"a": float("inf")}}, "similarities holds inf"),
    ],
)
def test_events_that_cannot_be_drawn_are_refused(make_event, change, message):
    with pytest.raises(ValueError, match=message):
        check_event(make_event() | change, 3)


def test_missing_fields_are_named(make_event):
    event = make_event()
    del event["attention"], event["label"]
    with pytest.raises(ValueError, match="event 1: no attention, label"):
        check_event(event)


def test_seconds_come_from_the_event_or_its_frames(make_event):
    event = make_event(onset=10, onset_s=0.5)
    assert keyframe_seconds(event, 25) == (0.5, 0.56, 0.8)
    for key in ("onset_s", "apex_s", "offset_s"):
        del event[key]
    assert keyframe_seconds(event, 50) == (0.2, 0.28, 0.4)


def test_stabilisation_in_one_line():
    text = describe_stabilisation(
        {"shift_px": [0.3123, -0.1], "scale": 1.002, "applied": True, "matrix": [[1]]}
    )
    assert text == "shift px (0.312, -0.1) · scale 1.002 · applied yes"
    assert describe_stabilisation(None) == ""

"""Units are read back from motion that the fields made, on the side of the person."""

import numpy as np
import pytest

from dface_hf.analysis import active_sides, name_amplitudes, read_units
from dface_hf.analysis.unit_reading import READ_UNITS, explained_share, motion_agreement
from dface_hf.synthesis import load_fields


def motion_of(size: int = 128, **weights: float) -> np.ndarray:
    """Flow (size, size, 2) in px of the crop, each named field moving so many px of 128."""
    fields, total = load_fields(size), np.zeros((size, size, 2))
    for name, px in weights.items():
        row = fields.names.index(name)
        total += px * (fields.displacement[row] / fields.peak[row]).permute(1, 2, 0).numpy() * (size / 2)
    return total


@pytest.mark.parametrize("size", [32, 64, 128])
def test_amplitudes_come_back_in_pixels_of_128_whatever_the_crop(size):
    named = name_amplitudes(read_units(motion_of(size, AU12_left=2.0, AU12_right=1.0, AU26=1.5)))
    assert list(named) == ["AU12", "AU26"]
    assert named["AU12"] == pytest.approx({"left": 2.0, "right": 1.0}, abs=0.1)
    assert named["AU26"]["left"] == named["AU26"]["right"] == pytest.approx(1.5, abs=0.1)


def test_left_is_the_persons_left_which_is_right_in_the_picture():
    flow = motion_of(AU2_left=2.0)
    assert np.abs(flow[:, 64:]).sum() > 10 * np.abs(flow[:, :64]).sum()
    assert name_amplitudes(read_units(flow))["AU2"] == pytest.approx({"left": 2.0, "right": 0.0}, abs=0.1)


def test_every_unit_is_told_from_the_others():
    fields = load_fields(128)
    for unit in READ_UNITS:
        names = [name for name, number in zip(fields.names, fields.units, strict=True) if number == unit]
        assert list(name_amplitudes(read_units(motion_of(**dict.fromkeys(names, 1.0))))) == [f"AU{unit}"]


def test_motion_of_the_head_is_no_action():
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 128)])
    head = np.stack([3 + 2 * x - 1.5 * y, 2 * y + 1.5 * x - 2], axis=-1)
    turned, still = (read_units(motion_of(AU1_left=1.0, AU1_right=1.0) + add) for add in (head, 0 * head))
    assert turned == pytest.approx(still, abs=1e-3)
    assert read_units(head).max() < 1e-3


def test_many_flows_at_once_keep_their_shape():
    flows = np.stack([motion_of(AU4_left=1.0), motion_of(AU9_right=1.0), np.zeros((128, 128, 2))])
    read = read_units(flows.reshape(3, 1, 128, 128, 2))
    assert read.shape == (3, 1, len(READ_UNITS), 2) and (read >= 0).all()
    assert read[:, 0] == pytest.approx(np.stack([read_units(flow) for flow in flows]))
    active = active_sides(read)
    assert active[:, 0].sum(axis=(1, 2)).tolist() == [1, 1, 0]
    assert active[0, 0, READ_UNITS.index(4), 0] and active[1, 0, READ_UNITS.index(9), 1]


def test_what_no_unit_does_is_not_explained():
    made = motion_of(AU12_left=2.0, AU4_left=1.0)
    noise = np.random.default_rng(0).normal(size=(16, 16, 2)).repeat(8, axis=0).repeat(8, axis=1)
    share = explained_share(np.stack([made, made + 0.2 * noise, noise]))
    assert share[0] > 0.99 and 0.3 < share[1] < 0.95 and share[2] < 0.3


def test_weak_units_and_weak_faces_are_left_out():
    amplitudes = np.zeros((len(READ_UNITS), 2))
    amplitudes[0], amplitudes[3] = (1.0, 0.3), (0.35, 0.39)
    assert list(name_amplitudes(amplitudes)) == ["AU1"]
    assert name_amplitudes(0.05 * amplitudes) == {} == name_amplitudes(amplitudes, floor=1.1)


def test_agreement_is_a_cosine_without_the_head():
    one, other = (np.moveaxis(motion_of(32, **units), -1, 0) for units in ({"AU1_left": 1}, {"AU26": 1}))
    assert motion_agreement(one, 3 * one + 5) == pytest.approx(1) and motion_agreement(one, -one) == -1
    assert abs(motion_agreement(one, other)) < 0.2 and motion_agreement(one, 0 * one) == 0


def test_bad_flow_is_refused():
    for flow in (np.zeros((32, 32)), np.zeros((2, 32, 32)), np.zeros((32, 64, 2)), np.zeros((16, 16, 2))):
        with pytest.raises(ValueError, match=r"expected \(\.\.\., H, H, 2\) with H at least 32"):
            read_units(flow)
    with pytest.raises(ValueError, match="NaN"):
        read_units(np.full((32, 32, 2), np.nan))
    with pytest.raises(ValueError, match="no motion field for action unit 38; known: "):
        read_units(np.zeros((32, 32, 2)), units=(1, 38))

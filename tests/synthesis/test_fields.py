"""Motion and shading fields: fit quality, anatomy of the directions, mirror symmetry, inversion."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dface_hf.synthesis.fields import (
    creases,
    figures,
    fit_quality,
    identity_modes,
    load_fields,
    warp_backward,
)
from dface_hf.synthesis.fit_fields import Problem, fit, r_squared
from dface_hf.synthesis.measured_fields import shading_change

MEASURED = Path(__file__).resolve().parents[2] / "../shared/data/action_fields/action_fields.npz"
needs_measured = pytest.mark.skipif(not MEASURED.exists(), reason="measured action fields are not here")
UNITS = {1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 45}


@pytest.fixture(scope="module")
def fields():
    return load_fields(64)


def mean_motion(fields, unit, side, box=(0, 1, 0, 1)):
    """Mean (dx, dy) of the moving skin in a part (top, bottom, left, right) of the crop."""
    motion = fields.displacement[fields.index(unit, side)].sum(0)
    s = fields.size
    motion = motion[:, int(box[0] * s) : int(box[1] * s), int(box[2] * s) : int(box[3] * s)]
    weight = motion.norm(dim=0)
    return ((motion * weight).sum((1, 2)) / weight.sum()).tolist()


def test_names_shapes_and_finite_values(fields):
    count = len(fields.names)
    assert set(fields.units) == UNITS
    assert len(set(fields.names)) == count == len(fields.units) == len(fields.sides)
    assert fields.names[:2] == ("AU1_left", "AU1_right") and "AU17" in fields.names
    assert fields.displacement.shape == (count, 2, 64, 64) and fields.displacement.dtype == torch.float32
    assert fields.shading.shape == (count, 1, 64, 64) and fields.shading.dtype == torch.float32
    for tensor in (fields.displacement, fields.shading, fields.peak, fields.lip_edges, fields.lip_line):
        assert torch.isfinite(tensor).all()
    assert (fields.peak > 1.0).all() and (fields.peak < 25.0).all()
    assert fields.shading.abs().max() < 0.8


def test_recorded_fit_is_good(fields):
    quality = fit_quality()
    assert set(quality) == set(fields.names)
    assert min(quality.values()) >= 0.96
    assert np.median(list(quality.values())) >= 0.99


@needs_measured
def test_recorded_fit_is_what_the_measured_fields_give():
    fitted, measured = load_fields(128), load_fields(128, MEASURED)
    assert fitted.names == measured.names
    with np.load(MEASURED) as z:
        head = torch.from_numpy(z["mask_head"])
    for k, name in enumerate(fitted.names):
        found = r_squared(measured.displacement[k], fitted.displacement[k], head)
        assert found == pytest.approx(fit_quality()[name], abs=2e-3), name
    assert torch.allclose(fitted.peak, measured.peak, rtol=0.15)


@needs_measured
def test_identity_modes_agree_with_the_measured_ones():
    fitted, measured = identity_modes(64), identity_modes(64, MEASURED)
    assert fitted.shape == (20, 2, 64, 64) and measured.shape == (50, 2, 64, 64)
    left = (fitted - measured[:20])[..., 8:56, 12:52].square().sum((1, 2, 3))
    assert (1 - left / measured[:20, :, 8:56, 12:52].square().sum((1, 2, 3))).min() > 0.85
    assert min(figures()["modes"]["r2"]) > 0.9


def test_identity_modes_keep_the_eyes_in_place():
    modes = identity_modes(128) * 64
    eyes = modes[:, :, 48:53, [41, 86]].mean(2)
    assert eyes.mean(-1).abs().mean() < 0.25
    assert modes.norm(dim=1).mean() > 0.2


def test_left_and_right_mirror_each_other(fields):
    for k, side in enumerate(fields.sides):
        if side == "both":
            assert torch.allclose(fields.displacement[k, 0], -fields.displacement[k, 0].flip(-1), atol=1e-5)
            continue
        other = fields.index(fields.units[k], "right" if side == "left" else "left")[0]
        assert torch.allclose(fields.displacement[k, 0], -fields.displacement[other, 0].flip(-1), atol=1e-6)
        assert torch.allclose(fields.displacement[k, 1], fields.displacement[other, 1].flip(-1), atol=1e-6)
        assert torch.allclose(fields.shading[k], fields.shading[other].flip(-1), atol=1e-6)


def test_subject_left_is_the_right_half_of_the_image(fields):
    for k, side in enumerate(fields.sides):
        energy = fields.displacement[k].square().sum(0)
        share = float(energy[:, 32:].sum() / energy.sum())
        low, high = {"left": (0.75, 1), "right": (0, 0.25), "both": (0.49, 0.51)}[side]
        assert low <= share <= high, fields.names[k]


@pytest.mark.parametrize("unit", [1, 2, 5, 6, 9, 10, 12, 14, 17])
def test_units_that_lift(fields, unit):
    rows = fields.index(unit)
    side = fields.sides[rows[0]]
    assert mean_motion(fields, unit, side)[1] < -0.005


@pytest.mark.parametrize("unit", [4, 15, 16, 25, 26, 27, 45])
def test_units_that_lower(fields, unit):
    side = fields.sides[fields.index(unit)[0]]
    assert mean_motion(fields, unit, side)[1] > 0.003  # 0.2 px


def test_units_that_move_sideways(fields):
    for unit in (12, 20, 2):  # out: towards the right edge of the image on the subject's left
        assert mean_motion(fields, unit, "left")[0] > 0.005
        assert mean_motion(fields, unit, "right")[0] < -0.005
    assert mean_motion(fields, 4, "left")[0] < -0.005  # brows drawn together
    assert mean_motion(fields, 18, "both", (0.6, 0.9, 0.55, 0.8))[0] < -0.005  # mouth corners drawn in


def test_units_act_where_their_muscles_are(fields):
    rows = torch.linspace(-1, 1, 64)
    for unit, (top, bottom) in {
        1: (-0.8, -0.2),
        4: (-0.6, -0.2),
        45: (-0.4, -0.1),
        17: (0.5, 1),
        12: (0.2, 0.7),
    }.items():
        energy = fields.displacement[fields.index(unit)].square().sum((0, 1, 3))
        height = float((energy * rows).sum() / energy.sum())
        assert top < height < bottom, f"AU{unit} at {height:.2f}"


def test_at_is_consistent_with_loading_at_that_size(fields):
    assert fields.size == 64 and fields.at(64).displacement is fields.displacement
    small, direct = fields.at(32), load_fields(32)
    assert small.displacement.shape[-2:] == (32, 32) and small.lip_edges.shape[-1] == 32
    assert torch.allclose(small.displacement, direct.displacement, atol=0.02)
    assert (small.displacement - direct.displacement).abs().mean() < 5e-4
    assert torch.equal(small.peak, direct.peak)
    large = load_fields(128)
    assert torch.allclose(large.displacement.norm(dim=1).amax((1, 2)) * 64, large.peak, rtol=1e-4)


def test_index_and_weights(fields):
    assert [fields.names[k] for k in fields.index(12)] == ["AU12_left", "AU12_right"]
    assert [fields.names[k] for k in fields.index(17)] == ["AU17"]
    with pytest.raises(KeyError, match="action unit 99"):
        fields.index(99)
    moved = fields.displacement * fields.weight_for(1.5)[:, None, None, None]
    assert moved.norm(dim=1).amax((1, 2)).mul(64).le(1.501).all()


@pytest.mark.parametrize(("pixels", "share"), [(1.5, 0.0), (3.0, 0.0), (6.0, 2e-3)])
def test_backward_warp_inverts_the_forward_motion(fields, pixels, share):
    weights = torch.diag(fields.weight_for(pixels).clamp(max=1))
    forward = torch.einsum("bk,kcyx->bcyx", weights, fields.displacement)
    grid = warp_backward(forward)
    axis = (torch.arange(64) + 0.5) / 32 - 1
    rest = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    there = F.grid_sample(forward, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
    error = (grid + there - rest).norm(dim=-1) * 64
    cavity = F.max_pool2d((fields.mouth_opening(weights) > 0).float(), 5, 1, 2)[:, 0] > 0
    assert ((error > 0.02) & ~cavity).float().mean() <= share


def test_backward_warp_of_no_motion_is_the_identity():
    image = torch.rand(2, 3, 16, 16)
    grid = warp_backward(torch.zeros(2, 2, 16, 16))
    assert torch.allclose(F.grid_sample(image, grid, align_corners=False), image, atol=1e-5)


def test_backward_warp_moves_an_image_the_right_way():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20] = 1
    right = torch.zeros(1, 2, 64, 64)
    right[:, 0] = 4 * 2 / 64  # four pixels
    moved = F.grid_sample(image, warp_backward(right), align_corners=False)
    assert moved[0, 0, 32].argmax() == 24


def test_mouth_opens_only_for_units_that_part_the_lips(fields):
    area = dict(zip(fields.names, (fields.opening.sum((1, 2, 3)) * 4).tolist(), strict=True))
    assert area["AU27"] > 300 and area["AU26"] > 100 and area["AU22"] > 50 and area["AU25_left"] > 20
    for name in ("AU1_left", "AU4_left", "AU15_left", "AU17", "AU24_left", "AU45_left", "AU28"):
        assert area[name] < 2, name
    assert fields.opening.min() >= 0 and fields.opening.max() <= 1
    assert fields.opening[:, :, :40].sum() == 0
    assert fields.mouth_opening(torch.zeros(1, len(fields.names))).max() == 0


def test_creases_are_dark_thin_and_sided():
    frown = creases(4, "left")
    assert -0.12 < frown.min() < -0.05 and frown.max() <= 0
    assert frown[:, :60].abs().max() < 1e-3 < frown[:, 64:].abs().max()
    assert torch.equal(creases(4, "right"), frown.flip(-1))
    assert (frown < -0.05).float().mean() < 0.005
    assert creases(45, "left").abs().max() == 0


def test_shading_darkens_skin_that_turns_down():
    normal = np.zeros((3, 4, 4), np.float32)
    normal[2] = 1
    change = np.zeros((2, 3, 4, 4), np.float32)
    change[0, 1], change[1, 1] = 0.3, -0.3
    down, up = shading_change(normal, change)
    assert (down < -0.05).all() and (up > 0.03).all()


def test_fit_recovers_a_known_sum_of_gaussians():
    y, x = torch.meshgrid(torch.arange(128) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    hump = torch.exp(-0.5 * (((x - 80) / 9) ** 2 + ((y - 40) / 6) ** 2))
    target = torch.stack([2 * hump, -3 * hump])[None]
    problem = Problem(target, torch.ones(128, 128), None, False, (94.4, 0.9, 0.5, 16.0, 0.7))
    geometry, amplitudes = fit(problem, 1, 60)
    assert geometry[0, 0, :2].tolist() == pytest.approx([80, 40], abs=0.3)
    assert sorted(geometry[0, 0, 2:4].tolist()) == pytest.approx([6, 9], abs=0.5)
    assert amplitudes[0, :, 0].tolist() == pytest.approx([2, -3], rel=0.05)


def test_bad_paths_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        load_fields(64, tmp_path / "nowhere.npz")
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    with pytest.raises(ValueError, match="text.npz: not an .npz file"):
        load_fields(64, text)
    other = tmp_path / "other.npz"
    np.savez(other, dx=np.zeros(3))
    with pytest.raises(ValueError, match="it lacks action_keys"):
        identity_modes(64, other)

from dataclasses import replace

import pytest
import torch

from dface_hf.synthesis import ActionSet, NuisanceConfig, PairSampler, load_fields
from dface_hf.synthesis.rendering import backward_shift, look

NONE = NuisanceConfig.none()


def smooth_faces(n=4, size=96):
    """Pictures without fine detail, so that resampling twice costs next to nothing."""
    cells = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(cells, (size, size), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def sampler():
    return PairSampler(bank=32, seed=7)


def assert_same(a, b):
    for name in vars(a):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None and y is None) or torch.equal(x, y), name


def test_shapes_and_ranges(sampler):
    batch = sampler.sample(24, step=0)
    units, fields = len(sampler.units), len(sampler.fields.units)
    for name, shape in (
        ("onset", (24, 3, 64, 64)), ("apex", (24, 3, 64, 64)), ("flow", (24, 2, 64, 64)),
        ("units", (24, units)), ("weights", (24, fields)), ("camera", (24, 4)),
        ("amplitude", (24,)), ("identity", (24,)), ("label", (24,)), ("blink", (24,)),
    ):  # fmt: skip
        assert getattr(batch, name).shape == shape, name
    for frames in (batch.onset, batch.apex):
        assert frames.dtype == torch.float32 and frames.min() >= 0 and frames.max() <= 1
    assert set(batch.units.unique().tolist()) <= {0.0, 1.0}
    assert batch.amplitude.max() <= 2.3


def test_the_stream_is_a_function_of_seed_and_step(sampler):
    again = PairSampler(bank=32, seed=7)
    assert_same(sampler.sample(6, step=5), again.sample(6, step=5))
    assert not torch.equal(sampler.sample(6, step=5).apex, sampler.sample(6, step=6).apex)
    assert not torch.equal(PairSampler(bank=32, seed=8).sample(6, step=5).apex, again.sample(6, step=5).apex)


def test_a_resumed_run_sees_the_same_stream():
    whole = PairSampler(bank=32, refresh_every=2, seed=1)
    for _ in range(3):
        whole.sample(4)
    state = whole.state_dict()
    rest = [whole.sample(4) for _ in range(3)]
    resumed = PairSampler(bank=32, refresh_every=2, seed=1)
    resumed.load_state_dict(state)
    for batch in rest:
        assert_same(batch, resumed.sample(4))
    with pytest.raises(ValueError, match="seed 1, this sampler 2"):
        PairSampler(bank=32, seed=2).load_state_dict(state)


@pytest.mark.parametrize("geometry", [0.0, 1.0])
def test_the_flow_takes_the_onset_to_the_apex(geometry):
    cfg = NONE.but(geometry=geometry, pose=3.0 * geometry, pose_rotation=3.0 * geometry)
    fields = load_fields(64)
    fields = replace(fields, shading=fields.shading * 0, lip_edges=fields.lip_edges * 0)
    sampler = PairSampler(64, fields, smooth_faces(), amplitude=(2, 2), still_share=0, nuisances=cfg)
    batch = sampler.sample(32, step=0)
    motion = batch.flow / 32
    rest = torch.nn.functional.affine_grid(
        torch.eye(2, 3).expand(32, 2, 3), [32, 1, 64, 64], align_corners=False
    )
    warped = look(batch.onset, rest + backward_shift(motion, rest, 8))
    copied, left = ((batch.apex - guess).abs().mean((1, 2, 3)) for guess in (batch.onset, warped))
    assert (left < 0.25 * copied).float().mean() > 0.9 and left.mean() < 0.1 * copied.mean()


def test_the_amplitude_is_the_largest_flow(sampler):
    batch = sampler.sample(32, step=2)
    assert torch.allclose(batch.flow.norm(dim=1).amax((1, 2)) * 2, batch.amplitude, atol=1e-5)
    one = PairSampler(bank=32, units=(12,), amplitude=(1.5, 1.5), still_share=0, nuisances=NONE).sample(
        16, step=0
    )
    assert torch.allclose(one.amplitude, torch.full((16,), 1.5), atol=0.05)


def test_still_pairs_have_no_action_but_are_not_identical():
    batch = PairSampler(bank=32, still_share=1.0).sample(16, step=0)
    assert (
        batch.units.sum() == batch.weights.abs().sum() == batch.flow.abs().sum() == batch.amplitude.sum() == 0
    )
    assert (batch.onset - batch.apex).abs().mean((1, 2, 3)).min() > 0.001


def test_identical_pairs_are_identical():
    batch = PairSampler(bank=32, identical_share=1.0, still_share=0).sample(16, step=0)
    assert torch.equal(batch.onset, batch.apex)
    assert batch.camera.abs().sum() == batch.blink.abs().sum() == batch.weights.abs().sum() == 0


def test_without_nuisances_still_pairs_are_identical():
    batch = PairSampler(bank=32, still_share=1.0, nuisances=NONE).sample(8, step=0)
    assert torch.equal(batch.onset, batch.apex)


def test_sharpness_does_not_tell_the_apex():
    batch = PairSampler(bank=64, still_share=1.0).sample(256, step=0)
    detail = [f.diff(dim=-1).diff(dim=-1).abs().mean((1, 2, 3)) for f in (batch.onset, batch.apex)]
    apex_is_softer = (detail[1] < detail[0]).float().mean()
    assert 0.4 < apex_is_softer < 0.6


def test_sides_are_the_subjects_and_mirror_each_other():
    sampler = PairSampler(bank=32, units=(12,), unilateral_share=1.0, still_share=0, nuisances=NONE)
    batch = sampler.sample(32, step=0)
    left = sampler.fields.index(12, "left")[0]
    is_left = batch.weights[:, left] > 0
    assert 4 < is_left.sum() < 28
    strength = batch.flow.norm(dim=1)
    right_half = strength[..., 32:].amax((1, 2)) > strength[..., :32].amax((1, 2))
    assert torch.equal(right_half, is_left), "the subject's left is the right half of the picture"
    unit = {True: None, False: None}
    for i, side in enumerate(is_left.tolist()):
        unit[side] = batch.flow[i] / batch.amplitude[i]
    mirrored = unit[False].flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    assert torch.allclose(unit[True], mirrored, atol=0.02)


def test_two_sided_units_are_uneven_within_the_range():
    sampler = PairSampler(
        bank=32, units=(2,), unilateral_share=0, asymmetry=0.5, still_share=0, nuisances=NONE
    )
    weights = sampler.sample(64, step=0).weights[:, sampler.fields.index(2)]
    ratio = weights.amin(1) / weights.amax(1)
    assert ratio.min() >= 0.5 - 1e-5 and ratio.max() <= 1 and ratio.std() > 0.05


def test_a_second_identity_does_the_same():
    sampler = PairSampler(bank=32, still_share=0)
    batch = sampler.sample_same_action(12, step=0)
    assert batch.onset_b.shape == batch.onset.shape and batch.apex_b.shape == batch.apex.shape
    assert (batch.identity != batch.identity_b).all()
    assert (batch.onset_b - batch.onset).abs().mean((1, 2, 3)).min() > 0.02
    assert_same(batch, sampler.sample_same_action(12, step=0))
    clean = PairSampler(bank=32, still_share=0, nuisances=NONE, units=(12,), amplitude=(6, 6))
    batch = clean.sample_same_action(12, step=0)
    a, b = (
        (y - x).abs().mean(1).flatten(1)
        for x, y in ((batch.onset, batch.apex), (batch.onset_b, batch.apex_b))
    )
    alike = torch.nn.functional.cosine_similarity(a, b)
    strangers = torch.nn.functional.cosine_similarity(a, b.roll(1, 0))
    assert alike.mean() > strangers.mean()


def test_action_sets_are_drawn_by_their_probability_and_carry_labels():
    sets = [ActionSet((12,), 3.0, 1), ActionSet((1, 2), 1.0, 2), ActionSet((14,), 1.0, 0, unilateral=True)]
    sampler = PairSampler(bank=32, unit_combinations=sets, still_share=0.0, nuisances=NONE)
    batch = sampler.sample(200, step=0)
    column = {u: i for i, u in enumerate(sampler.units)}
    assert torch.equal(batch.label == 1, batch.units[:, column[12]] == 1)
    assert torch.equal(batch.label == 2, (batch.units[:, [column[1], column[2]]] == 1).all(1))
    assert (batch.label == 1).float().mean() == pytest.approx(0.6, abs=0.12)
    contempt = batch.weights[batch.label == 0][:, sampler.fields.index(14)]
    assert ((contempt > 0).sum(1) == 1).all()
    still = PairSampler(bank=32, unit_combinations=sets, still_share=1.0).sample(8, step=0)
    assert (still.label == -1).all()


def test_own_identities_and_amplitude_changed_on_the_way():
    sampler = PairSampler(identities=smooth_faces(5), still_share=0, nuisances=NONE)
    assert sampler.sample(20, step=0).identity.max() < 5
    sampler.amplitude = (6.0, 6.0)
    assert sampler.sample(20, step=0).amplitude.max() > 4


def test_parting_lips_show_a_dark_mouth():
    sampler = PairSampler(bank=32, units=(26,), amplitude=(8, 8), still_share=0, nuisances=NONE)
    batch = sampler.sample(16, step=0)
    mouth = (slice(None), slice(None), slice(46, 54), slice(28, 36))
    assert batch.apex[mouth].mean() < batch.onset[mouth].mean() - 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": (12, 99)}, "action unit 99"),
        ({"amplitude": (2.0, 1.0)}, "amplitude"),
        ({"still_share": 0.8, "identical_share": 0.8}, "shares"),
        ({"units": (12,), "unit_combinations": [ActionSet((4,))]}, "action unit 4, which is not in units"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairSampler(bank=32, **arguments)

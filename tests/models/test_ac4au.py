import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

from dface_hf import AC4AUConfig, AC4AUForActionUnitDetection, AC4AUModel, split_frequencies
from dface_hf.metrics.au_detection import CD6ME_UNITS
from dface_hf.models.ac4au.losses_ac4au import (
    angular_margin_logits,
    binary_loss,
    focal_loss,
    positive_rates,
    subject_loss,
)

TINY = dict(
    image_size=32,
    stem_channels=8,
    stage_channels=(8, 16, 16),
    stage_depths=(1, 1, 1),
    head_channels=32,
    hidden_size=32,
    num_temporal_layers=1,
    expert_size=8,
)


def make(**options):
    torch.manual_seed(0)
    return AC4AUForActionUnitDetection(AC4AUConfig(**{**TINY, **options}))


def clips(count=4, seed=1):
    return torch.rand(count, 8, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def unit_labels(count=4):
    return torch.randint(0, 2, (count, 12), generator=torch.Generator().manual_seed(2))


def seen(model):
    """In evaluation mode, with running statistics of batch norm that fit the clips."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model(clips())
    return model.eval()


def test_a_saved_model_gives_the_same(tmp_path):
    model = seen(make(num_subjects=3))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForVideoClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is AC4AUForActionUnitDetection
    assert AutoConfig.from_pretrained(tmp_path).model_type == "ac4au"
    saved, found = model.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys() and all(torch.equal(saved[key], found[key]) for key in saved)
    assert {name for name, _ in model.named_buffers()} <= saved.keys()  # nothing is left to be remade
    given = dict(labels=unit_labels(), subject_ids=torch.tensor([0, 1, 2, -1]))
    assert torch.equal(model(clips(), **given).logits, loaded(clips(), **given).logits)
    assert torch.equal(model(clips(), **given).loss, loaded(clips(), **given).loss)
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert type(base) is AC4AUModel
    assert torch.equal(base(clips()).pooler_output, model(clips()).pooler_output)


def test_a_checkpoint_is_used_without_its_subjects(tmp_path):
    model = seen(make(num_subjects=3))
    model.save_pretrained(tmp_path)
    loaded = AC4AUForActionUnitDetection.from_pretrained(tmp_path, num_subjects=0).eval()
    assert loaded.subject_directions is None
    assert torch.equal(model(clips()).logits, loaded(clips()).logits)


def test_new_layers_of_a_loaded_backbone_are_initialised(tmp_path):
    model = seen(make())
    model.save_pretrained(tmp_path)
    grown = AC4AUForActionUnitDetection.from_pretrained(tmp_path, num_subjects=5)
    assert 0.5 < grown.subject_directions.std() < 2
    assert torch.equal(model(clips()).logits, grown.eval()(clips()).logits)


@pytest.mark.parametrize("frames", [2, 7, 8])
def test_the_changing_part_has_no_mean_and_ignores_constants(frames):
    states = torch.randn(3, frames, 5, generator=torch.Generator().manual_seed(0))
    changing, constant = split_frequencies(states)
    torch.testing.assert_close(changing, states - states.mean(dim=1, keepdim=True))
    torch.testing.assert_close(constant, states.sum(dim=1))
    assert changing.mean(dim=1).abs().max() < 1e-6
    torch.testing.assert_close(
        split_frequencies(states + 3 * torch.randn(3, 1, 5))[0], changing, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(changing + constant[:, None] / frames, states)


def test_time_may_stand_anywhere():
    states = torch.randn(2, 4, 3, 8)
    changing, constant = split_frequencies(states, dim=-1)
    expected, of_bin = split_frequencies(states.permute(0, 3, 1, 2))
    torch.testing.assert_close(changing.permute(0, 3, 1, 2), expected)
    torch.testing.assert_close(constant, of_bin)


def test_a_bfloat16_split_is_computed_in_float32():
    states = torch.randn(2, 8, 3).bfloat16()
    changing, constant = split_frequencies(states)
    exact, total = split_frequencies(states.float())
    assert changing.dtype == constant.dtype == torch.bfloat16
    assert torch.equal(changing, exact.bfloat16()) and torch.equal(constant, total.bfloat16())


def test_a_still_clip_shows_the_same_whoever_it_is():
    model = seen(make())
    still = clips(3)[:, :1].expand(-1, 8, -1, -1, -1)
    output = model(still)
    torch.testing.assert_close(output.logits[1:], output.logits[:1].expand(2, -1), atol=1e-4, rtol=0)
    assert output.changing.abs().max() < 1e-5
    without = seen(make(use_decomposer=False))(still).logits
    assert (without[1:] - without[:1]).abs().max() > 1e-3
    assert (model(clips(3)).logits - output.logits).abs().max() > 1e-3


def test_outputs_are_what_they_say():
    model = seen(make())
    output = model(clips())
    model_output = model.ac4au(clips())
    assert output.gate_weights.shape == (4, 12, 12) and (output.gate_weights >= 0).all()
    torch.testing.assert_close(output.gate_weights.sum(dim=-1), torch.ones(4, 12))
    said = torch.cat([expert(output.pooler_output) for expert in model.classifier.experts], dim=-1)
    by_hand = torch.einsum("bkm,bm->bk", output.gate_weights, said)
    torch.testing.assert_close(output.logits, by_hand)
    torch.testing.assert_close(model_output.last_hidden_state.mean(dim=1), output.pooler_output)
    torch.testing.assert_close(
        model_output.frame_features.mean(dim=1), output.constant / 8, atol=1e-5, rtol=1e-4
    )
    assert output.loss is None and len(model(clips(), return_dict=False)) == 5


def test_the_order_of_frames_matters():
    model = seen(make())
    assert (model(clips()).logits - model(clips().flip(1)).logits).abs().max() > 1e-3


def test_focal_loss_by_hand():
    logits, labels = torch.tensor([[0.4, -1.2], [2.0, 0.3]]), torch.tensor([[1, 0], [0, 1]])
    rates = torch.tensor([0.15, 0.35])
    total = 0.0
    for row in range(2):
        for unit in range(2):
            p, a = 1 / (1 + math.exp(-logits[row, unit].item())), rates[unit].item()
            shown = labels[row, unit].item()
            total -= (1 - a) * (1 - p) ** 2 * math.log(p) if shown else a * p**2 * math.log(1 - p)
    assert focal_loss(logits, labels, rates).item() == pytest.approx(total / 2, rel=1e-5)
    half = binary_loss(logits, labels) / 2
    torch.testing.assert_close(focal_loss(logits, labels, 0.5, exponent=0.0), half)
    extreme = focal_loss(torch.tensor([[200.0, -200.0]]), torch.tensor([[0, 1]]), rates)
    assert extreme.item() == pytest.approx(0.15 * 200 + 0.65 * 200)


def test_rates_of_training_labels():
    labels = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert positive_rates(labels).tolist() == pytest.approx([0.25, 0.2, 0.8])
    AC4AUConfig(num_labels=3, positive_rates=positive_rates(labels).tolist())


def test_angular_margin_by_hand():
    cosines = torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.9, -0.95]])
    logits = angular_margin_logits(cosines, torch.tensor([0, 2]))
    assert logits[0, 0].item() == pytest.approx(32 * math.cos(math.acos(0.3) + 0.5), rel=1e-4)
    assert logits[1, 2].item() == pytest.approx(32 * (-0.95 - 0.5 * math.sin(0.5)), rel=1e-4)
    others = torch.tensor([[False, True, True], [True, True, False]])
    torch.testing.assert_close(logits[others], 32 * cosines[others])
    line = torch.linspace(-1, 1, 400)[:, None]
    moved = angular_margin_logits(line, torch.zeros(400, dtype=torch.long))
    assert (moved < 32 * line + 1e-3).all() and (moved.diff(dim=0) > 0).all()


def test_subject_loss_by_hand():
    constant, weight = torch.randn(3, 4), torch.randn(5, 4)
    subjects = torch.tensor([2, -1, 4])
    cosines = torch.cosine_similarity(constant[:, None], weight[None], dim=-1)
    kept = angular_margin_logits(cosines[[0, 2]], subjects[[0, 2]])
    expected = torch.nn.functional.cross_entropy(kept, subjects[[0, 2]])
    torch.testing.assert_close(subject_loss(constant, weight, subjects), expected)
    torch.testing.assert_close(subject_loss(9 * constant, weight, subjects), expected)
    assert subject_loss(constant, weight, torch.full((3,), -1)) == 0


def test_the_loss_is_the_weighted_sum():
    rates = [0.1 + 0.05 * unit for unit in range(12)]
    model = seen(make(num_subjects=3, positive_rates=rates, subject_weight=0.3))
    subjects = torch.tensor([0, 1, 2, 0])
    output = model(clips(), labels=unit_labels(), subject_ids=subjects)
    units = focal_loss(output.logits, unit_labels(), torch.tensor(rates))
    of_subjects = subject_loss(output.constant, model.subject_directions, subjects)
    torch.testing.assert_close(output.unit_loss, units)
    torch.testing.assert_close(output.subject_loss, of_subjects)
    torch.testing.assert_close(output.loss, units + 0.3 * of_subjects)
    assert torch.equal(model(clips(), labels=unit_labels()).loss, output.unit_loss)


@pytest.mark.parametrize(
    "options",
    [
        {"num_subjects": 3},
        {"use_decomposer": False},
        {"use_experts": False, "num_subjects": 3},
        {"unit_loss": "bce", "num_subjects": 3},
        {"spatial_stages": (), "num_subjects": 3},
        {"spatial_stages": (0, 1, 2), "num_labels": 5, "num_subjects": 3},
    ],
    ids=str,
)
def test_every_parameter_learns(options):
    model = make(**options)
    labels = unit_labels()[:, : model.config.num_labels]
    subjects = torch.tensor([0, 1, 2, 0]) if "num_subjects" in options else None
    output = model(clips(), labels=labels, subject_ids=subjects)
    output.loss.backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert output.loss.isfinite() and not dead
    assert (output.gate_weights is None) == (not model.config.use_experts)
    assert (output.changing is None) == (not model.config.use_decomposer)


def test_the_bce_ablation_is_bce():
    model = seen(make(unit_loss="bce"))
    output = model(clips(), labels=unit_labels())
    torch.testing.assert_close(output.loss, binary_loss(output.logits, unit_labels()))


def test_overfits_a_handful_of_clips():
    model = make(dropout=0.0, num_subjects=4, spatial_stages=(1,))
    # Small motion on faces that differ much: what is to be learned is in the part that changes.
    data = clips()[:, :1] + 0.1 * clips(seed=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        output = model(data, labels=unit_labels(), subject_ids=torch.arange(4))
        output.loss.backward()
        optimizer.step()
    found = model(data).logits.sigmoid() > model.config.unit_threshold
    assert (found == unit_labels().bool()).all() and output.subject_loss < 1


def test_in_bfloat16():
    model = seen(make(num_subjects=3))
    exact = model(clips()).logits
    model = model.bfloat16()
    output = model(clips(), labels=unit_labels(), subject_ids=torch.tensor([0, 1, 2, 0]))
    assert output.logits.dtype == torch.bfloat16 and output.loss.dtype == torch.float32
    assert output.loss.isfinite() and (output.logits - exact).abs().max() < 0.2
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_published_sizes():
    config = AC4AUConfig()
    assert tuple(config.id2label.values()) == tuple(f"AU{unit}" for unit in CD6ME_UNITS)
    assert config.label2id["AU17"] == 11
    assert (config.num_frames, config.image_size, config.num_attention_heads) == (8, 112, 4)
    assert (config.subject_scale, config.subject_margin, config.subject_weight) == (32, 0.5, 0.1)
    with torch.device("meta"):
        model = AC4AUForActionUnitDetection(config)
    backbone = model.ac4au.backbone
    spatial = sum(p.numel() for p in backbone.spatial.parameters())
    bare = sum(p.numel() for p in backbone.parameters()) - spatial
    assert 0.9e6 < bare < 1.3e6  # MobileFaceNet: about a million
    assert [backbone.spatial[key].position_embeddings.shape[1] for key in "01"] == [28**2, 14**2]
    assert len(model.classifier.experts) == 12 and model.classifier.gates.out_features == 144
    assert AC4AUConfig(num_labels=3).num_labels == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 40}, "multiple of 16"),
        ({"num_frames": 1}, "at least 2"),
        ({"stage_depths": (1, 1)}, r"\[3, 2, 3\]"),
        ({"spatial_stages": (0, 3)}, "spatial_stages holds 3"),
        ({"num_attention_heads": 5}, "cannot be split into 5 heads"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"unit_threshold": 0.0}, "unit_threshold"),
        ({"unit_loss": "hinge"}, "focal, bce"),
        ({"positive_rates": [0.5] * 11}, "11 positive_rates for 12 units"),
        ({"positive_rates": [0.0] * 12}, "positive_rates holds 0.0"),
        ({"num_subjects": -1}, "negative"),
        ({"num_subjects": 2, "use_decomposer": False}, "needs use_decomposer"),
        ({"problem_type": "regression"}, "multi_label_classification"),
    ],
)
def test_wrong_configurations_are_refused(options, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        AC4AUConfig(**options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixel_values": torch.zeros(2, 7, 3, 32, 32)}, r"\(batch, 8, 3, 32, 32\), got \(2, 7"),
        ({"labels": torch.zeros(4, 11)}, r"labels of shape \(4, 11\); expected \(4, 12\)"),
        ({"labels": torch.full((4, 12), 0.5)}, "0 and 1"),
        ({"subject_ids": torch.tensor([0, 1, 2])}, "one for each clip"),
        ({"subject_ids": torch.tensor([0, 1, 2, 3])}, r"\[0, 3\)"),
    ],
)
def test_wrong_inputs_are_refused(given, message):
    model = make(num_subjects=3)
    with pytest.raises(ValueError, match=message):
        model(**{"pixel_values": clips(), "labels": unit_labels(), **given})


def test_subjects_need_directions():
    with pytest.raises(ValueError, match="num_subjects is 0"):
        make()(clips(), labels=unit_labels(), subject_ids=torch.zeros(4, dtype=torch.long))

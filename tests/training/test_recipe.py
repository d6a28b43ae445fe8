"""Every part of the recipe can be left out or added, trains at both ends, and does something."""

import json

import pytest
import torch

from dface_hf import DFaceTokenizerConfig
from dface_hf.data import pretraining_pairs
from dface_hf.data.streams import residual_nuisances
from dface_hf.models.dface.configuration_dface_tokenizer import REFERENCE_SETTINGS
from dface_hf.training import PretrainConfig, pretrain

from .tiny_run import MODEL, RECIPE, ShiftStream

# One step without quantisation, one with noise, two with codewords.
SHORT = RECIPE | dict(
    steps=4, continuous_steps=1, hard_share=0.5, revive_every=1, lr_warmup_steps=1, log_every=1
)
LAST = {"commitment", "codebook"}  # terms of the steps with codewords

RECIPES = {
    "no warm-up": (dict(continuous_steps=0), set()),
    "codebook from data": (dict(codebook_from_data=False), set()),
    "codewords": (dict(hard_share=0.0), LAST),
    "commitment": (dict(commitment_weight=0.0), LAST),
    "codebook loss": (dict(codebook_weight=0.0), {"codebook"}),
    "revival": (dict(revive_every=10**9), set()),
    "image": (dict(image_weight=0.0), set()),
    "flow": (dict(flow_weight=0.0), {"flow"}),
    "units": (dict(unit_weight=0.0), {"units"}),
    "twins": (dict(twins=False), {"agreement"}),
    "swap": (dict(swap_share=0.0), set()),
    "agreement": (dict(agreement_weight=0.0), {"agreement"}),
    "usage": (dict(usage_weight=0.0), {"usage"}),
    "still": (dict(still_weight=0.0), {"still"}),
    "quiet": (dict(quiet_weight=0.0), {"quiet"}),
    "adversary": (dict(adversary_weight=0.3), {"adversary"}),
    "average": (dict(ema_decay=0.5), set()),
}
MODELS = {
    "pixels": (dict(decoder_head="pixels"), {"flow"}),
    "frames": (dict(motion_channels=False, appearance=True), set()),
    "frames beside motion": (dict(appearance=True), set()),
    "local motion": (dict(motion_levels=0), set()),
    "position maps": (dict(position_maps=False), set()),
    "brightness": (dict(match_brightness=False), set()),
    "normalised loss": (dict(normalize_loss=False), set()),
    "motion-weighted loss": (dict(motion_weight=0.0), set()),
    "null radius": (dict(null_radius=0.0), set()),
    "length knee": (dict(length_knee=0.0), set()),
    "running RMS": (dict(rms_momentum=0.0), set()),
    "64 x 16": (dict(codebook_size=64), set()),
    "16 x 9": (dict(codebook_size=16, num_action_tokens=9, reduction_convs=[[3, 1]]), set()),
    "second codebook": (dict(context_codebook_size=4), {"context"}),
    "as published": (dict(reference_compat=True) | REFERENCE_SETTINGS, {"flow"}),
}


class NoisyStream(ShiftStream):
    """With noise in the apex, or a still pair would be zeros whatever is asked of it."""

    def sample(self, batch, step=None, twins=False):
        pairs = super().sample(batch, step, twins)
        noise = torch.randn(pairs.apex.shape, generator=torch.Generator().manual_seed(step))
        pairs.apex = (pairs.apex + 0.01 * noise).clamp(0, 1)
        return pairs


def trained(folder, model, recipe):
    """Weights after four steps, and the terms that the loss had."""
    config = DFaceTokenizerConfig(**(MODEL.to_dict() | model))
    tokenizer = pretrain(config, NoisyStream(), PretrainConfig(**(SHORT | recipe)), folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    return tokenizer.state_dict(), {
        key.removesuffix("_loss") for line in lines for key in line if "_loss" in key
    }


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("full"), {}, {})


@pytest.mark.parametrize("part", [*RECIPES, *MODELS])
def test_each_part_trains_at_both_ends_and_does_something(full, part, tmp_path):
    options, terms = (RECIPES | MODELS)[part]
    weights, found = trained(tmp_path, *((options, {}) if part in MODELS else ({}, options)))
    assert all(value.isfinite().all() for value in weights.values())
    assert found ^ full[1] == terms
    same = [name for name, value in weights.items() if name in full[0] and value.shape == full[0][name].shape]
    assert any(not torch.equal(weights[name], full[0][name]) for name in same)


def test_the_curriculum_tells_the_stream_how_much_to_move(tmp_path):
    class Asked(ShiftStream):
        asked = []

        def sample(self, batch, step=None, twins=False):
            self.asked.append(self.amplitude)
            return super().sample(batch, step, twins)

    recipe = PretrainConfig(**SHORT, amplitude=(0.5, 2.0), first_amplitude=(2.0, 6.0))
    pretrain(MODEL, Asked(), recipe, tmp_path)
    assert Asked.asked[0] == pytest.approx((2.0, 6.0)) and Asked.asked[-1] == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize("part", ["still_share", "geometry and tone", "drift and light", "noise"])
def test_each_part_of_the_pairs_changes_them(part):
    usual = residual_nuisances(32)
    other = {
        "still_share": dict(still_share=0.9),
        "geometry and tone": dict(nuisances=usual.but(geometry=0.0, tone=0.0, mirror=0.0)),
        "drift and light": dict(nuisances=usual.but(drift=0.0, rotation=0.0, scale=0.0, gain=0.0, tilt=0.0)),
        "noise": dict(nuisances=usual.but(noise=(0.0, 0.0))),
    }[part]
    faces = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    plain, changed = (
        pretraining_pairs(32, identities=faces, **options).sample(16, 0) for options in ({}, other)
    )
    assert not torch.equal(plain.apex, changed.apex) and changed.apex.isfinite().all()

import json
from types import SimpleNamespace

import pytest
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.checkpointing import checkpoints, save_checkpoint

CONFIG = DFaceTokenizerConfig(
    image_size=32,
    patch_size=4,
    hidden_size=32,
    num_spatial_layers=1,
    num_attention_heads=2,
    head_dim=16,
    code_dim=8,
)
RECIPE = PretrainConfig(
    steps=12,
    batch_size=8,
    continuous_steps=4,
    revive_every=2,
    lr_warmup_steps=2,
    log_every=2,
    checkpoint_every=4,
)


class ShiftStream:
    """Random images; the apex is the onset moved by a pixel, or the onset itself: fast, and a function of the
    step."""

    amplitude = (1.0, 1.0)
    num_actions = 1

    def sample(self, batch, step=None, twins=False):
        generator = torch.Generator().manual_seed(step)
        onset = torch.rand(batch, 3, 32, 32, generator=generator)
        moving = (torch.arange(batch) % (batch // 2) % 4 > 0)[:, None, None, None]
        apex = torch.where(moving, onset.roll(1, dims=3), onset)
        backward = torch.where(moving, torch.tensor([-1.0, 0.0])[:, None, None], 0.0).expand(-1, 2, 32, 32)
        weights = moving[:, :, 0, 0].float()
        return SimpleNamespace(onset=onset, apex=apex, weights=weights, backward=backward)


class Interrupted(ShiftStream):
    def sample(self, batch, step=None, twins=False):
        if step >= 10:
            raise KeyboardInterrupt
        return super().sample(batch, step, twins)


def weights(folder):
    return DFaceTokenizerModel.from_pretrained(folder / "model").state_dict()


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(CONFIG, Interrupted(), RECIPE, tmp_path / "broken")
    assert not (tmp_path / "broken/model").exists()
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path / "broken", resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    for name, value in whole.items():
        torch.testing.assert_close(value, resumed[name], msg=name)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [2, 4, 6, 8, 10, 12]


def test_the_loss_falls(tmp_path):
    recipe = PretrainConfig(
        steps=60, batch_size=16, continuous_steps=40, lr_warmup_steps=5, log_every=5, checkpoint_every=100
    )
    pretrain(CONFIG, ShiftStream(), recipe, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[7] < 0.9 * losses[0]


def test_only_the_last_checkpoints_stay(tmp_path):
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-000008", "step-000012"]


def test_a_failed_save_leaves_the_checkpoint_before(tmp_path):
    save_checkpoint(tmp_path, 1, lambda folder: open(f"{folder}/a", "w").close())

    def fail(folder):
        open(f"{folder}/half", "w").close()
        raise OSError("disk full")

    with pytest.raises(OSError):
        save_checkpoint(tmp_path, 2, fail)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000001"]


def test_another_recipe_or_an_overwrite_is_refused(tmp_path):
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="holds checkpoints"):
        pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="batch_size: 8 -> 4"):
        other = PretrainConfig(**{**vars(RECIPE), "batch_size": 4})
        pretrain(CONFIG, ShiftStream(), other, tmp_path, resume=True)


def test_a_tracker_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(ValueError, match="report_to is 'nosuch'"):
        pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path, report_to="nosuch")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    class Broken(ShiftStream):
        def sample(self, batch, step=None, twins=False):
            pair = super().sample(batch, step, twins)
            pair.apex = pair.apex * float("nan")
            return pair

    with pytest.raises(FloatingPointError, match="step 0"):
        pretrain(CONFIG, Broken(), RECIPE, tmp_path)


def test_the_curriculum_narrows_and_the_quantiser_changes_mode():
    recipe = PretrainConfig(
        steps=100,
        continuous_steps=10,
        hard_share=0.3,
        commitment_weight=0,
        amplitude=(0.5, 3.0),
        first_amplitude=(2.0, 6.0),
    )
    assert recipe.amplitude_at(0) == pytest.approx(recipe.first_amplitude)
    assert recipe.amplitude_at(50) == pytest.approx(recipe.amplitude)
    assert recipe.amplitude_at(99) == pytest.approx(recipe.amplitude)
    assert [recipe.mode_at(step) for step in (0, 9, 10, 69, 70, 99)] == [
        "continuous",
        "continuous",
        "noise",
        "noise",
        "hard",
        "hard",
    ]
    assert PretrainConfig(steps=100, continuous_steps=10, hard_share=0.3).mode_at(70) == "straight"

"""Training AC4AU on clips: what it reads, that it learns, that it goes on where it stopped."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dface_hf.training.fitting import fit
from dface_hf.training.fold_ensemble import FoldRecipe
from dface_hf.training.pretrain_faces import people_stream, pretrain_backbone
from dface_hf.training.train_units import AC4AU_MINI, AC4AU_RECIPE, fold_config, predict_units, train_units
from dface_hf.training.unit_batches import Augmentation, ClipBatches, augmented, mirrored_columns

from .unit_sets import TINY, unit_clips

QUICK = replace(AC4AU_RECIPE, epochs=2, batch_size=8)
TRAIN = np.arange(16)


@pytest.fixture(scope="module")
def clips():
    return unit_clips()


def trained(clips, rows=TRAIN, **options):
    options = {"recipe": QUICK, "progress": False, "config": TINY} | options
    return train_units(options.pop("config"), clips, rows, **options)


def same(first, second) -> bool:
    both = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in both)


def test_the_loss_falls_on_what_can_be_learned(clips, tmp_path):
    recipe, still = replace(AC4AU_RECIPE, epochs=60, learning_rate=5e-3), Augmentation(0.0, 0.0, 0.0)
    model = trained(clips, recipe=recipe, folder=tmp_path, augmentation=still)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 60 and np.mean(losses[-3:]) < 0.6 * losses[0]
    logits, shown = predict_units(model, clips.frames[TRAIN]), clips.shown[TRAIN] > 0
    assert logits[shown].mean() > logits[~shown].mean() + 0.5
    assert json.loads((tmp_path / "cost.json").read_text())[0]["processor_seconds"] > 0


def test_nothing_of_held_out_clips_is_read(clips):
    rng = np.random.default_rng(1)
    shown, frames, names = clips.shown.copy(), clips.frames.copy(), list(clips.names)
    shown[16:] = rng.permutation(1 - shown[16:])
    frames[16:] = 0
    names[16:] = [(corpus, "another", clip) for corpus, _, clip in names[16:]]
    other = replace(clips, shown=shown, frames=frames, names=tuple(names))
    assert fold_config(TINY, other, TRAIN).to_dict() == fold_config(TINY, clips, TRAIN).to_dict()
    assert same(trained(clips), trained(other))
    changed = replace(clips, shown=1 - clips.shown)
    assert not same(trained(clips), trained(changed))


def test_what_a_fold_counts(clips):
    config = fold_config(TINY, clips, TRAIN)
    wanted = clips.shown[TRAIN].mean(0).clip(1 / 17, 16 / 17)
    assert config.positive_rates == pytest.approx(wanted) and config.num_subjects == 9
    assert fold_config(TINY, clips, TRAIN[:4]).num_subjects == 4
    flat = fold_config(type(TINY)(**TINY.to_dict() | {"use_decomposer": False}), clips, TRAIN)
    assert flat.num_subjects == 0 and trained(clips, config=flat).subject_directions is None


def test_seeds(clips):
    assert same(trained(clips, seed=3), trained(clips, seed=3))
    assert not same(trained(clips, seed=3), trained(clips, seed=4))


def test_a_resumed_run_ends_the_same(clips, tmp_path):
    recipe = replace(QUICK, epochs=4)
    config = fold_config(TINY, clips, TRAIN)
    ids = clips.subject_ids(TRAIN)[TRAIN]
    names = list(config.id2label.values())
    batches = ClipBatches(clips.frames[TRAIN], clips.shown[TRAIN], ids, names, 8)

    def broken(epoch: int):
        if epoch == 3:
            raise KeyboardInterrupt
        return batches(epoch)

    def fresh():
        torch.manual_seed(0)
        return type(trained(clips))(config)

    whole, halves = fresh(), fresh()
    assert len(fit(whole, batches, 2, recipe, progress=False)) == 4
    options = dict(folder=tmp_path, checkpoint_every=2, progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(halves, broken, 2, recipe, **options)
    again = fresh()
    assert len(fit(again, batches, 2, recipe, **options)) == 2  # the third epoch once more, and the fourth
    assert same(whole, again) and not same(whole, halves)
    with pytest.raises(ValueError, match=r"another recipe \(learning_rate: 0.002, now 1.0\); give the same"):
        fit(fresh(), batches, 2, replace(recipe, learning_rate=1.0), **options)


def test_a_loss_that_is_no_number(clips):
    with pytest.raises(FloatingPointError, match="epoch 1: the loss is nan; lower the learning rate"):
        trained(clips, recipe=replace(QUICK, learning_rate=float("inf")))


def test_clips_of_another_size(clips):
    with pytest.raises(ValueError, match="8 frames of 16 px; the model takes 8 of 32 px"):
        trained(clips, config=AC4AU_MINI)


def test_a_backbone_to_start_from(clips, tmp_path):
    recipe = FoldRecipe(2, 16, 5e-3, balance_classes=False)
    stream = people_stream(TINY, 32)
    model, accuracy = pretrain_backbone(TINY, stream, 32, recipe, folder=tmp_path / "faces")
    again, _ = pretrain_backbone(TINY, stream, 32, recipe, folder=tmp_path / "faces")
    assert same(model.backbone, again.backbone) and 0 <= accuracy <= 1
    losses = [json.loads(line)["loss"] for line in open(tmp_path / "faces" / "metrics.jsonl")]
    assert losses[1] < losses[0]
    with pytest.raises(ValueError, match="people=33: procedural faces are painted 32 at a time"):
        people_stream(TINY, 33)
    backbone = model.backbone.state_dict()
    idle = replace(QUICK, learning_rate=0.0, weight_decay=0.0)
    started = trained(clips, backbone=backbone, recipe=idle).ac4au.backbone.state_dict()
    learned = [name for name in backbone if "running" not in name and "num_batches" not in name]
    assert learned and all(torch.equal(started[name], backbone[name]) for name in learned)


def test_columns_in_the_mirror():
    assert mirrored_columns(["AU1", "AU12_left", "AU4", "AU12_right"]) == [0, 3, 2, 1]
    with pytest.raises(ValueError, match="AU14_right has no AU14_left"):
        mirrored_columns(["AU1", "AU14_right"])


def test_augmentation():
    frames = torch.rand(64, 2, 3, 8, 8) * 2 - 1
    labels = torch.eye(2)[torch.zeros(64, dtype=torch.long)]
    flipped, sides = augmented(frames, labels, [1, 0], Augmentation(0.5, 0.0, 0.0), torch.Generator())
    mirrored = sides[:, 1] == 1
    assert 10 < mirrored.sum() < 54
    assert torch.allclose(flipped[mirrored], frames[mirrored].flip(-1), atol=1e-5)
    assert torch.allclose(flipped[~mirrored], frames[~mirrored], atol=1e-5)
    still = frames[:, :1].expand(-1, 2, -1, -1, -1)
    changed, _ = augmented(still, labels, [0, 1], Augmentation(0.5, 20.0, 0.3), torch.Generator())
    assert torch.equal(changed[:, 0], changed[:, 1]) and changed.abs().max() <= 1
    assert (changed - still).abs().mean() > 0.05

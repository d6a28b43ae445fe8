import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from safetensors.torch import load_file

from dface_hf import DFaceConfig, DFaceForVideoClassification
from dface_hf.data import LabelledClips, PairClips, labelled_clips
from dface_hf.hub import continued_classifier, train_on_clips
from dface_hf.training import TokenSet, TrainConfig, evaluate_heads, train_heads
from dface_hf.training.accelerator import new_accelerator
from dface_hf.training.checkpointing import checkpoints
from dface_hf.training.fold_ensemble import class_weights

from ..data.clip_sets import clip_set, write_clips
from .test_killed_runs import ROOT
from .test_pretrain_processes import ENVIRONMENT, TORCHRUN

LABELS = {0: "negative", 1: "positive", 2: "others"}


def model():
    torch.manual_seed(0)
    config = DFaceConfig(
        tokenizer_config=dict(
            image_size=32, patch_size=4, hidden_size=32, num_attention_heads=2, head_dim=16
        ),
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=32,
        projection_dim=8,
        id2label=LABELS,
        others_label="others",
    )
    made = DFaceForVideoClassification(config)
    made.dface.set_text_anchors(torch.eye(8)[:2], {"negative": "frown", "positive": "smile"}, "none")
    return made


def clips(count=240, seed=0):
    """Tokens that tell the class in one of four cells."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    ids = torch.randint(8, 32, (count, 16), generator=generator)
    ids[:, 5] = labels
    return TokenSet(ids, labels)


def test_heads_learn_and_the_tokenizer_does_not(tmp_path):
    made = model()
    before = {name: value.clone() for name, value in made.dface.tokenizer.state_dict().items()}
    trained = train_heads(made, clips(), TrainConfig(epochs=20, learning_rate=3e-3), tmp_path)
    scores = evaluate_heads(trained, clips(seed=1))
    assert scores["classifier"]["uf1"] > 0.9 and scores["edclip"]["uf1"] > 0.9
    assert scores["edclip"]["n"] == int((clips(seed=1).labels < 2).sum())
    for name, value in trained.dface.tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not trained.training


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    whole = train_heads(model(), clips(), TrainConfig(epochs=3), tmp_path / "whole")
    config = TrainConfig(epochs=3)
    broken = model()
    state = {"calls": 0}

    def stop(module, inputs):
        state["calls"] += 1
        if state["calls"] > 5:  # in the second epoch of four steps
            raise KeyboardInterrupt

    hook = broken.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        train_heads(broken, clips(), config, tmp_path / "broken")
    hook.remove()
    resumed = train_heads(model(), clips(), config, tmp_path / "broken", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_every_epoch_is_in_the_log_wherever_a_run_was_stopped(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    config, told = TrainConfig(epochs=3), "dface_hf.training.train"
    for number, place in enumerate(("save_checkpoint", "append_json", "Meter.write")):
        folder = tmp_path / str(number)
        with monkeypatch.context() as stopped:
            stopped.setattr(f"{told}.{place}", stop)
            with pytest.raises(KeyboardInterrupt):
                train_heads(model(), clips(), config, folder)
        train_heads(model(), clips(), config, folder, resume=True)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3], place


def test_a_loss_that_is_no_number_names_its_epoch(tmp_path):
    broken = model()
    with torch.no_grad():
        broken.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1: the loss is nan; lower the learning rate"):
        train_heads(broken, clips(), TrainConfig(epochs=1), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_finished_run_of_other_clips_is_not_taken_for_this_one(tmp_path):
    train_heads(model(), clips(), TrainConfig(epochs=1), tmp_path)
    with pytest.raises(ValueError, match="other clips or another recipe"):
        train_heads(model(), clips(seed=5), TrainConfig(epochs=1), tmp_path, resume=True)


def test_class_weights_balance_the_classes_that_have_clips():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    assert class_weights(labels, 3).tolist() == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert class_weights(labels[:9], 3).tolist() == pytest.approx((0.75, 1.5, 1.0))
    with pytest.raises(ValueError, match="no clip to train on"):
        train_heads(
            model(), TokenSet(torch.zeros(0, 16).long(), torch.zeros(0).long()), TrainConfig(), "unused"
        )


def test_a_run_does_not_inherit_the_precision_of_the_one_before():
    assert new_accelerator("bf16").mixed_precision == "bf16"
    assert new_accelerator().mixed_precision == "no"


def framed(count=24) -> LabelledClips:
    """Frames of noise with labels."""
    generator = np.random.default_rng(0)
    onset, apex = (generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for _ in range(2))
    pairs = PairClips(onset, apex, np.zeros((count, 0), np.uint8), np.arange(count))
    return LabelledClips(pairs, np.arange(count) % 3, tuple(f"x/s{i % 6}" for i in range(count)), {})


def test_the_tokenizer_trains_along_on_its_reconstruction(tmp_path):
    config = TrainConfig(epochs=6, batch_size=8, learning_rate=2e-3, train_tokenizer=True)
    made, clips_ = model(), framed()
    tokenizer = made.dface.tokenizer
    frames = torch.cat(list(clips_.pairs.pixel_values(32)))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    loss = tokenizer.eval()(frames).loss.item()
    trained = train_heads(made, clips_, config, tmp_path)
    assert trained.dface.tokenizer(frames).loss.item() < 0.9 * loss
    for name in ("dface.tokenizer.reduction.projection.weight", "classifier.weight"):
        assert not torch.equal(trained.state_dict()[name], before[name]), name
    with pytest.raises(ValueError, match="needs the frames of the clips, not their tokens"):
        train_heads(model(), clips(), config, tmp_path / "tokens")


def test_a_resumed_run_on_frames_ends_with_the_same_weights(tmp_path):
    config = TrainConfig(epochs=3, batch_size=8, train_tokenizer=True, ema_decay=0.5)
    whole = train_heads(model(), framed(), config, tmp_path / "whole")
    broken, state = model(), {"calls": 0}

    def stop(module, inputs):
        state["calls"] += 1
        if state["calls"] > 7:  # in the third epoch of three steps
            raise KeyboardInterrupt

    broken.classifier.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        train_heads(broken, framed(), config, tmp_path / "broken")
    resumed = train_heads(model(), framed(), config, tmp_path / "broken", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 3


def test_what_is_returned_is_the_average(tmp_path):
    config = TrainConfig(epochs=2, batch_size=24, ema_decay=0.75, learning_rate=1e-2)
    name = "classifier.weight"
    found = train_heads(model(), framed(), config, tmp_path).state_dict()[name]
    first, second = (
        load_file(path / "model.safetensors")[name] for path in checkpoints(tmp_path / "checkpoints")
    )
    assert not torch.equal(first, second)
    torch.testing.assert_close(found, 0.75 * first + 0.25 * second)


def test_a_checkpoint_is_trained_on_prepared_clips(tmp_path, checkpoint):
    emotions = ("disgust", "happiness", "surprise", "others", None)
    clips_ = labelled_clips([write_clips(tmp_path / "clips", 20, 2, emotions=emotions)], "default4")
    config = TrainConfig(epochs=1, batch_size=4)
    report = train_on_clips(
        continued_classifier(checkpoint, "default4"), clips_, tmp_path / "run", config, 0.25
    )
    assert report["left_out"] == {"no emotion": 4} and len(report["validation"]["subjects"]) == 1
    assert (
        report["clips"] == sum(report["per_class"].values()) == 16 - report["validation"]["classifier"]["n"]
    )
    card = (tmp_path / "run/model/README.md").read_text()
    assert "4 x no emotion" in card and "cc0-1.0" in card and "held out" in card
    json.dumps(report)
    old, new = (DFaceForVideoClassification.from_pretrained(f) for f in (checkpoint, tmp_path / "run/model"))
    for name, value in old.dface.tokenizer.state_dict().items():
        assert torch.equal(new.dface.tokenizer.state_dict()[name], value), name
    assert not torch.equal(old.classifier.weight, new.classifier.weight)
    other = continued_classifier(checkpoint, "composite3")
    assert other.config.num_labels == 3 and other.config.anchor_texts is None
    assert torch.equal(other.dface.token_embeddings.weight, old.dface.token_embeddings.weight)
    with pytest.raises(ValueError, match="leaves none to train on"):
        train_on_clips(other, clips_, tmp_path / "x", config, 0.95)


def test_declared_splits_are_trained_on_and_scored_on(tmp_path, checkpoint):
    found, config = clip_set(12, frames=9), TrainConfig(epochs=1, batch_size=4)  # 4 subjects in turn
    of_s3 = np.arange(12) % 4 == 3
    parts = {"train": found.select(np.flatnonzero(~of_s3)), "test": found.select(np.flatnonzero(of_s3))}
    DatasetDict(parts).save_to_disk(tmp_path / "clips")
    model = continued_classifier(checkpoint, "composite3")
    clips_ = labelled_clips([tmp_path / "clips"], "composite3")
    report = train_on_clips(model, clips_, tmp_path / "run", config, 0.5)
    assert report["clips"] == 9 and report["validation"]["classifier"]["n"] == 3
    assert report["validation"]["subjects"] == ["look-alike/s3"]
    DatasetDict({"train": found, "test": parts["test"]}).save_to_disk(tmp_path / "both")
    with pytest.raises(ValueError, match="subject look-alike/s3 is in train and in another split"):
        train_on_clips(model, labelled_clips([tmp_path / "both"], "composite3"), tmp_path / "x", config)
    assert not (tmp_path / "x").exists()


def described_clips():
    """24 clips, all of described classes: what a loss of means of means needs to be that of all."""
    found = clips(24)
    return TokenSet(found.action_ids, found.labels % 2)


def train_in_parts(folder, **change):
    """The weights after three steps on the described clips, without dropout and class weights."""
    made = model()
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    config = TrainConfig(epochs=3, batch_size=24, learning_rate=3e-3, balance_classes=False)
    return train_heads(made, described_clips(), replace(config, **change), folder).state_dict()


def assert_as_one_batch(found, folder):
    for name, value in train_in_parts(folder).items():
        if "in_proj_bias" not in name:  # the keys' part has no gradient but rounding, which Adam blows up
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_passes_that_share_a_step_are_as_one_batch(tmp_path):
    found = train_in_parts(tmp_path / "parts", batch_size=8, gradient_accumulation_steps=3)
    assert_as_one_batch(found, tmp_path / "whole")
    for name in ("parts", "whole"):
        assert len((tmp_path / name / "metrics.jsonl").read_text().splitlines()) == 3


def test_two_processes_train_heads_as_one_with_the_same_global_batch(tmp_path):
    program = (
        "import os\nfrom safetensors.torch import save_file\n"
        "from tests.training.test_train import train_in_parts\n"
        f"weights = train_in_parts({str(tmp_path / 'two')!r}, batch_size=12)\n"
        f"save_file(weights, {str(tmp_path)!r} + '/' + os.environ['RANK'] + '.safetensors')\n"
    )
    (tmp_path / "heads.py").write_text(program)
    options = {"env": ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    done = subprocess.run([*TORCHRUN, tmp_path / "heads.py"], timeout=240, **options)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        assert_as_one_batch(load_file(tmp_path / f"{rank}.safetensors"), tmp_path / f"one-{rank}")

"""`dface pretrain` and `dface train` from prepared clips to a checkpoint."""

import json

import pytest
from transformers import AutoModelForVideoClassification

from dface_hf import DFaceTokenizerModel
from dface_hf.cli.app import in_one_line

from ..data.clip_sets import write_clips


@pytest.fixture
def prepared(tmp_path):
    emotions = ("disgust", "happiness", "surprise", "others")
    return write_clips(tmp_path / "clips", 16, 2, emotions=emotions, frames=9)


def test_heads_go_on_from_a_checkpoint_and_are_scored_on_held_out_subjects(
    dface, prepared, checkpoint, tmp_path
):
    run = ["train", "--data", prepared, "--model", checkpoint, "--output", tmp_path / "run"]
    small = ["--epochs", "1", "--batch-size", "4", "--scheme", "default4", "--no-balance"]
    code, out, err = dface(*run, *small, "--validation-share", "0.5")
    assert code == 0, err
    report = json.loads(out)
    assert report["clips"] == 8 and len(report["validation"]["subjects"]) == 2
    assert AutoModelForVideoClassification.from_pretrained(tmp_path / "run/model").config.num_labels == 4
    code, _, err = dface(*run, *small)
    assert code == 2 and "holds checkpoints of a run" in err and "Traceback" not in err


def test_clips_without_a_class_are_told(dface, prepared, checkpoint, tmp_path):
    run = ["train", "--data", prepared, "--model", checkpoint, "--output", tmp_path / "run"]
    code, out, err = dface(*run, "--scheme", "composite3", "--epochs", "1", "--train-tokenizer")
    assert code == 0, err
    assert "left out 4 clips: others has no class in composite3" in err
    assert json.loads(out)["left_out"] == {"others": 4} and "not learned" not in err


def test_a_class_without_clips_is_told(dface, checkpoint, tmp_path):
    clips = write_clips(tmp_path / "clips", 8, 1, emotions=("disgust", "surprise"), frames=9)
    run = ["train", "--data", clips, "--model", checkpoint, "--output", tmp_path / "run", "--epochs", "1"]
    code, out, err = dface(*run, "--scheme", "composite3")
    assert code == 0, err
    assert "not learned positive: it has no training clip" in err
    assert json.loads(out)["per_class"] == {"negative": 4, "positive": 0, "surprise": 4}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give either --tokenizer"),
        (["--model", "x", "--tokenizer", "y"], "give either --tokenizer"),
        (["--model", "x"], "give --data"),
        (["--model", "x", "--data", "{tmp}"], "no .parquet file in it"),
        (["--model", "x", "--data", "{clips}", "--scheme", "nosuch"], "unknown class scheme 'nosuch'"),
    ],
)
def test_bad_options_are_one_line(dface, prepared, tmp_path, arguments, told):
    filled = [text.format(tmp=tmp_path / "clips" / "none", clips=prepared) for text in arguments]
    (tmp_path / "clips" / "none").mkdir()
    code, out, err = dface("train", "--output", tmp_path / "run", *filled)
    assert code == 2 and out == "" and told in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_is_pretrained_on_prepared_clips_and_goes_on(dface, prepared, tmp_path):
    small = ["--data", prepared, "--data-share", "1", "--batch-size", "2", "--checkpoint-every", "1"]
    code, _, err = dface("pretrain", "--output", tmp_path / "run", *small, "--steps", "2")
    assert code == 0, err
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2
    model = DFaceTokenizerModel.from_pretrained(tmp_path / "run" / "model")
    assert model.config.position_maps
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "license: other" in card and "not measured" in card
    assert dface("pretrain", "--output", tmp_path / "run", *small, "--steps", "2", "--resume")[0] == 0


def test_a_loss_that_is_no_number_is_told_as_it_is():
    assert in_one_line(FloatingPointError("epoch 2: the loss is nan")) == "epoch 2: the loss is nan"


def test_a_tracker_that_is_unknown_is_one_line(dface, prepared, tmp_path):
    small = ["--data", prepared, "--data-share", "1", "--steps", "1", "--batch-size", "2"]
    code, _, err = dface("pretrain", "--output", tmp_path / "run", *small, "--report-to", "nosuch")
    assert code == 2 and "report_to is 'nosuch'" in err and "Traceback" not in err


def test_a_recipe_from_a_file_goes_behind_what_is_given(dface, prepared, tmp_path):
    told = {"steps": 9, "quiet_weight": 0.0, "amplitude": [1.0, 2.0], "processes": 3}
    told["model"] = {"image_size": 64, "patch_size": 8, "codebook_size": 16, "decoder_head": "pixels"}
    file = tmp_path / "told.json"
    file.write_text(json.dumps(told))
    run = ["pretrain", "--data", prepared, "--data-share", "1", "--batch-size", "2", "--steps", "1"]
    code, _, err = dface(*run, "--recipe", file, "--output", tmp_path / "a", "--mixed-precision", "no")
    assert code == 0, err
    first = json.loads((tmp_path / "a" / "recipe.json").read_text())
    asked = {
        "steps": 1,
        "batch_size": 2,
        "mixed_precision": "no",
        "quiet_weight": 0.0,
        "amplitude": [1.0, 2.0],
    }
    assert first.items() >= asked.items() and first["model"].items() >= told["model"].items()
    whole = tmp_path / "a" / "recipe.json"
    code, _, err = dface(*run, "--recipe", whole, "--output", tmp_path / "b", "--decoder-head", "warp")
    assert code == 0, err
    second = json.loads((tmp_path / "b" / "recipe.json").read_text())
    assert second == first | {"model": first["model"] | {"decoder_head": "warp"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"quiet_wait": 0}', "PretrainConfig has no quiet_wait"),
        ('{"model": {"size": 64}}', "DFaceTokenizerConfig has no size"),
        ('{"steps": "many"}', "steps is 'many'; its default is"),
        ("[1]", "give an object of settings"),
        ("steps: 3", "is not JSON"),
    ],
)
def test_a_recipe_that_cannot_be_one_is_named(dface, tmp_path, text, told):
    file = tmp_path / "recipe.json"
    file.write_text(text)
    code, _, err = dface("pretrain", "--recipe", file, "--output", tmp_path / "run")
    assert code == 2 and told in in_one_line(err) and "recipe.json" in err
    assert not (tmp_path / "run").exists()

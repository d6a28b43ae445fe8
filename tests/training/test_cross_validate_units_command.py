"""`dface cross-validate --task action-units` and `dface pretrain --model ac4au-backbone-mini`."""

import inspect
import json

import pytest
import torch
from datasets import Dataset
from PIL import Image

from dface_hf import AC4AUModel
from dface_hf.cli.app import app
from dface_hf.cli.pretraining_faces import ONLY_TOKENIZER, pretrain_faces
from dface_hf.data import CLIP_FEATURES

from ..data.clip_sets import rows
from .prepared import write_keyframes

UNITS = ("--task", "action-units", "--protocol", "lodo", "--seeds", 1, "--epochs", 1, "--batch-size", 8)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> tuple[str, ...]:
    """Two corpora of 8 clips with units, one clip of them uncoded."""
    folder = tmp_path_factory.mktemp("units")
    for corpus in ("one", "two"):
        found = rows(8, frames=12)
        for number, row in enumerate(found):
            coded = "" if (corpus, number) == ("two", 7) else ("1+R2", "4", "L12+17")[number % 3]
            row |= {"corpus": corpus, "action_units": coded}
        (folder / corpus).mkdir()
        Dataset.from_list(found, features=CLIP_FEATURES).to_parquet(folder / corpus / "part.parquet")
    return "--data", str(folder / "one"), "--data", str(folder / "two")


def test_the_table(dface, corpora, units_checkpoint, checkpoint, tmp_path):
    models = ("--model", units_checkpoint, "--model", checkpoint, "--model", "all-ones")
    where = ("--output", tmp_path / "run", "--json", tmp_path / "a.json")
    code, out, err = dface("cross-validate", *corpora, *UNITS, *models, "--ablation", "bce", *where)
    assert code == 0, err
    assert "15 clips of 8 subjects: one, two" in err and "left out 1 of two: no action units coded" in err
    lines = out.splitlines()
    assert lines[0].startswith("| model | average F1 | mean of corpora | AU1 | AU2 |")
    names = [units_checkpoint.name, f"{units_checkpoint.name}-bce", checkpoint.name, "all-ones"]
    assert [line.split(" | ")[0] for line in lines[2:6]] == [f"| {name}" for name in names]
    assert "pooled over 2 folds (lodo); 1 seed; clips: one 8, two 7" in lines[-1]
    document = json.loads((tmp_path / "a.json").read_text())
    # Six of 15 clips show 1 and 2, five show 4, four show 12 and 17; the other seven units none.
    ones = sum(count * 2 * n / (15 + n) for count, n in ((2, 6), (1, 5), (2, 4))) / 12
    assert document["rows"]["all-ones"]["f1"] == pytest.approx(ones)
    assert Image.open(tmp_path / "run" / "scores.png").width == 1500
    assert "scores.json, scores.png and logits of each fold in" in err and "fold/s" not in err
    assert f"{checkpoint.name}, fold two, seed 0: F1 " in err
    code, _, err = dface("cross-validate", "--data", "unread", *UNITS, *models, *where)
    assert code == 2 and "holds a run; give --resume" in err
    more = ("--model", "ststnet", "--resume")
    code, out, err = dface("cross-validate", *corpora, *UNITS, *models, *where, *more)
    assert code == 0 and "| ststnet |" in out, err
    more = ("--model", "ststnet", "--model", "all-ones", "--learning-rate", 0.5, "--resume")
    code, out, err = dface("cross-validate", *corpora, *UNITS, *where, *more)
    assert code == 2 and "| all-ones |" in out and "| ststnet |" not in out
    told = "holds folds with other settings of ststnet (recipe.learning_rate: 5e-05, now 0.5): run that in"
    assert told in err.splitlines()[-1]


def test_bad_input(dface, corpora, tmp_path):
    def told(*arguments) -> str:
        code, _, err = dface("cross-validate", *arguments, "--output", tmp_path / "run")
        last = err.splitlines()[-1]
        assert code == 2 and last.startswith("error: ")
        return last

    assert "--scheme is missing" in told(*corpora)
    assert "unknown task 'faces'; choose emotions or action-units" in told(*corpora, "--task", "faces")
    assert "--scheme is about emotions" in told(*corpora, *UNITS, "--scheme", "composite3")
    assert "--train-tokenizer is about emotions" in told(*corpora, *UNITS, "--train-tokenizer")
    assert "unknown model 'vgg'" in told(*corpora, *UNITS, "--model", "vgg")
    assert "holds no config.json" in told(*corpora, *UNITS, "--model", tmp_path)
    assert "gone: no such folder here, and from the Hub: " in told("--data", "gone", *UNITS)
    assert "--ablation is about AC4AU" in told(*corpora, *UNITS, "--model", "all-ones", "--ablation", "bce")
    short = ("--data", write_keyframes(tmp_path / "short"))
    assert "none of 12 clips has action units" in told(*short, *UNITS, "--model", "all-ones")
    one = corpora[:2]
    assert "leave-one-dataset-out needs 2 corpora" in told(*one, *UNITS, "--model", "all-ones")
    assert not (tmp_path / "run").exists()


def test_pretraining_of_the_backbone(dface, tmp_path):
    for number, colour in enumerate(((200, 150, 120), (90, 60, 50))):
        picture = Image.radial_gradient("L").resize((48, 48))
        Image.merge("RGB", [picture.point(lambda v, c=c: v * c // 255) for c in colour]).save(
            tmp_path / f"{number}.png"
        )
    arguments = ("pretrain", "--model", "ac4au-backbone-mini", "--faces", tmp_path, "--mixed-precision", "no")
    arguments += ("--steps", 50, "--batch-size", 8, "--output", tmp_path / "run")
    code, _, err = dface(*arguments)
    assert code == 0 and "2 people, told apart in" in err and "after 50 steps" in err, err
    model = AC4AUModel.from_pretrained(tmp_path / "run" / "model")
    fresh = AC4AUModel(model.config)
    assert not torch.equal(model.backbone.projection.weight, fresh.backbone.projection.weight)
    assert "holds checkpoints of a run" in dface(*arguments)[2]
    code, _, err = dface(*arguments, "--resume")
    assert code == 0, err
    steps = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert steps == ["step-000001"]  # of one block
    other = (*arguments[:-1], tmp_path / "other")
    for option, told in (
        (("--batch-size", 3), "batch size 3: frames come in pairs; give an even number"),
        (("--mixed-precision", "fp16"), "--mixed-precision 'fp16': choose no or bf16"),
        (("--steps", 10), "--steps 10: a backbone trains in blocks of 50 steps; give 50, say"),
        (
            ("--checkpoint-every", 120),
            "--checkpoint-every 120: a backbone trains in blocks of 50 steps; give 150",
        ),
    ):
        code, _, err = dface(*other, *option)
        assert code == 2 and told in err and not (tmp_path / "other").exists()
    assert "unknown model 'vgg'" in dface("pretrain", "--model", "vgg", "--output", tmp_path / "x")[2]


GIVEN = {
    "data": "clips", "data_share": 0.5, "accumulation": 1, "ema": 0.0, "decoder_head": "warp",
    "fields": "fields.npz", "batches": 320, "recipe": "recipe.json", "report_to": "tensorboard",
    "push_to_hub": "me/backbone",
}  # fmt: skip
"""A value of each option that is about the tokenizer; where there is a default, that."""


@pytest.mark.parametrize("name", ONLY_TOKENIZER)
def test_a_backbone_refuses_what_it_has_no_use_for(dface, name, tmp_path):
    option = f"--{name.replace('_', '-')}"
    value = (GIVEN[name],) if name in GIVEN else ()
    where = ("--model", "ac4au-backbone-mini", "--output", tmp_path / "run")
    code, _, err = dface("pretrain", *where, option, *value)
    told = f"error: {option} is about the tokenizer; leave it out with --model ac4au-backbone-mini"
    assert code == 2 and err.splitlines() == [told] and not (tmp_path / "run").exists()


def test_every_option_is_used_or_refused():
    """An option that is added to `dface pretrain` has to be one or the other."""
    (command,) = (one.callback for one in app.registered_commands if one.callback.__name__ == "pretrain")
    options = set(inspect.signature(command).parameters) - {"context", "model"}
    used = set(inspect.signature(pretrain_faces).parameters) - {"model"}
    assert options - used == set(ONLY_TOKENIZER) and used <= options


def test_options_of_pairs_that_are_not_used(dface, tmp_path):
    run = ("pretrain", "--output", tmp_path / "run")
    assert "--data-share is of --data, which is missing" in dface(*run, "--data-share", 0.5)[2]
    real = (*run, "--data", "gone", "--data-share", 1)
    for option in (("--faces", tmp_path), ("--fields", "f.npz"), ("--batches", 320)):
        code, _, err = dface(*real, *option)
        assert code == 2 and f"{option[0]} is about synthetic pairs, and --data-share 1 leaves" in err
    assert not (tmp_path / "run").exists()

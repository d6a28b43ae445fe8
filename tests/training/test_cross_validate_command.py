"""`dface cross-validate`, from a look-alike release to table and pictures, and its answers to bad input."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import openpyxl
import PIL.Image
import pytest
import torch

from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.hub import write_checkpoint
from dface_hf.hub.build import SUBJECTS
from dface_hf.hub.cards import REPORT
from dface_hf.metrics import read_log

from ..conftest import tiny_classifier
from ..data.clip_sets import write_clips
from .prepared import write_keyframes

MAKE_RELEASE = Path(__file__).resolve().parents[2] / "examples" / "make_look_alike_casme2.py"
QUICK = ("--epochs", 2, "--learning-rate", 1e-3)


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> Path:
    """A tiny untrained checkpoint that holds an anchor for each description of the default scheme."""
    model, texts = tiny_classifier(), class_prompts("default4")
    model.dface.set_text_anchors(torch.eye(12)[: len(texts)], texts, "none")
    folder = tmp_path_factory.mktemp("checkpoints") / "described"
    write_checkpoint(model, folder, "An untrained model for tests.\n")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("prepared") / "clips", frames=12)


def counted(release: Path) -> tuple[int, int]:
    """Rows of the release's sheet with and without a class of composite3."""
    [sheet] = release.glob("*.xlsx")
    emotions = [row[-1] for row in openpyxl.load_workbook(sheet).active.values][1:]
    found = sum(get_class_scheme("composite3").label_of(emotion) is not None for emotion in emotions)
    return found, len(emotions) - found


def test_from_a_release_to_the_table(dface, described, tmp_path, monkeypatch):
    """The documented sequence: a look-alike CASME II, `dface prepare`, `dface cross-validate`."""
    release, data, output = (tmp_path / name for name in ("release", "data", "cv"))
    options = ["--clips", "16", "--subjects", "3", "--size", "96"]
    monkeypatch.setattr(sys, "argv", [MAKE_RELEASE.name, str(release), *options])
    runpy.run_path(str(MAKE_RELEASE), run_name="__main__")
    code, out, err = dface(
        "prepare", "casme2", "--root", release, "--out", data, "--size", 64, "--frames", "keyframes"
    )
    assert code == 0, err
    models = ("--model", described, "--model", "ststnet", "--model", "svm", "--ablation", "mean-pooling")
    arguments = ("cross-validate", "--data", data, "--scheme", "composite3", *models, *QUICK, "--seeds", 2)
    code, out, err = dface(*arguments, "--report-oracle-epoch", "--output", output)
    assert code == 0, err
    with_class, without = counted(release)
    assert with_class and without
    assert f"{with_class} clips of 3 subjects, 3 folds (loso)" in err
    assert f"left out {without}: others has no class in composite3" in err
    document = json.loads((output / "scores.json").read_text())
    name = next(iter(document["rows"]))
    assert list(document["rows"]) == [
        name,
        f"{name}-edclip",
        f"{name}-mean-pooling",
        f"{name}-mean-pooling-edclip",
        "ststnet",
        "svm",
    ]
    lines = out.splitlines()
    assert lines[0] == "| | UF1 | UAR | accuracy | clips | oracle UF1 |"
    assert [line.split(" | ")[0] for line in lines[2:8]] == [f"| {row}" for row in document["rows"]]
    assert "mean ± standard deviation of 2 seeds" in lines[-1]
    assert len(read_log(output / "predictions-ststnet-seed1.txt")) == with_class
    assert len(document["clips"]["left_out"]) == without and document["clips"]["n"] == with_class
    for picture in ("scores.png", "scores-svm.png", "tokens.png"):
        assert PIL.Image.open(output / picture).size[0] == 1500
    # The logs are those of `dface evaluate`, and say the same.
    logs = [output / f"predictions-ststnet-seed{seed}.txt" for seed in (0, 1)]
    code, out, err = dface("evaluate", *logs, "--json", "-")
    assert code == 0 and json.loads(out)["uf1"] == document["rows"]["ststnet"]["uf1"]
    # Once more: refused, and with --resume the same without any training.
    assert "holds a run; give --resume" in dface(*arguments, "--output", output)[2]
    code, out, err = dface(*arguments, "--report-oracle-epoch", "--output", output, "--resume", "--json", "-")
    assert code == 0 and json.loads(out) == document and "epoch/s" not in err


def test_every_feature_of_the_svm(dface, clips, tmp_path):
    """LBP-TOP reads the frames between the keyframes, and says so before anything is trained without them."""
    models = [part for name in ("svm", "svm-mdmo", "svm-lbp-top") for part in ("--model", name)]
    arguments = ("cross-validate", "--scheme", "composite3", *models, "--reselect-keyframes", "--json", "-")
    code, out, err = dface(*arguments, "--data", clips, "--output", tmp_path / "cv")
    assert code == 0, err
    document = json.loads(out)
    assert list(document["rows"]) == list(document["models"]) == ["svm", "svm-mdmo", "svm-lbp-top"]
    assert all((tmp_path / "cv" / f"scores-{name}.png").exists() for name in ("svm-mdmo", "svm-lbp-top"))
    keyframes = ("--data", write_keyframes(tmp_path / "keyframes"), "--output", tmp_path / "none")
    for options, why in (
        (arguments, "the selection looks around them"),
        ([one for one in arguments if one != "--reselect-keyframes"], "LBP-TOP reads all frames"),
    ):
        code, out, err = dface(*options, *keyframes)
        assert code == 2 and not (tmp_path / "none").exists() and why in err
        assert "look-alike/c0 holds keyframes only" in err and "prepare the corpus with --frames all" in err


def test_a_tokenizer_that_has_met_the_people_it_is_tested_on_is_told(dface, described, clips, tmp_path):
    known = tmp_path / "known"
    shutil.copytree(described, known)
    subjects = {"look-alike": ["s0", "s2", "elsewhere"], "another": ["s1"]}
    (known / REPORT).write_text(json.dumps({SUBJECTS: subjects}))
    models = ("--model", described, "--model", known, "--seeds", 1, "--no-plot")
    arguments = ("cross-validate", "--data", clips, "--scheme", "composite3", *models, *QUICK)
    code, out, err = dface(*arguments, "--output", tmp_path / "cv")
    assert code == 0, err
    assert " ".join(err.split()).count("its tokenizer learned from clips of 2 of the 4 subjects") == 1
    rows = json.loads((tmp_path / "cv" / "scores.json").read_text())["rows"]
    met = {name: row.get("subjects that the tokenizer learned from") for name, row in rows.items()}
    assert met == {
        name: ["look-alike/s0", "look-alike/s2"] if name.startswith("known") else None for name in rows
    }


def test_a_tokenizer_that_learns_along(dface, checkpoint, clips, tmp_path):
    """The checkpoint holds other descriptions: the text encoder embeds those of the scheme."""
    model = ("--model", checkpoint, "--train-tokenizer", "--protocol", "kfold", "--k", 2, "--seed", "4")
    arguments = ("--data", clips, "--scheme", "composite3", *model, *QUICK, "--no-plot", "--json", "-")
    code, out, err = dface("cross-validate", *arguments, "--output", tmp_path / "cv")
    assert code == 0, err
    document = json.loads(out)
    [told] = document["models"].values()
    assert told["tokenizer trained"] == "along, fold by fold" and told["recipe"]["train_tokenizer"]
    assert document["seeds"] == [4] and document["folds"] == document["k"] == 2
    assert set(told["anchor_texts"]) == {"negative", "positive", "surprise"}
    assert not list((tmp_path / "cv").glob("*.png"))
    assert {path.name.split("-")[-1] for path in (tmp_path / "cv").glob("*.txt")} == {"seed4.txt"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "resnet"), "unknown model 'resnet'; known: dface, off-apexnet, ststnet"),
        (("--scheme", "six"), "unknown class scheme 'six'; known: composite3"),
        (("--protocol", "loo"), "unknown protocol 'loo'; known: loso, kfold, lodo"),
        (("--protocol", "composite"), "no clip of casme2, samm or smic; prepare these three"),
        (("--protocol", "composite", "--task", "action-units"), "--protocol composite is about emotions"),
        (("--protocol", "lodo"), "leave-one-dataset-out needs 2 corpora or more"),
        (("--protocol", "kfold", "--k", 9), "k must lie between 2 and their number"),
        (("--seeds", 2, "--seed", "1,2"), "give either --seeds, how many, or --seed, which ones"),
        (("--seed", "a,b"), "--seed 'a,b' must be whole numbers"),
        (("--seed", "1,1"), "must be different whole numbers"),
        (("--ablation", "no-head"), "unknown ablation 'no-head'; known: mean-pooling"),
        (("--ablation", "no-edclip"), "are about D-FACE; give --model dface, too"),
        (("--mixed-precision", "fp8"), "choose no or bf16"),
        (("--data", "SAME"), "give each clip once"),
        (("--data", "EMPTY"), "no .parquet file in it"),
    ],
)
def test_bad_usage_is_one_line(options, message, dface, clips, tmp_path):
    (tmp_path / "empty").mkdir()
    places = {"SAME": clips, "EMPTY": tmp_path / "empty"}
    options = [places.get(option, option) for option in options]
    given = ["--data", clips, "--scheme", "composite3", "--model", "svm", "--output", tmp_path / "cv"]
    if options[0] in ("--scheme", "--model"):
        at = given.index(options[0])
        del given[at : at + 2]
    code, out, err = dface("cross-validate", *given, *options)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and not out and len(errors) == 1 and message in errors[0], err
    assert not (tmp_path / "cv").exists()

"""Cross-validation on action units: rows, files, resuming, both aggregates."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dface_hf import AC4AUForActionUnitDetection, DFaceTokenizerModel
from dface_hf.data.pair_clips import PairClips
from dface_hf.data.unit_clips import UnitClips
from dface_hf.metrics import CD6ME_UNITS
from dface_hf.training.cross_validate import CrossValidationConfig
from dface_hf.training.cross_validate_units import (
    cross_validate_units,
    planned_frames,
    unit_document,
    unit_table,
)
from dface_hf.training.train_units import AC4AU_RECIPE
from dface_hf.training.unit_rows import ABLATIONS, AC4AURow, AllOnes, ResNetRow, TokenRow, row_named, without

from ..conftest import tiny_classifier
from ..metrics.test_action_unit_f1 import CD6ME, cd6me
from .unit_sets import TINY, unit_clips

QUICK = {"epochs": 1, "batch_size": 8}
LODO = CrossValidationConfig("lodo", seeds=(0,))


@pytest.fixture(scope="module")
def clips():
    return unit_clips()


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(7)
    backbone = AC4AUForActionUnitDetection(TINY).ac4au.backbone.state_dict()
    return AC4AURow("ac4au", TINY, replace(AC4AU_RECIPE, **QUICK), backbone, "random")


def test_all_ones_on_the_counts_of_cd6me(tmp_path):
    """The baseline of the paper's table, through folds, files and table."""
    shown, corpora = cd6me()
    still = np.zeros((len(shown), 1, 1, 3), np.uint8)
    pairs = PairClips(still, still, np.zeros((len(shown), 0), np.uint8), np.arange(len(shown)))
    names = tuple((str(corpus), "s1", str(at)) for at, corpus in enumerate(corpora))
    clips = UnitClips(still[:, None], pairs, shown.astype(np.uint8), CD6ME_UNITS, names, {}, ("none",))
    document = cross_validate_units(clips, [AllOnes()], LODO, tmp_path)
    assert document["folds"] == list(CD6ME) and document["clips"] == {k: n for k, (n, _) in CD6ME.items()}
    row = document["rows"]["all-ones"]
    assert round(100 * row["f1"], 2) == 17.77 and round(100 * row["f1_corpus_mean"], 2) != 17.77
    assert unit_table(document)[1][:2] == ["all-ones", "17.8"]


def test_every_row_runs(clips, full, tmp_path):
    tokenizer = tiny_classifier().dface.tokenizer
    assert isinstance(tokenizer, DFaceTokenizerModel)
    flow = [row_named(name, QUICK) for name in ("off-apexnet", "ststnet", "sssnet")]
    resnet = ResNetRow(recipe=replace(AC4AU_RECIPE, **QUICK), size=16)
    rows = [full, *(without(full, name) for name in ABLATIONS), *flow, resnet]
    rows += [TokenRow("dface", tokenizer, "tiny"), AllOnes()]
    document = cross_validate_units(clips, rows, LODO, tmp_path)
    assert list(document["rows"]) == [row.name for row in rows]
    assert document == json.loads((tmp_path / "scores.json").read_text())
    files = sorted((tmp_path / "folds").iterdir())
    assert len(files) == 3 * len(rows) and not [path for path in files if path.suffix != ".json"]
    header, *lines = unit_table(document)
    assert header[:3] == ["model", "average F1", "mean of corpora"] and len(header) == 15 == len(lines[0])
    models = document["models"]
    assert models["ac4au"]["backbone"]["source"] == "random"
    assert "backbone" not in models["ac4au-no-pretraining"]
    assert models["ac4au-bce"]["config"]["unit_loss"] == "bce"
    told = [json.loads(path.read_text())["logits"] for path in files]
    assert len({json.dumps(one) for one in told}) >= 3 * len(rows) - 3  # only all ones repeats itself


def test_another_backbone_of_the_same_folder_is_another_row(full):
    weights = {name: value.clone() for name, value in full.backbone.items()}
    assert replace(full, backbone=weights).describe() == full.describe()
    next(iter(weights.values())).view(-1)[0] += 1e-3
    assert replace(full, backbone=weights).describe() != full.describe()


def test_the_pooled_mean_and_that_of_corpora(clips):
    logits = np.where(np.array(clips.corpora) == "a", 1.0, -1.0)[None, :, None] * np.ones((2, 1, 12))
    logits[1] = np.where(clips.shown > 0, 1.0, -1.0)
    found = unit_document(logits, clips)
    of_a = np.array(clips.corpora) == "a"
    there = clips.shown[of_a].sum(0)
    by_hand = np.mean(2 * there / (of_a.sum() + clips.shown.sum(0)))
    assert found["f1"] == pytest.approx((by_hand + 1) / 2) and found["n"] == len(clips)
    assert found["sd"]["f1"] == pytest.approx(np.std([by_hand, 1.0], ddof=1))
    assert [run["f1"] for run in found["runs"]] == pytest.approx([by_hand, 1.0])
    in_b = clips.shown[np.array(clips.corpora) == "b"].any(0)  # a unit that is not there counts 0
    assert found["per_corpus"]["b"] == pytest.approx(in_b.mean() / 2)
    assert set(found["per_unit"]) == set(map(str, clips.units))


class Counting(AllOnes):
    """All ones, and where it was asked."""

    asked: list = []

    def run(self, clips, fold, seed, folder: Path):
        self.asked.append((fold.name, seed))
        if len(self.asked) == 3:
            raise KeyboardInterrupt
        return super().run(clips, fold, seed, folder)


def test_finished_folds_are_not_done_again(clips, tmp_path):
    config = CrossValidationConfig("lodo", seeds=(0, 1))
    Counting.asked = []
    with pytest.raises(KeyboardInterrupt):
        cross_validate_units(clips, [Counting()], config, tmp_path)
    with pytest.raises(ValueError, match="give --resume"):
        cross_validate_units(clips, [Counting()], config, tmp_path)
    document = cross_validate_units(clips, [Counting()], config, tmp_path, resume=True)
    assert Counting.asked[2:] == [("c", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]
    assert document["rows"]["all-ones"]["sd"]["f1"] == 0
    cross_validate_units(clips, [Counting()], config, tmp_path, resume=True)
    assert len(Counting.asked) == 7
    config = CrossValidationConfig("lodo", seeds=(0, 1, 7))  # one more seed
    assert cross_validate_units(clips, [Counting()], config, tmp_path, resume=True)["seeds"] == [0, 1, 7]
    assert Counting.asked[7:] == [("a", 7), ("b", 7), ("c", 7)]


def test_a_run_of_other_settings_is_refused_with_what_differs(clips, tmp_path):
    def refused(clips, config=LODO) -> str:
        with pytest.raises(ValueError, match="holds a run") as told:
            cross_validate_units(clips, [AllOnes()], config, tmp_path, resume=True)
        return str(told.value)

    cross_validate_units(clips, [AllOnes()], LODO, tmp_path)
    before = (tmp_path / "scores.json").read_text()
    assert planned_frames(tmp_path) == (16, 8) and planned_frames(tmp_path / "none") is None
    told = refused(unit_clips(seed=5))
    assert "positives.a: [" in told and "; give the same, or another folder" in told
    darker = replace(clips, frames=clips.frames // 2)
    assert "(data: other clips, units or pictures);" in refused(darker)
    shorter = replace(clips, frames=clips.frames[:, :4])
    assert "(frames: [8, 16], now [4, 16]; data: other" in refused(shorter)
    told = refused(clips, CrossValidationConfig("kfold", k=3, seeds=(0,)))
    assert "protocol: 'lodo', now 'kfold'" in told and "k: not set, now 3" in told
    assert "clips.c: 8, now not set" in refused(clips.rows(np.array(clips.corpora) != "c"))
    assert (tmp_path / "scores.json").read_text() == before
    plan = json.loads((tmp_path / "plan.json").read_text())
    del plan["frames"]  # as earlier versions wrote it
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert cross_validate_units(clips, [AllOnes()], LODO, tmp_path, resume=True)["frames"] == [8, 16]
    (tmp_path / "plan.json").write_text(json.dumps({"scheme": "composite3"}))
    assert "a run of another task than action-units; give another folder" in refused(clips)


def changed(row, **recipe):
    return replace(row, baseline=replace(row.baseline, recipe=replace(row.baseline.recipe, **recipe)))


def test_rows_can_be_added_and_a_changed_one_does_not_stop_the_others(clips, tmp_path):
    config = CrossValidationConfig("lodo", seeds=(0, 1))
    cross_validate_units(clips, [AllOnes()], LODO, tmp_path)
    first = row_named("ststnet", QUICK)
    document = cross_validate_units(clips, [AllOnes(), first], LODO, tmp_path, resume=True)
    assert list(document["rows"]) == ["all-ones", "ststnet"] and "outdated" not in document
    files = {path: path.read_text() for path in (tmp_path / "folds").glob("ststnet--*")}
    other = changed(first, epochs=2, learning_rate=0.5)
    document = cross_validate_units(clips, [other, AllOnes()], config, tmp_path, resume=True)
    assert document["outdated"] == {
        "ststnet": ["recipe.epochs: 1, now 2", "recipe.learning_rate: 5e-05, now 0.5"]
    }
    assert list(document["rows"]) == list(document["models"]) == ["all-ones"]
    assert len(document["rows"]["all-ones"]["runs"]) == 2  # went on
    assert len(files) == 3 and files == {path: path.read_text() for path in files}
    with pytest.raises(
        ValueError, match=r"other settings of ststnet \(recipe.epochs: 1, now 2; .*ststnet--\*"
    ):
        cross_validate_units(clips, [other], LODO, tmp_path, resume=True)


def test_a_fold_that_was_begun_with_other_settings(clips, tmp_path):
    class Interrupted(AllOnes):
        def run(self, *_):
            raise KeyboardInterrupt

    class Other(AllOnes):
        def describe(self):
            return {"input": "everything"}

    with pytest.raises(KeyboardInterrupt):
        cross_validate_units(clips, [Interrupted()], LODO, tmp_path)
    with pytest.raises(
        ValueError, match="all-ones .input: 'nothing', now 'everything'.: run that in another"
    ):
        cross_validate_units(clips, [Other()], LODO, tmp_path, resume=True)
    document = cross_validate_units(clips, [AllOnes()], LODO, tmp_path, resume=True)
    assert list(document["rows"]) == ["all-ones"] and not list(tmp_path.glob("folds/*.partial"))


def test_another_transformers_is_no_other_setting(clips, full, tmp_path):
    cross_validate_units(clips, [full], LODO, tmp_path)
    for path in (tmp_path / "folds").iterdir():
        told = json.loads(path.read_text())
        told["model"]["config"]["transformers_version"] = "1.0"
        path.write_text(json.dumps(told))
    assert "outdated" not in cross_validate_units(clips, [full], LODO, tmp_path, resume=True)


def test_a_log_has_a_line_a_fold_that_is_trained(clips, full, tmp_path, capsys):
    """Without a terminal there is no bar, of folds or within."""
    row = row_named("ststnet", QUICK)
    cross_validate_units(clips, [row], LODO, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ststnet, fold {name}, seed 0" for name in "abc"]
    assert all(" s of processor time" in line and "\r" not in line for line in lines)
    cross_validate_units(clips, [row, full], LODO, tmp_path, resume=True)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["ac4au"] * 3


def test_same_seed_same_logits(clips, full, tmp_path):
    documents = [cross_validate_units(clips, [full], LODO, tmp_path / name)["rows"] for name in "ab"]
    assert {**documents[0]["ac4au"], "cpu_seconds": 0} == {**documents[1]["ac4au"], "cpu_seconds": 0}


def test_rows_that_do_not_exist(clips, full, tmp_path):
    with pytest.raises(ValueError, match="unknown model 'vgg'; known: ac4au, dface, resnet-18"):
        row_named("vgg")
    with pytest.raises(ValueError, match="unknown ablation 'no-hope'"):
        without(full, "no-hope")
    with pytest.raises(ValueError, match="starts from random weights as it is"):
        without(without(full, "no-pretraining"), "no-pretraining")
    with pytest.raises(ValueError, match="give at least one, and each once"):
        cross_validate_units(clips, [AllOnes(), AllOnes()], LODO, tmp_path)


def test_a_unit_without_positives_in_training(clips):
    row = TokenRow("dface", tiny_classifier().dface.tokenizer)
    shown = clips.shown.copy()
    shown[:, 0] = 0
    fold = type("Fold", (), {"name": "f", "train": np.arange(16), "test": np.arange(16, 24)})
    logits = row.run(replace(clips, shown=shown), fold, 0, Path())
    assert (logits[:, 0] == -1).all() and logits.shape == (8, 12)

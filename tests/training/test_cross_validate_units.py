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
from dface_hf.training.cross_validate_units import cross_validate_units, unit_document, unit_table
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
    assert models["ac4au"]["backbone"] == "random" and "backbone" not in models["ac4au-no-pretraining"]
    assert models["ac4au-bce"]["config"]["unit_loss"] == "bce"
    told = [json.loads(path.read_text())["logits"] for path in files]
    assert len({json.dumps(one) for one in told}) >= 3 * len(rows) - 3  # only all ones repeats itself


def test_the_pooled_mean_and_that_of_corpora(clips):
    logits = np.where(np.array(clips.corpora) == "a", 1.0, -1.0)[None, :, None] * np.ones((2, 1, 12))
    logits[1] = np.where(clips.shown > 0, 1.0, -1.0)
    found = unit_document(logits, clips)
    of_a = np.array(clips.corpora) == "a"
    there = clips.shown[of_a].sum(0)
    by_hand = np.mean(2 * there / (of_a.sum() + clips.shown.sum(0)))
    assert found["f1"] == pytest.approx((by_hand + 1) / 2) and found["n"] == len(clips)
    assert found["sd"]["f1"] == pytest.approx(np.std([by_hand, 1.0], ddof=1))
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
    with pytest.raises(ValueError, match="holds a run with other data"):
        cross_validate_units(unit_clips(seed=5), [Counting()], config, tmp_path, resume=True)


def test_rows_can_be_added_but_not_changed(clips, tmp_path):
    cross_validate_units(clips, [AllOnes()], LODO, tmp_path)
    first = row_named("ststnet", QUICK)
    document = cross_validate_units(clips, [AllOnes(), first], LODO, tmp_path, resume=True)
    assert list(document["rows"]) == ["all-ones", "ststnet"]
    with pytest.raises(ValueError, match="ststnet was made otherwise"):
        cross_validate_units(
            clips, [row_named("ststnet", QUICK | {"epochs": 2})], LODO, tmp_path, resume=True
        )


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

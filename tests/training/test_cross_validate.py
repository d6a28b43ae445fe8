"""Cross-validation: what is trained on what, what is written, and what an interruption does not change."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from dface_hf import DFaceConfig, DFaceForVideoClassification
from dface_hf.actions import class_prompts
from dface_hf.cli.cross_validating import _print_table as print_table
from dface_hf.data import CLIP_FEATURES
from dface_hf.data.protocols import make_folds
from dface_hf.faces.features import lbp_top as patterns
from dface_hf.faces.features import mdmo as motion_vectors
from dface_hf.faces.features import resample_frames
from dface_hf.faces.flow import grey_image
from dface_hf.metrics import read_log, recognition_scores
from dface_hf.training import cross_validate as module
from dface_hf.training.baselines import BASELINES
from dface_hf.training.cross_validate import CrossValidationConfig, cross_validate
from dface_hf.training.cross_validate_clips import read_clips
from dface_hf.training.cross_validate_features import FEATURES
from dface_hf.training.cross_validate_heads import (
    ABLATIONS,
    DFACE_RECIPE,
    HeadsOnTokens,
    TokenHeads,
    TrainedTokenizer,
    described_class,
    without,
)
from dface_hf.training.cross_validate_models import MODELS, Estimator, FlowNetwork, baseline_named
from dface_hf.training.cross_validate_outcome import Outcome
from dface_hf.training.cross_validate_scores import score_rows

from ..conftest import TINY
from ..data.clip_sets import rows as clip_rows
from ..data.clip_sets import write_clips
from .prepared import write_brightening, write_keyframes

ROOT = Path(__file__).resolve().parents[2]
QUICK = replace(DFACE_RECIPE, epochs=3, learning_rate=3e-3)
ONE_SEED = CrossValidationConfig(seeds=(0,), resamples=50)


def template(scheme="composite3"):
    """A small untrained tokenizer with heads and, for each description, an anchor."""
    torch.manual_seed(0)
    texts = class_prompts(scheme)
    labels = {0: "negative", 1: "positive", 2: "surprise"} | ({3: "others"} if scheme == "default4" else {})
    config = DFaceConfig(
        tokenizer_config=TINY,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=12,
        id2label=labels,
        others_label=labels.get(3),
    )
    model = DFaceForVideoClassification(config).eval()
    model.dface.set_text_anchors(torch.eye(12)[: len(texts)], texts, "none")
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 clips of 4 subjects, each of whom shows all three classes."""
    return write_clips(tmp_path_factory.mktemp("prepared") / "clips", frames=12)


@pytest.fixture(scope="module")
def table(folder):
    return read_clips([folder], "composite3")


def heads(table, recipe=QUICK, **options) -> TokenHeads:
    """D-FACE on tokens that tell the class in half of their cells; chance fills the others."""
    ids = torch.randint(8, 32, (len(table), 16), generator=torch.Generator().manual_seed(0))
    ids[:, :8] = torch.from_numpy(table.clips.labels)[:, None]
    return TokenHeads("dface", template(), recipe, _read={table: [ids]}, **options)


def ststnet(epochs=2) -> FlowNetwork:
    return baseline_named("ststnet", {"epochs": epochs})


def test_clips_are_read_with_their_names_and_flow(table):
    assert table.names[:2] == (("look-alike", "s0", "c0"), ("look-alike", "s1", "c1"))
    assert table.clips.labels.tolist() == [0, 1, 2] * 4 and not table.left_out and not table.reselected
    assert table.flows[0].shape == (12, 32, 32, 2) and table.flows[0] is table.flows[1]


def test_files_and_scores_say_the_same(table, tmp_path):
    config = CrossValidationConfig(seeds=(0, 1), oracle=True, resamples=50)
    document = cross_validate(table, [ststnet(3), baseline_named("svm", {})], config, tmp_path)
    assert document == json.loads((tmp_path / "scores.json").read_text())
    names = {"predictions-seed0.txt", "predictions-seed1.txt", "predictions-svm-seed0.txt"}
    assert names == {path.name for path in tmp_path.glob("*.txt")}
    each = []
    for seed in (0, 1):
        log = read_log(tmp_path / f"predictions-seed{seed}.txt")
        assert {one.key for one in log} == set(table.names)
        each.append(recognition_scores([one.truth for one in log], [one.predicted for one in log], 3))
    row, svm = document["rows"]["ststnet"], document["rows"]["svm"]
    for score in ("uf1", "uar", "accuracy"):
        values = [one[score] for one in each]
        assert row[score] == pytest.approx(np.mean(values))
        assert row["sd"][score] == pytest.approx(np.std(values, ddof=1))
        low, high = row["intervals"][score]
        assert 0 <= low <= high <= 1
    assert row["oracle"]["accuracy"] >= row["accuracy"]
    assert "oracle" not in svm and "sd" not in svm and len(svm["runs"]) == 1
    assert row["per_subject"]["look-alike"]["s0"]["n"] == 3
    assert document["models"]["ststnet"]["recipe"]["epochs"] == 3 and document["folds"] == 4
    assert document["clips"]["per_class"] == {"look-alike": {"negative": 4, "positive": 4, "surprise": 4}}
    assert {"date", "machine", "versions"} <= set(document)
    shown = score_rows(document)
    assert shown["svm"]["clips"] == "12" and "±" in shown["ststnet"]["UF1"] and "±" not in shown["svm"]["UF1"]


def test_the_oracle_leaves_the_headline_as_it_is(table, tmp_path):
    plain, told = (
        cross_validate(table, [ststnet()], replace(ONE_SEED, oracle=oracle), tmp_path / str(oracle))
        for oracle in (False, True)
    )
    plain, told = plain["rows"]["ststnet"], told["rows"]["ststnet"]
    assert "oracle" in told and "oracle" not in plain
    assert plain["confusion"] == told["confusion"]


def test_class_head_and_descriptions_are_learned_from_tokens(table, tmp_path):
    one = heads(table, replace(QUICK, epochs=40, learning_rate=1e-2))
    document = cross_validate(table, [one, without(one, "no-edclip")], ONE_SEED, tmp_path)
    assert list(document["rows"]) == ["dface", "dface-edclip", "dface-no-edclip"]
    assert min(row["uf1"] for row in document["rows"].values()) > 0.9


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablations_change_one_thing(table, ablation, tmp_path):
    one = heads(table)
    changed = without(one, ablation)
    before, after = one.template.config, changed.template.config
    for field, value in ABLATIONS[ablation].items():
        assert getattr(after, field) == value != getattr(before, field)
    assert changed.tokens(table)[0] is one.tokens(table)[0]
    for name, value in one.template.dface.tokenizer.state_dict().items():
        assert torch.equal(value, changed.template.dface.tokenizer.state_dict()[name]), name
    folds = make_folds("kfold", table.corpora, table.subjects, 2)
    outcome = changed.run(table, folds, (0,), tmp_path, False)[f"dface-{ablation}"]
    assert outcome.logits.shape == (1, 12, 3) and np.isfinite(outcome.logits).all()


@pytest.mark.parametrize("kind", ["dface", "trained", "ststnet", "svm", "svm-mdmo", "svm-lbp-top"])
def test_held_out_labels_change_nothing(table, kind, tmp_path):
    """Class weights, scalers and all else are fitted on training clips."""
    fold = make_folds("loso", table.corpora, table.subjects)[1]
    labels = table.clips.labels.copy()
    labels[fold.test] = np.roll(labels[fold.test], 1)
    assert (labels != table.clips.labels).any()
    other = replace(table, clips=replace(table.clips, labels=labels))
    one = heads(table)
    made = {
        "dface": replace(one, _read={table: one.tokens(table), other: one.tokens(table)}),
        "trained": TrainedTokenizer("dface", one.template, replace(QUICK, epochs=1)),
    }
    made = made[kind] if kind in made else baseline_named(kind, {"epochs": 2})
    found = []
    for number, clips in enumerate((table, other)):
        (tmp_path / str(number)).mkdir()
        found.append(made.run(clips, [fold], (0,), tmp_path / str(number), False))
    for row, outcome in found[0].items():
        assert np.array_equal(outcome.predicted[:, fold.test], found[1][row].predicted[:, fold.test]), row
        if outcome.logits is not None:
            assert np.array_equal(outcome.logits[:, fold.test], found[1][row].logits[:, fold.test]), row


def test_a_tokenizer_can_learn_along(table, tmp_path):
    made = TrainedTokenizer("dface", template(), replace(QUICK, epochs=1))
    before = {name: value.clone() for name, value in made.template.state_dict().items()}
    folds = make_folds("kfold", table.corpora, table.subjects, 2)
    rows = made.run(table, folds, (0,), tmp_path, False)
    assert list(rows) == ["dface", "dface-edclip"] and rows["dface"].logits.shape == (1, 12, 3)
    for name, value in made.template.state_dict().items():  # each fold starts from the same tokenizer
        assert torch.equal(value, before[name]), name
    (tmp_path / "seed-0-fold-001.npz").unlink()  # as if it had been killed in the second fold
    again = made.run(table, folds, (0,), tmp_path, False)
    assert np.array_equal(again["dface"].logits, rows["dface"].logits)


def test_outcomes_on_a_full_disk_leave_nothing(tmp_path):
    path, limit = tmp_path / "svm.npz", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # as if the disk were full
    try:
        with pytest.raises(OSError, match="svm.npz: cannot be written"):
            Outcome(np.zeros((9, 9999))).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_ends_with_equal_numbers(table, tmp_path, monkeypatch):
    models = [ststnet(), heads(table)]
    whole = cross_validate(table, models, ONE_SEED, tmp_path / "whole")
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(TokenHeads, "run", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        cross_validate(table, models, ONE_SEED, tmp_path / "broken")
    assert not (tmp_path / "broken" / "scores.json").exists()
    with pytest.raises(ValueError, match="holds a run; give --resume"):
        cross_validate(table, models, ONE_SEED, tmp_path / "broken")
    with monkeypatch.context() as context:  # what is finished is not trained again
        context.setattr(FlowNetwork, "run", None)
        resumed = cross_validate(table, models, ONE_SEED, tmp_path / "broken", resume=True)
    for name, row in whole["rows"].items():
        kept = resumed["rows"][name]
        assert {**row, "seconds": 0} == {**kept, "seconds": 0}, name
    for path in (tmp_path / "whole").glob("*.txt"):
        assert path.read_bytes() == (tmp_path / "broken" / path.name).read_bytes()
    with pytest.raises(ValueError, match="holds a run with other seeds; give the same options"):
        cross_validate(table, models, replace(ONE_SEED, seeds=(3,)), tmp_path / "broken", resume=True)
    with pytest.raises(ValueError, match="other models"):
        cross_validate(table, models[:1], ONE_SEED, tmp_path / "broken", resume=True)


def test_a_model_that_was_killed_goes_on_from_its_checkpoint(table, tmp_path, monkeypatch):
    from dface_hf.training import fold_ensemble

    class Killed(Exception):
        pass

    whole = cross_validate(table, [ststnet(14)], ONE_SEED, tmp_path / "whole")
    train_epoch, done = fold_ensemble._Run._train_epoch, []

    def dying(run):
        done.append(run.epoch)
        if len(done) == 13:  # checkpoints are written every tenth epoch
            raise Killed
        train_epoch(run)

    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(fold_ensemble._Run, "_train_epoch", dying)
        cross_validate(table, [ststnet(14)], ONE_SEED, tmp_path / "broken")
    resumed = cross_validate(table, [ststnet(14)], ONE_SEED, tmp_path / "broken", resume=True)
    row = resumed["rows"]["ststnet"]
    assert row["seconds"] is None  # nobody knows what was spent before
    assert row["confusion"] == whole["rows"]["ststnet"]["confusion"]
    kept = [Outcome.load(tmp_path / name / "outcomes" / "ststnet.npz").logits for name in ("whole", "broken")]
    assert np.array_equal(*kept)
    assert not list((tmp_path / "broken" / "outcomes").glob("*.partial"))


def test_the_largest_output_is_a_class():
    model = HeadsOnTokens(template("default4").eval())
    ids = torch.randint(0, 32, (50, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain, found = model.model(action_ids=ids), model(action_ids=ids).logits
    assert found.shape == (50, 7)
    assert torch.equal(found.argmax(-1), plain.logits.argmax(-1))
    torch.testing.assert_close(found[:, :4].softmax(-1), plain.logits.softmax(-1))
    torch.testing.assert_close(found[:, 4:], plain.similarities)


def test_who_resembles_no_description_is_among_the_others():
    config = template("default4").config
    cosines = np.array([[0.9, 0.1, 0.3], [0.1, 0.19, -0.5], [-0.2, 0.3, 0.29]])
    assert described_class(cosines, config).tolist() == [0, 3, 1]
    assert described_class(cosines, template("composite3").config).tolist() == [0, 1, 1]


def test_other_keyframes_are_for_training_only(tmp_path):
    folder = write_brightening(tmp_path / "clips")
    annotated = read_clips([folder], "composite3")
    table = read_clips([folder], "composite3", reselect=True)
    assert table.reselected and table.moved == 11 and len(table.training) == len(table)
    assert annotated.keyframes[:2].tolist() == [[10, 13, 13], [10, 50, 50]]
    assert table.keyframes[:2].tolist() == [[10, 13, 13], [10, 48, 50]]  # flat up to 13: the first of equals
    assert np.array_equal(table.clips.pairs.apex, annotated.clips.pairs.apex)
    assert annotated.moved == 0 and not annotated.reselected


@pytest.mark.parametrize("name", ["ststnet", "svm", "svm-mdmo"])
def test_what_is_tested_keeps_its_keyframes(table, name, tmp_path):
    """Other pairs to train on change the model; with equal ones nothing changes."""
    fold = make_folds("loso", table.corpora, table.subjects)[0]
    equal = replace(table, training=replace(table.training, apex=table.training.apex.copy()))
    noise = np.random.default_rng(0).integers(0, 256, table.training.apex.shape, np.uint8)
    noisy = replace(table, training=replace(table.training, apex=noise))
    assert equal.reselected and noisy.reselected
    made, found = baseline_named(name, {"epochs": 2}), []
    for part, clips in enumerate((table, equal, noisy)):
        (tmp_path / str(part)).mkdir()
        found.append(made.run(clips, [fold], (0,), tmp_path / str(part), False)[name])
    assert np.array_equal(found[0].predicted[:, fold.test], found[1].predicted[:, fold.test])
    if found[0].logits is not None:
        assert np.array_equal(found[0].logits, found[1].logits)
        assert not np.array_equal(found[0].logits, found[2].logits)


def test_features_of_estimators(table):
    flow, mdmo, lbp_top = (FEATURES[name].read(table)[0] for name in ("svm", "svm-mdmo", "svm-lbp-top"))
    assert flow.shape == (12, 3 * 28 * 28) and mdmo.shape == (12, 72) and lbp_top.shape == (12, 1200)
    np.testing.assert_allclose(mdmo[3], motion_vectors(table.flows[0][3]))
    row = clip_rows(4)[3]
    video = np.stack([grey_image(np.asarray(frame)) for frame in row["frames"][2:9]])  # onset to offset
    np.testing.assert_array_equal(lbp_top[3], patterns(resample_frames(video, 10)))
    later = replace(table, training=replace(table.training), keyframes=table.annotated + [1, 0, 0])
    before, after = FEATURES["svm-lbp-top"].read(later)
    assert np.array_equal(before, lbp_top) and not np.array_equal(after, lbp_top)


def test_who_cannot_run_is_told_before_anyone_is_trained(tmp_path):
    folder = write_keyframes(tmp_path / "clips")
    table = read_clips([folder], "composite3")
    models = [ststnet(), baseline_named("svm-lbp-top", {})]
    with pytest.raises(ValueError, match="clip look-alike/c0 holds keyframes only, and LBP-TOP reads all"):
        cross_validate(table, models, ONE_SEED, tmp_path / "cv")
    trained = [ststnet(), TrainedTokenizer("dface", template(), QUICK)]
    with pytest.raises(ValueError, match="no oracle epoch"):
        cross_validate(table, trained, replace(ONE_SEED, oracle=True), tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_what_is_left_out_is_listed(tmp_path):
    folder = write_clips(tmp_path / "clips", emotions=("disgust", "happiness", "surprise", "others"))
    skipped = {"row": 5, "clip": "sub01/EP01", "reason": "no face found"}
    report = {"corpus": "look-alike", "skipped": [skipped], "notes": []}
    (tmp_path / "clips" / "report.json").write_text(json.dumps(report))
    table = read_clips([folder], "composite3")
    reasons = [one["reason"] for one in table.left_out]
    assert reasons == ["row 5: no face found"] + ["others has no class in composite3"] * 3
    assert len(table) == 9 and table.left_out[1]["clip"] == "c3"
    assert [name[2] for name in table.names[:4]] == ["c0", "c1", "c2", "c4"]
    assert table.clips.labels[:4].tolist() == [0, 1, 2, 0]


def test_the_composite_leaves_out_what_it_does_not_have(tmp_path, capsys):
    """Of CASME II, fear is negative in composite3 and not in MEGC's list."""
    found = clip_rows(12, ("disgust", "happiness", "surprise", "fear"))
    for number, row in enumerate(found):
        row["corpus"] = ("casme2", "samm", "elsewhere")[number // 4]
        row["clip_id"] = f"{row['subject']}/{row['clip_id']}"
    Dataset.from_list(found, features=CLIP_FEATURES).to_parquet(tmp_path / "part.parquet")
    table = read_clips([tmp_path], "composite3", composite=True)
    assert table.corpora == ["casme2"] * 3 + ["samm"] * 4
    assert table.clips.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert [row["clip_id"] for row in table.rows()] == [name[2] for name in table.names]
    reasons = [(one["clip"], one["reason"]) for one in table.left_out]
    assert reasons[0] == ("s3/c3", "not in the composite of MEGC2019") and len(reasons) == 5
    assert table.composite.startswith("incomplete: MEGC2019 composite: casme2 has 1/1/1 clips")
    config = replace(ONE_SEED, protocol="composite", seeds=(0, 1))
    document = cross_validate(table, [Estimator("svm")], config, tmp_path / "cv")
    print_table(document)
    told = capsys.readouterr().out
    assert "| svm, samm |" in told and "seeds" not in told, "an estimator makes one run"
    assert document["composite"] == table.composite and document["folds"] == 7
    log = (tmp_path / "cv" / "predictions-seed0.txt").read_text().split("\n")
    assert log[0] == "casme2 s0" and log[1].startswith("c0 0 "), "as MEGC writes them: no subject in the name"
    with pytest.raises(ValueError, match="the composite has the classes of composite3, not of default4"):
        read_clips([tmp_path], "default4", composite=True)


def test_bad_input_is_one_line(folder, table, tmp_path):
    with pytest.raises(ValueError, match="clip look-alike/s0/c0 is in .* and in .*; give each clip once"):
        read_clips([folder, folder], "composite3")
    with pytest.raises(ValueError, match="LICENSE: is a file; give a folder"):
        cross_validate(table, [ststnet()], ONE_SEED, ROOT / "LICENSE")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no .parquet file"):
        read_clips([tmp_path / "empty"], "composite3")
    with pytest.raises(ValueError, match="unknown class scheme 'six'; known: composite3"):
        read_clips([folder], "six")
    with pytest.raises(ValueError, match="unknown model 'resnet'; known: dface, off-apexnet"):
        baseline_named("resnet", {})
    with pytest.raises(ValueError, match="unknown protocol 'loo'; known: loso"):
        cross_validate(table, [ststnet()], replace(ONE_SEED, protocol="loo"), tmp_path)
    with pytest.raises(ValueError, match="2 corpora or more"):
        cross_validate(table, [ststnet()], replace(ONE_SEED, protocol="lodo"), tmp_path)
    with pytest.raises(ValueError, match="each once"):
        cross_validate(table, [ststnet(), ststnet()], ONE_SEED, tmp_path)
    with pytest.raises(ValueError, match="seeds .* must be different"):
        CrossValidationConfig(seeds=(1, 1))
    with pytest.raises(ValueError, match="unknown ablation 'all-of-it'; known: mean-pooling"):
        without(heads(table), "all-of-it")
    assert set(BASELINES) < set(MODELS) and not (tmp_path / "plan.json").exists()


def test_folds_that_cannot_be_trained_are_refused(table, tmp_path):
    alone = tuple(("look-alike", "s0", name[2]) for name in table.names)
    with pytest.raises(ValueError, match="2 subjects or more"):
        cross_validate(replace(table, names=alone), [ststnet()], ONE_SEED, tmp_path)
    other = np.where(np.arange(12) % 4 == 0, 2, 1)  # s0 shows surprise, all others the same
    clips = replace(table.clips, labels=other)
    with pytest.raises(ValueError, match="fold 'look-alike s0' trains on class positive alone"):
        cross_validate(replace(table, clips=clips), [ststnet()], ONE_SEED, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_class_that_one_subject_alone_shows_is_not_learned_where_that_subject_is_held_out(table, tmp_path):
    labels = np.array([2, 1, 0, 1, 2, 0, 1, 0, 2, 1, 0, 1])  # only s0 shows surprise
    table = replace(table, clips=replace(table.clips, labels=labels))
    document = cross_validate(table, [ststnet(), heads(table)], ONE_SEED, tmp_path)
    assert document["not learned"] == {"look-alike s0": ["surprise"]}
    assert document["rows"]["ststnet"]["n"] == 12 and 0 <= document["rows"]["dface"]["uf1"] < 1


def test_a_corpus_is_left_out_in_turn(table, tmp_path):
    names = tuple(("ab"[int(subject[1]) // 2], subject, clip) for _, subject, clip in table.names)
    document = cross_validate(
        replace(table, names=names), [heads(table), ststnet()], replace(ONE_SEED, protocol="lodo"), tmp_path
    )
    assert document["folds"] == 2 and document["protocol"] == "lodo"
    for row in document["rows"].values():
        assert row["n"] == 12 and {name: part["n"] for name, part in row["per_corpus"].items()} == {
            "a": 6,
            "b": 6,
        }


def test_several_processes_are_refused(table, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="launched as 2 processes, but this training runs in one"):
        cross_validate(table, [ststnet()], ONE_SEED, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_subject_on_both_sides_is_refused(table, tmp_path, monkeypatch):
    folds = make_folds("loso", table.corpora, table.subjects)
    folds[0] = replace(folds[0], train=np.arange(12))
    monkeypatch.setattr(module, "make_folds", lambda *arguments: folds)
    with pytest.raises(ValueError, match="subject 'look-alike s0' is in both train and test"):
        cross_validate(table, [ststnet()], ONE_SEED, tmp_path)

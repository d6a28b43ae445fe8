import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from dface_hf.metrics import class_scores, recognition_scores, scores_of_runs, scores_with_oracle

MEGC_COUNTS = (250, 109, 83)


def predictions(seed=0, count=300, classes=3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    return truth, np.where(rng.random(count) < 0.6, truth, rng.integers(0, classes, count))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_are_those_of_scikit_learn(classes):
    truth, predicted = predictions(classes, classes=classes)
    scores, known = recognition_scores(truth, predicted, classes), {"labels": range(classes)}
    average = known | {"average": "macro", "zero_division": 0}
    assert scores["uf1"] == pytest.approx(f1_score(truth, predicted, **average))
    assert scores["uar"] == pytest.approx(recall_score(truth, predicted, **average))
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert scores["confusion"] == confusion_matrix(truth, predicted, **known).tolist()
    assert scores["n"] == 300 and scores["per_corpus"] == {}


def test_uf1_is_pooled_and_no_mean_of_folds():
    # Two subjects with one class each: alone, each misses the other's class altogether.
    truth, predicted, subjects = [0, 0, 1, 1], [0, 0, 1, 0], np.array(["a", "a", "b", "b"])
    pooled = recognition_scores(truth, predicted, 2)["uf1"]
    assert pooled == pytest.approx((4 / 5 + 2 / 3) / 2)
    folds = [
        recognition_scores(np.array(truth)[subjects == who], np.array(predicted)[subjects == who], 2)["uf1"]
        for who in "ab"
    ]
    assert np.mean(folds) == pytest.approx((1 / 2 + (0 + 2 / 3) / 2) / 2)
    assert pooled > np.mean(folds) + 0.3


def test_uar_is_recall_and_not_precision():
    scores = recognition_scores([0, 0, 0, 0, 1], [0, 0, 1, 1, 1], 2)
    assert scores["uar"] == pytest.approx((2 / 4 + 1) / 2)
    assert np.mean(class_scores(scores["confusion"])["precision"]) == pytest.approx((1 + 1 / 3) / 2)


def test_the_majority_class_of_megc_2019():
    truth = np.repeat([0, 1, 2], MEGC_COUNTS)
    scores = recognition_scores(truth, np.zeros(442, int), ("negative", "positive", "surprise"))
    assert round(scores["uf1"], 4) == 0.2408 and round(scores["uar"], 4) == 0.3333
    assert scores["accuracy"] == pytest.approx(250 / 442)


def test_a_class_without_clips_counts_nothing():
    scores = recognition_scores([0, 1], [0, 1], 3)
    assert scores["uf1"] == scores["uar"] == pytest.approx(2 / 3) and scores["accuracy"] == 1
    assert class_scores(scores["confusion"]) == {
        "f1": [1, 1, 0],
        "recall": [1, 1, 0],
        "precision": [1, 1, 0],
        "n": [1, 1, 0],
    }
    assert recognition_scores([0, 0], [2, 2], 3)["uf1"] == 0  # nothing right, one class never there


def test_corpora_are_parts_of_the_same_predictions():
    truth, predicted = predictions()
    corpora = np.array(["x", "y", "z"])[np.random.default_rng(1).integers(0, 3, 300)]
    scores = recognition_scores(truth, predicted, 3, corpora.tolist())
    assert list(scores["per_corpus"]) == list(dict.fromkeys(corpora.tolist()))
    assert (
        np.sum([one["confusion"] for one in scores["per_corpus"].values()], axis=0).tolist()
        == (scores["confusion"])
    )
    for name, part in scores["per_corpus"].items():
        alone = recognition_scores(truth[corpora == name], predicted[corpora == name], 3)
        assert part == {key: alone[key] for key in part} and part["n"] == (corpora == name).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1, 3], [0, 1, 1], 3), "truth: class 3 in row 2; there are 3 classes, 0 to 2"),
        (([0, 1], [0, -1], 3), "predicted: class -1 in row 1"),
        (([0, 1], [0], 3), "2 true classes but 1 predicted"),
        (([], [], 3), r"truth: shape \(0,\)"),
        (([[0]], [[0]], 3), r"truth: shape \(1, 1\)"),
        (([0.5], [0], 3), "truth: holds float64, such as .*0.5"),
        ((["a"], ["a"], 3), "truth: holds <U1"),
        (([0], [0], 0), "labels=0; expected the names"),
        (([0], [0], ()), r"labels=\(\); expected the names"),
        (([0], [0], 3, ["a", "b"]), "2 corpora for 1 clips"),
    ],
)
def test_bad_predictions_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        recognition_scores(*arguments)


def test_runs_are_scored_one_by_one_and_averaged():
    truth, first = predictions(0)
    runs = np.stack([first, truth])
    corpora = np.where(np.arange(300) < 100, "x", "y")
    scores = scores_of_runs(truth, runs, 3, corpora)
    alone = [recognition_scores(truth, run, 3, corpora) for run in runs]
    assert scores["uf1"] == pytest.approx((alone[0]["uf1"] + 1) / 2)
    assert scores["sd"]["uf1"] == pytest.approx((1 - alone[0]["uf1"]) / np.sqrt(2))
    assert scores["runs"][1] == {"uf1": 1, "uar": 1, "accuracy": 1}
    assert scores["per_corpus"]["x"]["uar"] == pytest.approx((alone[0]["per_corpus"]["x"]["uar"] + 1) / 2)
    assert np.sum(scores["confusion"]) == 600 and scores["n"] == 300
    one = scores_of_runs(truth, [first], 3)
    assert "sd" not in one and one["uf1"] == alone[0]["uf1"]
    for runs in ([], first):
        with pytest.raises(ValueError, match="runs: shape"):
            scores_of_runs(truth, runs, 3)


def test_the_oracle_is_a_column_and_the_last_epoch_the_headline():
    truth = np.array([0, 1, 0, 1])
    by_epoch = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    scores = scores_with_oracle(truth, by_epoch, 2, folds=["a", "a", "b", "b"])
    assert scores["uf1"] == recognition_scores(truth, by_epoch[-1], 2)["uf1"] < 0.4
    assert scores["oracle"] == {"uf1": 1, "uar": 1, "accuracy": 1}  # epoch 1 for a, epoch 2 for b
    whole = scores_with_oracle(truth, by_epoch, 2)
    assert whole["oracle"]["uf1"] == pytest.approx(0.5)  # one epoch for all
    assert scores_with_oracle(truth, by_epoch[-1:], 2, ["a"] * 4)["oracle"]["uf1"] == scores["uf1"]


def test_the_oracle_takes_the_first_of_equals():
    truth, by_epoch = np.array([0, 1]), np.array([[0, 0], [1, 1]])
    scores = scores_with_oracle(truth, by_epoch, 2, ["a", "a"])
    assert scores["oracle"]["uf1"] == recognition_scores(truth, by_epoch[0], 2)["uf1"]
    with pytest.raises(ValueError, match=r"by_epoch: shape \(2,\); expected \(epochs, 2\)"):
        scores_with_oracle(truth, [0, 1], 2)
    with pytest.raises(ValueError, match="1 folds for 2 clips"):
        scores_with_oracle(truth, by_epoch, 2, ["a"])

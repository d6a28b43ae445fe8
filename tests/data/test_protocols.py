import csv
from pathlib import Path

import numpy as np
import pytest

from dface_hf.data.protocols import (
    PROTOCOLS,
    Fold,
    check_folds,
    inner_folds,
    leave_one_corpus_out,
    leave_one_subject_out,
    make_folds,
    subject_k_fold,
)

MEGC = Path(__file__).resolve().parents[3] / "shared" / "data" / "megc2019" / "manifest.csv"
# Clips a class (negative, positive, surprise) and subjects: MEGC 2019 evaluation protocol.
MEGC_COUNTS = {"casme2": ((88, 32, 25), 24), "smic": ((70, 51, 43), 16), "samm": ((92, 26, 15), 28)}

FOLDS = {"loso": 21, "composite": 21, "kfold": 5, "lodo": 3}


def table(seed=0):
    """Clips of 3 corpora whose subjects share their numbers; 1 to 12 clips each, in mixed order."""
    rng = np.random.default_rng(seed)
    people = [(corpus, f"{number:02d}") for corpus in "abc" for number in range(7)]
    rows = [person for person in people for _ in range(rng.integers(1, 13))]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    return [corpus for corpus, _ in rows], [subject for _, subject in rows]


def partition(folds, count):
    """Every clip is tested once, and is on one side of each fold."""
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(count))
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(count))
        assert (np.diff(fold.train) > 0).all() and (np.diff(fold.test) > 0).all()
        assert fold.train.dtype.kind == fold.test.dtype.kind == "i"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_clip_is_tested_once_and_nobody_is_on_both_sides(protocol):
    corpora, subjects = table()
    folds = make_folds(protocol, corpora, subjects)
    partition(folds, len(corpora))
    check_folds(folds, corpora, subjects)
    assert len({fold.name for fold in folds}) == len(folds) == FOLDS[protocol]


def test_equal_numbers_in_two_corpora_are_two_people():
    folds = leave_one_subject_out(["b", "a", "b", "a"], ["1", "1", "1", "2"])
    assert [(fold.name, fold.test.tolist()) for fold in folds] == [
        ("b 1", [0, 2]),
        ("a 1", [1]),
        ("a 2", [3]),
    ]
    # Names that only look alike when glued together are two people, too.
    assert len(leave_one_subject_out(["a b", "a"], ["c", "b c"])) == 2


def test_subjects_may_be_numbers():
    assert [fold.name for fold in leave_one_subject_out(["a", "a"], [1, 2])] == ["a 1", "a 2"]


@pytest.mark.parametrize("k", [2, 5, 21])
def test_folds_are_balanced_in_clips(k):
    corpora, subjects = table()
    clips = np.unique([f"{c}/{s}" for c, s in zip(corpora, subjects, strict=True)], return_counts=True)[1]
    for seed in range(5):
        sizes = [len(fold.test) for fold in subject_k_fold(corpora, subjects, k, seed)]
        assert min(sizes) > 0 and max(sizes) - min(sizes) <= clips.max()


def test_the_seed_decides_who_is_together():
    corpora, subjects = table()
    tests = [
        [fold.test.tolist() for fold in subject_k_fold(corpora, subjects, 5, seed)] for seed in (3, 3, 4)
    ]
    assert tests[0] == tests[1] != tests[2]


def test_a_corpus_is_left_out_whole():
    folds = leave_one_corpus_out(["x", "y", "x", "z"])
    assert [(fold.name, fold.test.tolist()) for fold in folds] == [("x", [0, 2]), ("y", [1]), ("z", [3])]


def test_inner_folds_never_touch_the_test_part():
    corpora, subjects = table()
    for fold in leave_one_subject_out(corpora, subjects)[:3]:
        inner = inner_folds(fold, corpora, subjects, k=4, seed=1)
        assert np.array_equal(np.sort(np.concatenate([one.test for one in inner])), fold.train)
        check_folds(inner, corpora, subjects)
        for one in inner:
            assert not set(one.train) & set(fold.test) and one.name.startswith(fold.name)


def test_folds_do_not_depend_on_the_labels_or_on_the_global_seed():
    corpora, subjects = table()
    np.random.seed(1)
    first = subject_k_fold(corpora, subjects, 3, 0)
    np.random.seed(2)
    second = subject_k_fold(corpora, subjects, 3, 0)
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold("mine", np.array([0, 2]), np.array([1])), "mine: subject 'a 1' is in both train and test"),
        (Fold("mine", np.array([0, 1]), np.array([9])), r"mine: test row outside 0\.\.2"),
        (Fold("mine", np.array([-1]), np.array([0])), r"mine: train row outside 0\.\.2"),
        (Fold("mine", np.array([], int), np.array([2])), "mine: no clip in its train part"),
    ],
)
def test_a_bad_fold_is_named(fold, message):
    with pytest.raises(ValueError, match=message):
        check_folds([fold], ["a", "a", "a"], ["1", "1", "2"])


def test_a_clip_tested_twice_is_named():
    fold = Fold("mine", np.array([2]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"row 0 \(a 1\) is in the test part of 2 folds"):
        check_folds([fold, fold], ["a", "a", "a"], ["1", "1", "2"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_folds("cv", ["a"], ["1"]), "unknown protocol 'cv'; known: loso, kfold, lodo"),
        (lambda: make_folds("loso", [], []), "no clip"),
        (lambda: make_folds("loso", ["a", "a"], ["1", "1"]), "needs 2 subjects or more.*'a 1'"),
        (lambda: make_folds("lodo", ["a", "a"], ["1", "2"]), "needs 2 corpora or more.*'a'"),
        (lambda: make_folds("kfold", ["a", "a"], ["1", "2"], k=1), "k=1 folds of 2"),
        (lambda: make_folds("kfold", ["a", "a"], ["1", "2"], k=3), "k=3 folds of 2"),
        (lambda: make_folds("loso", ["a", "a"], ["1"]), "2 corpora but 1 subjects"),
        (lambda: make_folds("loso", ["a", "a", "a"], ["1", "2", None]), "row 2: no subject"),
        (lambda: make_folds("lodo", ["a", "b"], ["1", float("nan")]), "row 1: no subject"),
        (lambda: make_folds("lodo", ["a", ""], ["1", "2"]), "row 1: no corpus"),
    ],
)
def test_what_cannot_be_split_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(not MEGC.is_file(), reason="the MEGC 2019 table is not here")
def test_the_composite_has_the_published_counts_and_68_folds():
    with MEGC.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    corpora, subjects = [row["corpus"] for row in rows], [row["subject"] for row in rows]
    folds = leave_one_subject_out(corpora, subjects)
    assert len(rows) == 442 and len(folds) == 68
    partition(folds, 442)
    for corpus, (counts, people) in MEGC_COUNTS.items():
        labels = [int(row["label"]) for row in rows if row["corpus"] == corpus]
        assert tuple(np.bincount(labels)) == counts
        assert sum(fold.name.startswith(f"{corpus} ") for fold in folds) == people

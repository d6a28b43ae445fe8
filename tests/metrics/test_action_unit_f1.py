import numpy as np
import pytest
from sklearn.metrics import f1_score

from dface_hf.metrics import CD6ME_UNITS, au_scores, unit_f1

# Clips, and those with each of CD6ME_UNITS (Varanka et al., 2023). The six rows sum to 304 clips of AU 1,
# 280 of AU 2, 708 of AU 4 and so on.
CD6ME = {
    "casme": (189, (23, 17, 70, 0, 1, 4, 40, 3, 9, 23, 14, 13)),
    "casme2": (256, (26, 22, 130, 2, 13, 39, 13, 16, 34, 27, 16, 25)),
    "samm": (159, (6, 18, 23, 10, 3, 46, 5, 6, 28, 13, 4, 6)),
    "fourdme": (267, (46, 54, 102, 8, 25, 89, 1, 2, 53, 4, 6, 11)),
    "mmew": (300, (50, 41, 109, 70, 10, 47, 8, 38, 37, 17, 6, 11)),
    "casme3a": (860, (153, 128, 274, 44, 8, 27, 50, 10, 15, 193, 6, 20)),
}


def cd6me():
    """A table (2031, 12) with the published number of positives, and the corpus of each row."""
    tables = [np.arange(clips)[:, None] < np.array(positives) for clips, positives in CD6ME.values()]
    return np.concatenate(tables).astype(int), np.repeat(list(CD6ME), [clips for clips, _ in CD6ME.values()])


def test_saying_yes_to_everything_scores_17_77_on_cd6me():
    truth, corpora = cd6me()
    assert truth.shape == (2031, 12)
    assert truth.sum(0).tolist() == [304, 280, 708, 134, 60, 252, 117, 75, 176, 277, 52, 86]
    scores = au_scores(truth, np.ones_like(truth), corpora=corpora)
    assert round(100 * scores["f1"], 2) == 17.77 and scores["n"] == 2031
    by_hand = [np.mean([2 * p / (n + p) for p in positives]) for n, positives in CD6ME.values()]
    assert scores["f1_corpus_mean"] == pytest.approx(np.mean(by_hand))
    assert list(scores["per_corpus"].values()) == pytest.approx(by_hand)
    assert abs(scores["f1"] - scores["f1_corpus_mean"]) > 1e-4  # they are two numbers
    assert tuple(scores["per_unit"]) == CD6ME_UNITS


def test_a_unit_without_positives_counts_zero():
    truth, corpora = cd6me()
    perfect = au_scores(truth, truth, corpora=corpora)
    assert perfect["f1"] == 1
    assert perfect["per_corpus"]["casme"] == pytest.approx(11 / 12)  # CASME has no clip with AU 5
    assert perfect["f1_corpus_mean"] == pytest.approx(1 - 1 / 72)
    assert unit_f1([[0], [0]], [[0], [0]]) == unit_f1([[0], [0]], [[1], [0]]) == 0


def test_f1_is_that_of_scikit_learn_and_logits_are_cut_at_zero():
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 2, (50, 4)), rng.normal(size=(50, 4))
    expected = f1_score(truth, logits > 0, average=None)
    scores = au_scores(truth, logits, (1, 2, 4, 12))
    assert list(scores["per_unit"].values()) == pytest.approx(expected)
    assert scores["f1"] == pytest.approx(expected.mean())
    assert scores["f1_corpus_mean"] is None and scores["per_corpus"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]], [[1]], (1, 2)), r"predicted: shape \(1, 1\); expected \(n, 2\)"),
        (([[1, 0]], [[1, 0], [1, 1]], (1, 2)), "1 rows of truth but 2 predicted"),
        ((np.zeros((0, 2)), np.zeros((0, 2)), (1, 2)), r"truth: shape \(0, 2\)"),
        (([[1, 0]], [[np.nan, 0]], (1, 2)), "predicted: holds values that are no finite numbers"),
        (([[1, 0]], [["a", "b"]], (1, 2)), "predicted: holds values that are no finite numbers"),
        (([[1, 0]], [[1, 0]], (1, 2), ["a", "b"]), "2 corpora for 1 clips"),
    ],
)
def test_bad_tables_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        au_scores(*arguments)

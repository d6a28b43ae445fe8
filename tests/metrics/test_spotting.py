from itertools import permutations

import numpy as np
import pytest

from dface_hf.metrics import interval_overlaps, match_events, spotting_scores


def test_overlap_counts_frames_with_both_ends():
    overlaps = interval_overlaps([(10, 19), (5, 5)], [(10, 19), (15, 24), (20, 29), (5, 5)])
    assert overlaps.tolist() == [[1, 5 / 15, 0, 0], [0, 0, 0, 1]]
    assert interval_overlaps([], [(1, 2)]).shape == (0, 1)


def test_exactly_half_is_a_hit_and_less_is_none():
    assert match_events([(0, 9)], [(0, 4)]) == [(0, 0)]  # 5 of 10
    assert match_events([(0, 9)], [(0, 3)]) == []
    assert match_events([(0, 10)], [(0, 4)]) == []  # 5 of 11
    assert match_events([(0, 9)], [(0, 3)], threshold=0.4) == [(0, 0)]
    assert match_events([(0, 9)], [(0, 8)], threshold=1.0) == []


def test_every_interval_is_used_once():
    one = spotting_scores([[(0, 9)]], [[(0, 9), (1, 9), (0, 8)]])
    assert (one["hits"], one["true"], one["found"]) == (1, 1, 3)
    assert (one["precision"], one["recall"], one["f1"]) == (1 / 3, 1, 2 / 4)
    assert match_events([(0, 9)], [(1, 9), (0, 9)]) == [(0, 1)]  # the better one


def test_as_many_pairs_as_there_can_be_in_any_order():
    # Found (0, 9) fits (0, 9) best, but then nothing is left for the second found event.
    truth, found = [(0, 9), (0, 19)], [(0, 9), (0, 5)]
    for order in permutations(range(2)):
        pairs = match_events(truth, [found[j] for j in order])
        assert sorted((i, order[j]) for i, j in pairs) == [(0, 1), (1, 0)]


def test_counts_are_summed_over_videos_before_dividing():
    truth = [[(0, 9)], [(0, 9), (50, 59), (90, 99)], []]
    found = [[(0, 9)], [(200, 209)], [(7, 9)]]
    scores = spotting_scores(truth, found)
    assert (scores["hits"], scores["true"], scores["found"]) == (1, 4, 3)
    assert scores["f1"] == pytest.approx(2 / 7) and scores["f1"] != pytest.approx(np.mean([1, 0, 0]))
    # An event of another video is no match.
    assert spotting_scores([[(0, 9)], []], [[], [(0, 9)]])["hits"] == 0


def test_nothing_to_divide_by_is_zero():
    empty = {"f1": 0, "precision": 0, "recall": 0, "hits": 0, "true": 0, "found": 0}
    assert spotting_scores([[]], [[]]) == spotting_scores([], []) == empty
    assert spotting_scores([[(0, 9)]], [[]])["precision"] == 0
    assert spotting_scores([[(0, 9, 0)]], [[]], labels=3)["strs"] == 0


def test_strs_is_the_product_with_recognition_of_the_hits():
    truth = [[(0, 9, 0), (20, 29, 1)], [(0, 9, 2)]]
    found = [[(0, 9, 0), (20, 29, 0)], [(100, 109, 2)]]
    scores = spotting_scores(truth, found, labels=("negative", "positive", "surprise"))
    assert scores["f1"] == pytest.approx(4 / 6)
    assert scores["recognition_f1"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert scores["strs"] == pytest.approx(scores["f1"] * scores["recognition_f1"])
    # What was recognised but not found does not count.
    assert spotting_scores(truth[1:], found[1:], labels=3)["recognition_f1"] == 0
    assert "strs" not in spotting_scores([[(0, 9)]], [[(0, 9)]])


def test_a_true_event_of_no_class_counts_in_spotting_only():
    scores = spotting_scores([[(0, 9, -1), (20, 29, 1)]], [[(0, 9, 0), (20, 29, 1)]], labels=2)
    assert scores["f1"] == 1 and scores["recognition_f1"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[(0, 1, 0)]], [[(0, 1, -1)]], 0.5, 3), "found of video 0: class -1; there are 3 classes"),
        (([[]], []), "1 videos with true events but 0"),
        (([[(9, 0)]], [[]]), r"truth of video 0: interval \[9, 0\] ends before"),
        (([[], []], [[], [(0, 1, 2)]]), r"found of video 1: shape \(1, 3\) of int64; expected rows"),
        (([[(0, 1)]], [[]], 0.5, 3), r"truth of video 0: shape \(1, 2\).*\(onset, offset, class\)"),
        (([[(0, 1, 3)]], [[]], 0.5, 3), "truth of video 0: class 3; there are 3 classes, 0 to 2"),
        (([[(0.5, 1.5)]], [[]]), "truth of video 0: shape .* of float64"),
        (([[(0, 1), (2,)]], [[]]), "truth of video 0: rows of different lengths"),
        (([[]], [[]], 0.0), r"threshold=0.0 must lie in \(0, 1\]"),
        (([[]], [[]], 1.1), r"threshold=1.1 must lie in \(0, 1\]"),
    ],
)
def test_bad_events_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        spotting_scores(*arguments)

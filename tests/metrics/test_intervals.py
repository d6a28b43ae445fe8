import numpy as np
import pytest

from dface_hf.metrics import bootstrap_interval, paired_bootstrap, recognition_scores

TRUTH = np.repeat([0, 1, 2], (250, 109, 83))


def predicted(share, seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(TRUTH)) < share, TRUTH, rng.integers(0, 3, len(TRUTH)))


def test_interval_is_that_of_the_plain_loop():
    """The same draws, one by one, clip by clip."""
    guess = predicted(0.5, 0)
    fast = bootstrap_interval(TRUTH, guess, 3, resamples=300, seed=4)
    rng, scores = np.random.default_rng(4), []
    for rows in rng.integers(442, size=(300, 442)):
        scores.append(recognition_scores(TRUTH[rows], guess[rows], 3))
    for name in ("uf1", "uar", "accuracy"):
        assert fast[name] == pytest.approx(np.quantile([one[name] for one in scores], [0.025, 0.975]))


def test_the_width_is_that_of_theory():
    """Accuracy of n independent clips: a standard error of sqrt(p (1 - p) / n)."""
    guess = predicted(0.5, 1)
    share = (guess == TRUTH).mean()
    low, high = bootstrap_interval(TRUTH, guess, 3, seed=1)["accuracy"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(share * (1 - share) / 442), rel=0.06)
    assert (high + low) / 2 == pytest.approx(share, abs=0.005)


def test_subjects_are_drawn_whole():
    # 34 subjects who are right or wrong throughout: as uncertain as 34 clips, not as 442.
    subjects = np.arange(442) // 13
    guess = np.where(subjects % 2 == 0, TRUTH, (TRUTH + 1) % 3)
    clips = bootstrap_interval(TRUTH, guess, 3, seed=0)["accuracy"]
    people = bootstrap_interval(TRUTH, guess, 3, groups=subjects, seed=0)["accuracy"]
    assert np.ptp(people) / np.ptp(clips) == pytest.approx(np.sqrt(13), rel=0.1)
    named = [f"subject {number}" for number in subjects]
    assert bootstrap_interval(TRUTH, guess, 3, groups=named, seed=0)["accuracy"] == people
    alone = bootstrap_interval(TRUTH, guess, 3, groups=np.zeros(442, int))
    assert alone["accuracy"][0] == alone["accuracy"][1] == (guess == TRUTH).mean()


def test_seed_level_and_number_of_draws():
    guess = predicted(0.5, 2)
    same = [bootstrap_interval(TRUTH, guess, 3, seed=seed)["uf1"] for seed in (5, 5, 6)]
    assert same[0] == same[1] != same[2]
    narrow = bootstrap_interval(TRUTH, guess, 3, seed=5, level=0.5)["uf1"]
    assert same[0][0] < narrow[0] < narrow[1] < same[0][1]
    one = bootstrap_interval(TRUTH, guess, 3, resamples=1)["uf1"]
    assert one[0] == one[1]


def test_many_draws_are_made_in_blocks():
    # 442 clips, 2**21 numbers a block: 4744 draws.
    low, high = bootstrap_interval(TRUTH, predicted(0.5, 0), 3, resamples=10_000)["uf1"]
    few = bootstrap_interval(TRUTH, predicted(0.5, 0), 3)["uf1"]
    assert (low, high) != few and (low, high) == pytest.approx(few, abs=0.01)


def test_perfect_predictions_have_no_spread():
    assert bootstrap_interval(TRUTH, TRUTH, 3) == {"uf1": (1, 1), "uar": (1, 1), "accuracy": (1, 1)}


def test_several_runs_are_averaged_in_every_draw():
    runs = np.stack([predicted(0.5, seed) for seed in range(8)])
    single, mean = (bootstrap_interval(TRUTH, values, 3)["uf1"] for values in (runs[0], runs))
    assert bootstrap_interval(TRUTH, runs[:1], 3)["uf1"] == single
    scores = [recognition_scores(TRUTH, run, 3)["uf1"] for run in runs]
    assert mean[0] < np.mean(scores) < mean[1] and np.ptp(mean) < np.ptp(single)


def test_difference_has_sign_interval_and_p():
    good, bad = predicted(0.8, 0), predicted(0.3, 1)
    found = paired_bootstrap(TRUTH, good, bad, 3, seed=0)["uf1"]
    whole = [recognition_scores(TRUTH, guess, 3)["uf1"] for guess in (good, bad)]
    assert found["difference"] == pytest.approx(whole[0] - whole[1])
    assert 0 < found["low"] < found["difference"] < found["high"] and found["p"] == 2 / 2001
    back = paired_bootstrap(TRUTH, bad, good, 3, seed=0)["uf1"]
    assert back["difference"] == pytest.approx(-found["difference"])
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))
    assert back["p"] == found["p"]


def test_equal_predictions_differ_by_nothing():
    guess = predicted(0.5, 0)
    same = paired_bootstrap(TRUTH, guess, guess, 3)
    assert all(one == {"difference": 0, "low": 0, "high": 0, "p": 1} for one in same.values())


def test_pairing_matters():
    """Two lists that differ in a few clips: far surer than two unrelated ones of the same scores."""
    first = predicted(0.6, 0)
    second = first.copy()
    wrong = np.flatnonzero(first != TRUTH)[:15]
    second[wrong] = TRUTH[wrong]
    found = paired_bootstrap(TRUTH, second, first, 3)["accuracy"]
    assert found["difference"] == pytest.approx(15 / 442) and found["p"] < 0.01
    assert np.ptp(bootstrap_interval(TRUTH, first, 3)["accuracy"]) > 2 * (found["high"] - found["low"])


def test_p_is_uniform_where_nothing_differs():
    """Of tests of equally good predictions, about a tenth has p < 0.1."""
    p = [
        paired_bootstrap(TRUTH, predicted(0.5, 2 * i), predicted(0.5, 2 * i + 1), 3, resamples=200)["uf1"][
            "p"
        ]
        for i in range(200)
    ]
    assert 0.04 < np.mean(np.array(p) < 0.1) < 0.18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "resamples=0 must be at least 1"),
        ({"level": 1.0}, "level=1.0 must lie between 0 and 1"),
        ({"level": 0.0}, "level=0.0 must lie between 0 and 1"),
        ({"groups": ["a"]}, "1 groups for 442 clips"),
        ({"labels": 2}, "truth: class 2 in row 359"),
        ({"predicted": TRUTH[:5]}, r"442 true classes but predictions of shape \(1, 5\)"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(TRUTH, **({"predicted": TRUTH, "labels": 3} | options))

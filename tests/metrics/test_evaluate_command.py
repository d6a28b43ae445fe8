"""`dface evaluate`: what it prints and writes, with which exit code, and how it answers bad input."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from dface_hf.metrics import (
    Prediction,
    bootstrap_interval,
    paired_bootstrap,
    recognition_scores,
    write_log,
)


def clips(seed=0, share=0.6, classes=3):
    """60 clips of 6 subjects in 2 corpora."""
    truth = np.random.default_rng(99).integers(0, classes, 60)
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(60) < share, truth, rng.integers(0, classes, 60))
    return [
        Prediction(("casme2", "samm")[i // 30], f"sub{i // 10}", f"clip{i}", int(truth[i]), int(predicted[i]))
        for i in range(60)
    ]


@pytest.fixture
def dface(dface):
    """Runs the command in this process: exit code, stdout, stderr."""
    return partial(dface, "evaluate")


@pytest.fixture
def log(tmp_path):
    def write(name="log.txt", predictions=None, **options):
        write_log(tmp_path / name, predictions or clips(**options))
        return tmp_path / name

    return write


def columns(predictions):
    return [one.truth for one in predictions], [one.predicted for one in predictions]


def test_json_on_stdout_is_nothing_but_json(dface, log):
    code, out, err = dface("--log", log(), "--json", "-", "--bootstrap", 50, "--seed", 3)
    scores, rows = json.loads(out), clips()
    truth, predicted = columns(rows)
    expected = recognition_scores(truth, predicted, 3, [one.corpus for one in rows])
    assert code == 0 and err == ""
    assert {name: scores[name] for name in ("uf1", "uar", "accuracy", "n", "confusion")} == {
        name: expected[name] for name in ("uf1", "uar", "accuracy", "n", "confusion")
    }
    assert scores["labels"] == ["negative", "positive", "surprise"] and scores["logs"][0].endswith("log.txt")
    assert list(scores["per_corpus"]) == ["casme2", "samm"]
    for name, part in scores["per_corpus"].items():
        interval = part.pop("intervals")
        assert part == expected["per_corpus"][name] and interval["uf1"][0] < part["uf1"] < interval["uf1"][1]
    whole = bootstrap_interval(truth, predicted, 3, resamples=50, seed=3)
    assert scores["intervals"] == {name: list(values) for name, values in whole.items()}
    assert scores["bootstrap"] == {"resamples": 50, "seed": 3, "of": "clips", "level": 0.95}
    assert scores["per_subject"]["casme2"]["sub1"] == {
        "accuracy": np.mean(np.equal(truth, predicted)[10:20]),
        "n": 10,
    }


def test_the_table(dface, log):
    code, out, err = dface(log())
    scores = recognition_scores(*columns(clips()), 3)
    lines = out.splitlines()
    assert code == 0 and err == ""
    assert lines[0].split() == ["UF1", "UAR", "accuracy", "clips"]
    assert lines[1].startswith("all") and f"{scores['uf1']:.4f} [" in lines[1] and lines[1].endswith(" 60")
    assert lines[2].startswith("casme2") and lines[3].startswith("samm")
    assert "[95 % interval], 2000 draws of clips" in lines
    row = next(line for line in lines if line.startswith("negative")).split()
    assert list(map(int, row[-3:])) == scores["confusion"][0]


def test_every_output_at_once(dface, log, tmp_path):
    code, out, err = dface(log(), "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    assert code == 0 and err == "" and "UF1" in out
    assert json.loads((tmp_path / "a.json").read_text())["n"] == 60
    assert np.asarray(Image.open(tmp_path / "a.png").convert("L")).std() > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "log.txt"]


def test_no_draws_no_intervals(dface, log):
    scores = json.loads(dface(log(), "--bootstrap", 0, "--json", "-")[1])
    assert "intervals" not in scores and "bootstrap" not in scores
    assert "intervals" not in scores["per_corpus"]["samm"]
    assert "[" not in dface(log(), "--bootstrap", 0)[1]


def test_subjects_can_be_drawn(dface, log):
    rows = clips()
    scores = json.loads(dface(log(), "--resample", "subjects", "--bootstrap", 40, "--json", "-")[1])
    people = [one.key[:2] for one in rows]
    expected = bootstrap_interval(*columns(rows), 3, groups=people, resamples=40)
    assert scores["intervals"]["uar"] == list(expected["uar"]) and scores["bootstrap"]["of"] == "subjects"


def test_logs_of_the_same_clips_are_runs(dface, log):
    paths = [log(f"seed{seed}.txt", seed=seed) for seed in range(3)]
    reordered = log("seed1.txt", clips(seed=1)[::-1])
    assert reordered == paths[1]
    scores = json.loads(dface("--log", *paths, "--json", "-", "--bootstrap", 20)[1])
    each = [recognition_scores(*columns(clips(seed=seed)), 3)["uf1"] for seed in range(3)]
    assert [run["uf1"] for run in scores["runs"]] == pytest.approx(each)
    assert scores["uf1"] == pytest.approx(np.mean(each)) and scores["n"] == 60
    assert scores["sd"]["uf1"] == pytest.approx(np.std(each, ddof=1))
    assert scores["per_subject"]["samm"]["sub5"]["n"] == 10
    out = dface(*paths, "--bootstrap", 0)[1]
    assert "mean of 3 runs ±" in out and f"{np.mean(each):.4f} ± {np.std(each, ddof=1):.4f}" in out


def test_logs_of_different_clips_are_one_run(dface, log):
    rows = clips()
    paths = [log("casme2.txt", rows[:30]), log("samm.txt", rows[30:])]
    parts = json.loads(dface("--log", paths[0], "--log", paths[1], "--json", "-")[1])
    whole = json.loads(dface(log(), "--json", "-")[1])
    assert parts | {"logs": 0} == whole | {"logs": 0} and "runs" not in parts


def test_against_another_log(dface, log, tmp_path):
    ours, theirs = clips(share=0.8), clips(seed=5, share=0.3)
    code, out, err = dface(
        log("a.txt", ours), "--against", log("b.txt", theirs[::-1]), "--json", tmp_path / "c.json"
    )
    found = json.loads((tmp_path / "c.json").read_text())["against"]
    expected = paired_bootstrap(*columns(ours), columns(theirs)[1], 3)
    assert code == 0 and found.pop("log").endswith("b.txt") and found == expected
    assert f"{expected['uf1']['difference']:+.4f}" in out and f"p = {expected['uf1']['p']:.4f}" in out


def test_class_names(dface, log):
    path = log(classes=5)
    assert json.loads(dface(path, "--json", "-")[1])["labels"] == list("01234")
    named = json.loads(dface(path, "--json", "-", "--classes", "a, b,c,d,e")[1])
    assert named["labels"] == list("abcde")
    code, out, err = dface(path, "--json", "-", "--classes", "a,b,c,d,e,f")
    six = json.loads(out)
    assert code == 0 and err.strip() == "no clip of class f: it counts 0 in UF1 and UAR"
    assert six["uf1"] == pytest.approx(named["uf1"] * 5 / 6)
    binary = log("two.txt", classes=2)
    assert "no clip of class surprise" in dface(binary)[2]
    assert dface(binary, "--classes", "no,yes")[2] == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resample", "frames"), "--resample is 'frames'; choose clips or subjects"),
        (("--classes", "a,b"), "has class 2, but --classes names only 2 (0 to 1); name all classes"),
        (("--classes", "a,,b"), "--classes is 'a,,b'; give different names"),
        (("--classes", "a,a,b"), "--classes is 'a,a,b'; give different names"),
        (("--plot", "scores.txt"), "scores.txt: unknown kind of file '.txt'"),
        (("--json", "none/scores.json"), "none does not exist"),
        (("--against", "none.txt"), "none.txt: cannot be read"),
        (("none.txt",), "none.txt: cannot be read"),
        (("log.txt",), "log.txt is given twice"),
        (("--json", "log.txt"), "log.txt: is one of the clips"),
        (("--against", "log.txt", "--bootstrap", 0), "--against compares by bootstrap"),
    ],
)
def test_bad_usage_is_one_line(options, message, dface, log, tmp_path, monkeypatch):
    log()
    monkeypatch.chdir(tmp_path)
    code, out, err = dface("log.txt", *options)
    assert code == 2 and out == "" and message in " ".join(err.split())
    assert err.count("error: ") == 1 and len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]


@pytest.mark.parametrize(
    ("option", "value"), [("--bootstrap", -1), ("--bootstrap", 1_000_001), ("--seed", -1), ("--seed", "x")]
)
def test_numbers_out_of_range_are_refused(option, value, dface, log):
    code, out, err = dface(log(), option, value)
    assert code == 2 and out == "" and option in err


def test_bad_logs_are_named(dface, log, tmp_path):
    (tmp_path / "bad.txt").write_text("casme2 sub01\nEP02_01f 1 happy\n")
    code, out, err = dface(tmp_path / "bad.txt")
    assert code == 2 and err.strip().endswith(
        "bad.txt, line 2: class 'happy'; expected a whole number from 0, such as 2"
    )
    code, out, err = dface(log("a.txt"), log("b.txt", clips()[:50]))
    assert code == 2 and "b.txt: lacks clip samm/sub5/clip50 (and 9 more)" in err
    code, out, err = dface(log("a.txt"), "--against", log("b.txt", clips()[5:]))
    assert code == 2 and "b.txt: lacks clip casme2/sub0/clip0" in err
    code, out, err = dface()
    assert code == 2 and "give a prediction log" in err


def test_smallest_log(dface, log, tmp_path):
    path = log("one.txt", [Prediction("c", "s", "a", 0, 0)])
    code, out, err = dface(path, "--bootstrap", 1, "--plot", tmp_path / "one.png")
    assert code == 0 and "no clip of class positive" in err and (tmp_path / "one.png").exists()
    assert out.splitlines()[1].startswith("all  0.3333 [0.3333, 0.3333]")

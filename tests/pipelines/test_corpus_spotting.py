"""`dface spot`: a look-alike of CAS(ME)2 with long recordings, and a folder of own videos."""

import csv
import json
import shutil

import numpy as np
import pytest

from dface_hf.data.corpora import ExpressionInterval, LongVideo, read_corpus
from dface_hf.pipelines.corpus_spotting import (
    EventSearch,
    SpottedVideo,
    corpus_scores,
    event_table,
    spot_videos,
)

from ..data.releases import frames, workbook

FOLDERS = ("s15/15_0101disgustingteeth", "s15/15_0102eatingworms", "s16/16_0101disgustingteeth")


@pytest.fixture(scope="module")
def release(portrait, tmp_path_factory):
    """Three recordings: one with the event, one in which nothing happens, one without a face."""
    root, (pictures, event) = tmp_path_factory.mktemp("long"), portrait
    first = [number + 1 for number in event]
    rows = [(1, "disgust1_1", *first, "1+2", "surprise", "micro-expression", "surprise"),
            (2, "disgust1_1", 5, 10, 20, "4", "anger", "macro-expression", "anger"),
            (3, "disgust1_1", 5, 10, 20, "4", "anger", "micro-expression", "anger")]  # fmt: skip
    people = [(number, f"s{14 + number}", number) for number in (1, 2)]
    workbook(root / "code_final.xlsx", rows, "label", people=people, videos=[("0101", "disgust1")])
    grey = np.full((64, 64, 3), 90, np.uint8)
    for folder, some in zip(FOLDERS, (pictures, pictures[:40], [grey] * 30), strict=True):
        frames(root / "rawpic" / folder, range(1, len(some) + 1), "img{:03d}.jpg", some)
    return root


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_corpus_is_spotted_and_scored(dface, release, checkpoint, portrait, tmp_path):
    out = tmp_path / "spotted"
    code, printed, told = dface("spot", "casme2_long", "--root", release, "--out", out, "--model", checkpoint)
    assert (code, printed) == (0, f"{out}\n"), told
    document = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    micro, macro, both = (document["scores"][kind] for kind in ("micro", "macro", "both"))
    assert (micro["true"], micro["found"], micro["hits"], micro["f1"]) == (1, 1, 1, 1.0)
    assert (macro["true"], macro["found"], both["recall"]) == (1, 0, 0.5)
    assert both["f1"] == pytest.approx(2 / 3) and micro["strs"] == micro["recognition_f1"]
    assert document["videos"] == 3 and document["model"] == checkpoint.name
    assert "row 3" in document["skipped"][0] and "no folder" in document["skipped"][0]
    assert any(
        line.startswith("rawpic/s16/16_0101") and "no face found" in line for line in document["warnings"]
    )
    known = "2 micro-expressions are listed, in known releases of casme2_long 57:"
    assert document["warnings"][0].startswith(known)
    assert "no face found" in told and "1.0000" in told
    true, found, missed = rows_of(out / "events.csv")
    assert (true["source"], true["label"], true["match"], true["video"]) == (
        "true",
        "surprise",
        "1",
        "rawpic/" + FOLDERS[0],
    )
    assert abs(int(found["apex"]) - portrait[1][1]) <= 2 and found["match"] == "1"
    assert found["label"] in ("negative", "positive", "surprise", "others")
    assert (missed["kind"], missed["source"], missed["match"]) == ("macro", "true", "")


def test_an_interrupted_run_goes_on_and_other_options_are_refused(release, tmp_path):
    listing = read_corpus("casme2_long", release)
    first = spot_videos(listing, tmp_path, EventSearch(), workers=2)
    kept = [one.file.stat().st_mtime_ns for one in first]
    first[1].file.unlink()
    again = spot_videos(listing, tmp_path, EventSearch())
    assert [one.events for one in again] == [one.events for one in first]
    assert [one.file.stat().st_mtime_ns == before for one, before in zip(again, kept, strict=True)] == [
        True,
        False,
        True,
    ]
    assert not list(tmp_path.rglob("*partial*"))
    (pair,) = again[0].pairs("micro")
    assert [image.shape for image in pair] == [(128, 128, 3)] * 2 and (pair[0] != pair[1]).any()
    assert again[1].pairs("micro") == []
    with pytest.raises(ValueError, match="holds a run with sensitivity 1.0, not 2.0"):
        spot_videos(listing, tmp_path, EventSearch(sensitivity=2.0))


def test_own_videos_with_and_without_expressions(dface, clip, tmp_path):
    shutil.copy(clip, tmp_path / "a.mp4")
    text = "file_name,subject,onset,apex,offset,kind\na.mp4,anna,45,50,57,micro\na.mp4,anna,70,80,100,macro\n"
    (tmp_path / "metadata.csv").write_text(text)
    code, _, told = dface("spot", "folder", "--root", tmp_path, "--out", tmp_path / "o", "--recognise")
    assert code == 2 and "no annotated micro-expression is one of the model's classes" in told
    assert not (tmp_path / "o").exists(), "told before the videos are looked at"
    code, _, told = dface("spot", "folder", "--root", tmp_path, "--out", tmp_path / "o")
    assert code == 0, told
    assert [row["match"] for row in rows_of(tmp_path / "o" / "events.csv")] == ["1", "1", ""]
    assert "no expression is annotated" not in told
    (tmp_path / "metadata.csv").write_text("file_name\na.mp4\n")
    code, _, told = dface("spot", "folder", "--root", tmp_path, "--out", tmp_path / "o")
    assert code == 0 and "no expression is annotated" in told
    assert [row["source"] for row in rows_of(tmp_path / "o" / "events.csv")] == ["found"]


def test_a_corpus_of_short_clips_is_refused(dface, tmp_path):
    code, _, told = dface("spot", "faces", "--root", tmp_path, "--out", tmp_path / "o")
    assert code == 2 and "no video below it" in told
    (tmp_path / "v.mp4").touch()
    code, _, told = dface("spot", "faces", "--root", tmp_path, "--out", tmp_path / "o")
    assert code == 2 and "faces has no long videos" in told and not (tmp_path / "o").exists()


def spotted(intervals, events, number=0):
    """A video of what is true and what was found, given as (kind, onset, offset, emotion)."""
    true = tuple(ExpressionInterval(kind, a, None, b, emotion) for kind, a, b, emotion in intervals)
    video = LongVideo(f"v{number}", "own", "s", (), None, 30.0, true, "v")
    names = ("kind", "onset", "offset")
    found = tuple(dict(zip(names, one, strict=True), apex=one[1] + 1, confidence=0.5) for one in events)
    return SpottedVideo(video, found, (), None)


def test_kinds_are_matched_apart_and_added_up():
    one = spotted([("micro", 0, 9, "fear"), ("macro", 50, 99, None)], [("macro", 0, 9), ("macro", 50, 99)])
    two = spotted([("micro", 0, 9, "joy")], [("micro", 2, 9)], 1)
    scores = corpus_scores([one, two])
    assert [scores["micro"][name] for name in ("hits", "true", "found")] == [1, 2, 1]
    assert [scores["macro"][name] for name in ("hits", "true", "found")] == [1, 1, 2]
    assert scores["both"]["f1"] == pytest.approx(4 / 6) and scores["both"]["precision"] == pytest.approx(
        2 / 3
    )
    assert corpus_scores([one, two], threshold=0.9)["micro"]["hits"] == 0
    table = list(csv.DictReader(event_table([one, two]).splitlines()))
    assert [(row["video"], row["source"], row["match"]) for row in table] == [
        ("v0", "true", ""), ("v0", "true", "1"), ("v0", "found", ""), ("v0", "found", "1"),
        ("v1", "true", "1"), ("v1", "found", "1"),
    ]  # fmt: skip


def test_expressions_of_no_class_count_in_spotting_only():
    true = [("micro", 0, 9, "fear"), ("micro", 20, 29, "others"), ("micro", 40, 49, None)]
    one = spotted(true, [("micro", a, b) for _, a, b, _ in true])
    classes = ["negative", "positive", "surprise"]
    scores = corpus_scores([one], 0.5, [["negative", "surprise", "positive"]], classes)["micro"]
    assert scores["f1"] == 1 and scores["recognition_f1"] == pytest.approx(1 / 3)
    scores = corpus_scores([one], 0.5, [["fear", "joy", "joy"]], ["fear", "joy"])["micro"]
    assert scores["strs"] == pytest.approx(1 / 2), "classes of no scheme are emotions themselves"

"""Results as JSON and CSV, and the outputs that are refused before any work is done."""

import csv
import io
import json
import os

import numpy as np
import pytest

from dface_hf.pipelines.records import check_target, to_csv, to_json, write_text


@pytest.fixture
def result():
    event = {
        "onset": 4,
        "apex": 6,
        "offset": 9,
        "onset_s": 0.1333,
        "apex_s": 0.2,
        "offset_s": 0.3,
        "label": "surprise",
        "scores": {"negative": 0.25, "surprise": 0.75},
        "action_ids": [0] * 15 + [7],
        "attention": [0.0625] * 16,
        "similarities": {"negative": -0.1, "surprise": 0.5},
        "box": [1.0, 2.0, 30.0, 40.0],
        "confidence": 0.8,
        "stabilisation": None,
        "explanation": {
            "tokens": [],
            "action_units": {},
            "sentence": "dimpler, left only",
            "agreement": None,
        },
        "decoded_motion": np.zeros((2, 32, 32), np.float32),
        "saliency": np.zeros((32, 32), np.float32),
        "onset_image": np.zeros((8, 8, 3), np.uint8),
        "apex_image": np.zeros((8, 8, 3), np.uint8),
    }
    curve = {"score": np.zeros(20), "threshold": 0.6}
    return {"path": "a, b.mp4", "fps": 30.0, "frames": 20, "events": [event], "warnings": ["dark"]} | curve


def test_the_document_has_neither_pictures_nor_curves(result):
    document = json.loads(to_json("some/model", [result]))
    assert list(document) == ["model", "clips"] and document["model"] == "some/model"
    (clip,) = document["clips"]
    assert list(clip) == ["path", "fps", "frames", "events", "warnings"]
    left_out = set(result["events"][0]) - set(clip["events"][0])
    assert left_out == {"onset_image", "apex_image", "decoded_motion", "saliency"}
    assert clip["events"][0]["explanation"]["sentence"] == "dimpler, left only"
    assert clip["events"][0]["scores"] == {"negative": 0.25, "surprise": 0.75}


def test_nan_is_no_json(result):
    result["events"][0]["confidence"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        to_json("model", [result])


def test_the_table_has_a_row_an_event(result):
    (row,) = csv.DictReader(io.StringIO(to_csv([result, result | {"events": []}])))
    assert row["path"] == "a, b.mp4" and row["label"] == "surprise" and float(row["score"]) == 0.75
    assert row["sentence"] == "dimpler, left only"
    del result["events"][0]["explanation"]
    (plain,) = csv.DictReader(io.StringIO(to_csv([result])))
    assert plain == row | {"sentence": ""}
    assert row["action_ids"].split() == ["0"] * 15 + ["7"] and row["box"] == "1.0 2.0 30.0 40.0"


def test_files_are_replaced_whole(tmp_path, capsys):
    target = tmp_path / "out.json"
    target.write_text("old")
    write_text(str(target), "new ü\n")
    assert target.read_text(encoding="utf-8") == "new ü\n" and os.listdir(tmp_path) == ["out.json"]
    write_text("-", "to stdout\n")
    assert capsys.readouterr().out == "to stdout\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="gone/out.json: cannot be written"):
        write_text(str(tmp_path / "gone/out.json"), "text")


def test_targets_are_checked_before_the_work(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    os.link(clip, tmp_path / "same.mp4")
    check_target(None, [])
    check_target("-", [])
    check_target(str(tmp_path / "new.mp4"), [str(clip), "gone.mp4"], (".mp4",))
    for target, suffixes, kind, told in (
        ("nowhere/out.json", (), FileNotFoundError, "does not exist; create it first"),
        (".", (), IsADirectoryError, "is a folder"),
        ("out.gif", (".png", ".pdf"), ValueError, "use .png, .pdf"),
        ("clip.mp4", (), ValueError, "would be overwritten"),
        ("same.mp4", (), ValueError, "would be overwritten"),
    ):
        with pytest.raises(kind, match=told):
            check_target(str(tmp_path / target), [str(clip)], suffixes)

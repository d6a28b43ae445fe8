"""The task `action-unit-detection`, and `dface analyze --action-units`, with small untrained weights."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline

import dface_hf
from dface_hf.faces import ClipError, fit_similarity, locate, make_detector, write_video
from dface_hf.faces.alignment import align
from dface_hf.pipelines import ActionUnitDetectionPipeline
from dface_hf.pipelines.loading import CheckpointError, load_unit_detector

TASK = "action-unit-detection"
UNITS = [f"AU{unit}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)]


@pytest.fixture(scope="module")
def detect(units_checkpoint):
    return pipeline(TASK, model=str(units_checkpoint))


def test_the_units_of_a_video_file(detect, clip, portrait):
    result = detect(str(clip))
    assert list(result) == ["path", "fps", "frames", "events", "warnings"]
    assert (result["path"], result["fps"], result["frames"]) == (str(clip), 30.0, 104)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    (event,) = result["events"]
    assert type(detect) is ActionUnitDetectionPipeline and "apex" not in event
    assert list(event["action_units"]) == UNITS and all(0 < s < 1 for s in event["action_units"].values())
    frames = event["frames_read"]
    assert len(frames) == 8 and frames == sorted(frames)
    assert (frames[0], frames[-1]) == (event["onset"], event["offset"])
    assert abs(event["onset"] - portrait[1][0]) / 30 <= 0.1


def test_the_scores_are_those_of_the_model(detect, portrait):
    """All frames are cut by the similarity of the onset, in which the head may move."""
    frames, (onset, _, offset) = portrait
    (event,) = detect(frames, onset=onset, offset=offset, fps=30, return_images=True)["events"]
    face = make_detector().detect(frames[onset])[0]
    similarity = fit_similarity(*locate(frames[onset], face))
    crops = [align(frames[index], similarity) for index in event["frames_read"]]
    assert np.abs(np.stack(crops).astype(int) - np.stack(event["images"])).mean() < 1
    with torch.no_grad():
        output = detect.model(**detect.image_processor(event["images"], return_tensors="pt"))
    scores = output.logits[0].sigmoid().tolist()
    assert list(event["action_units"].values()) == pytest.approx(scores, abs=1e-4)


def test_units_are_active_from_the_threshold_of_the_checkpoint(detect, portrait, monkeypatch):
    keyframes = dict(onset=45, offset=58, fps=30)
    scores = detect(portrait[0], **keyframes)["events"][0]["action_units"]
    third = sorted(scores.values())[-3]
    monkeypatch.setattr(detect.model.config, "unit_threshold", third - 1e-5)
    (event,) = detect(portrait[0], **keyframes)["events"]
    assert event["active"] == [unit for unit, score in scores.items() if score >= third]
    assert len(event["active"]) == 3


def test_a_short_event_repeats_its_last_frame(detect, portrait):
    (event,) = detect(portrait[0], onset=45, offset=48, fps=30)["events"]
    assert event["frames_read"] == [45, 46, 47, 48, 48, 48, 48, 48]


def test_a_whole_clip_is_one_event(detect, portrait, tmp_path):
    write_video(tmp_path / "cut.mp4", portrait[0][40:70], 30)
    (event,) = detect(str(tmp_path / "cut.mp4"), whole_clip=True)["events"]
    assert (event["onset"], event["offset"]) == (0, 29) and event["confidence"] == 1
    given = detect(str(tmp_path / "cut.mp4"), onset=0, offset=29)
    assert given["events"] == [event]
    with pytest.raises(ClipError, match="the clip has 1 frame"):
        detect(portrait[0][:1], whole_clip=True)


def test_events_of_the_recognition_pipeline(detect, checkpoint, two_faces):
    recognise = pipeline("micro-expression-recognition", model=str(checkpoint))
    found = recognise(two_faces, fps=30, faces="all")["events"]
    read = detect(two_faces, events=found, fps=30)["events"]
    own = detect(two_faces, fps=30, faces="all")["events"]
    assert len(own) == len(found) == 2 and own[0]["box"] != own[1]["box"]
    for event, before, alone in zip(read, found, own, strict=True):
        assert {key: event[key] for key in before} == before and "action_units" not in before
        assert event["action_units"] == alone["action_units"]
    assert read[0]["action_units"] != read[1]["action_units"]


def test_clips_without_events_and_several_clips(detect, portrait, clip):
    still = detect(portrait[0][:4], fps=30)
    assert still["events"] == [] and still["warnings"] == ["no micro-expression found"]
    assert detect(str(clip), events=[])["events"] == []
    one = detect(str(clip), onset=45, offset=60)
    assert detect([str(clip), str(clip)], onset=45, offset=60, batch_size=1) == [one, one]


def test_bad_options_and_events(detect, portrait):
    frames = portrait[0]
    for options, told in (
        ({"onset": 4}, "onset and offset go together"),
        ({"onset": 9, "offset": 4}, "not in order"),
        ({"onset": 4, "offset": 9, "whole_clip": True}, "choose one way"),
        ({"onset": 0, "offset": 9, "whole_clip": True}, "choose one way"),
        ({"onset": 0, "offset": 9, "events": []}, "choose one way"),
        ({"events": [{"onset": 4, "offset": 9}]}, "event 0 has no box"),
        ({"events": [{"onset": 9, "offset": 4, "box": [0, 0, 9, 9]}]}, "event 0: onset 9 and offset 4"),
        ({"events": [{"onset": 4, "offset": 9, "box": [0, 0, 0, 9]}]}, "give x, y, width and height"),
        ({"onset": 4, "offset": 400}, "frame 400 does not exist"),
    ):
        with pytest.raises(ValueError, match=told):
            detect(frames, fps=30, **options)
    with pytest.raises(TypeError, match="unknown option 'apex'; known are onset, offset"):
        detect(frames, apex=4)


def test_checkpoints_of_another_system(checkpoint, units_checkpoint):
    with pytest.raises(ValueError, match="a 'dface' model, not of AC4AU"):
        pipeline(TASK, model=str(checkpoint))
    for task in ("micro-expression-recognition", "facial-action-transfer"):
        with pytest.raises(ValueError, match="a 'ac4au' model, not of D-FACE; give one of D-FACE"):
            pipeline(task, model=str(units_checkpoint))
    with pytest.raises(CheckpointError, match="of a 'dface' model, not of AC4AU"):
        load_unit_detector(checkpoint)
    assert load_unit_detector(units_checkpoint).device.type == "cpu"


def test_analyze_tells_units(dface, clip, checkpoint, units_checkpoint, detect, tmp_path):
    options = ("--model", checkpoint, "--action-units", "--units-model", units_checkpoint)
    code, out, err = dface(
        "analyze", clip, *options, "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"
    )
    (event,) = json.loads((tmp_path / "a.json").read_text())["clips"][0]["events"]
    scores = event["action_units"]
    assert code == 0 and err == "" and scores == detect(str(clip))["events"][0]["action_units"]
    with open(tmp_path / "a.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [float(row[unit]) for unit in UNITS] == list(scores.values())
    first = max(scores, key=scores.get)
    assert f"units {first} {scores[first]:.2f}" in out
    code, out, err = dface("analyze", clip, "--model", checkpoint, "--units-model", checkpoint)
    assert code == 2 and "of a 'dface' model, not of AC4AU" in err


def test_info_of_a_detector(dface, units_checkpoint):
    code, out, err = dface("info", units_checkpoint)
    assert code == 0 and err == ""
    assert "8 frames of 32 px" in out and ", ".join(UNITS) in out and "active from        0.5" in out


def test_the_shipped_detector(portrait):
    folder = Path(dface_hf.AC4AU_CHECKPOINT)
    if not (folder / "model.safetensors").exists():
        pytest.skip("ac4au-mini is not there")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12 * 2**20
    (event,) = pipeline(TASK, model=str(folder))(portrait[0], fps=30)["events"]
    assert list(event["action_units"]) == UNITS

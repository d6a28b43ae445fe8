"""The user stories in examples/ run, at their smallest."""

import json
import shutil

import pytest
from transformers import AutoModelForVideoClassification

import dface_hf

from .scripts import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def test_make_dface_mini(tmp_path, monkeypatch, capsys):
    small = ["--steps", "4", "--batch-size", "4", "--pairs", "64", "--epochs", "1", "--clips", "64"]
    small += ["--threads", "1"]  # the number stays that of the process
    run(
        "make_dface_mini.py",
        *small,
        "--work",
        str(tmp_path / "w"),
        "--output",
        str(tmp_path / "o"),
        monkeypatch=monkeypatch,
    )
    assert "probe_f1_tokens" in capsys.readouterr().out
    model = AutoModelForVideoClassification.from_pretrained(tmp_path / "o")
    assert isinstance(model, dface_hf.DFaceForVideoClassification)
    assert "4 steps of 4 pairs" in (tmp_path / "o" / "README.md").read_text()


def test_finetune_with_trainer(tmp_path, monkeypatch, capsys):
    run(
        "finetune_with_trainer.py",
        "--clips",
        "30",
        "--steps",
        "2",
        "--output",
        str(tmp_path),
        monkeypatch=monkeypatch,
    )
    assert "synthetic" in capsys.readouterr().out
    model = AutoModelForVideoClassification.from_pretrained(tmp_path)
    assert model.config.num_labels == 5 and model.config.others_label == "others"


def test_finetune(tmp_path, monkeypatch, capsys, clip, checkpoint):
    folder, output = tmp_path / "videos", tmp_path / "run"
    folder.mkdir()
    lines = ["file_name,subject,onset,apex,offset,emotion"]
    for number, emotion in enumerate(("happiness", "surprise", "disgust", "sleepiness")):
        shutil.copy(clip, folder / f"{number}.mp4")
        lines.append(f"{number}.mp4,s{number},45,50,60,{emotion}")
    (folder / "metadata.csv").write_text("\n".join([*lines, "absent.mp4,s9,1,2,3,disgust"]) + "\n")
    small = ["--scheme", "composite3", "--epochs", "2", "--batch-size", "2", "--no-balance"]
    where = ["--model", str(checkpoint), "--output", str(output)]
    run("finetune.py", str(folder), *small, *where, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "skipped absent.mp4" in told and "sleepiness" in told
    report = json.loads(told[told.index("{") : told.rindex("}") + 1])
    assert report["clips"] == 2 and len(report["validation"]["subjects"]) == 1
    model = AutoModelForVideoClassification.from_pretrained(output / "model")
    assert list(model.config.id2label.values()) == ["negative", "positive", "surprise"]
    assert "ask the owner" in (output / "model" / "README.md").read_text()

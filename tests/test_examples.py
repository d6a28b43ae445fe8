"""The user stories in examples/ run, at their smallest."""

import runpy
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForVideoClassification

import dface_hf

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(script: str, *arguments: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def test_make_dface_mini(tmp_path, monkeypatch, capsys):
    small = ["--steps", "4", "--batch-size", "4", "--pairs", "64", "--epochs", "1", "--clips", "64"]
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

"""The benchmark of action units and the making of ac4au-mini run, at their smallest."""

import json

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForVideoClassification

import dface_hf

from .scripts import run

SMALL = ("--clips", "4", "--blocks", "1", "--threads", "1")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> str:
    """Both scripts share corpora and pretraining."""
    return str(tmp_path_factory.mktemp("work"))


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_benchmark(work, tmp_path, monkeypatch, capsys):
    rows = ["--rows", "all-ones", "ststnet", "ac4au", "ac4au-bce"]
    arguments = ["--work", work, *SMALL, "--budget", "0.03", "--json", str(tmp_path / "r.json"), *rows]
    tables = []
    for _ in range(2):  # the second call reads what is finished
        run("benchmarks/action_units.py", *arguments, monkeypatch=monkeypatch)
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    names = [line.split(" | ")[0] for line in tables[0].splitlines() if line.startswith("| ")]
    assert names == ["| model", "| ---", "| all-ones", "| ststnet", "| ac4au", "| ac4au-bce"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["pretraining"]["steps"] == 50 and report["models"]["ac4au"]["recipe"]["epochs"] == 1
    assert set(report["subject_probes"]) == {
        "changing (AC), rms over time",
        "constant (DC)",
        "after the temporal transformer",
        "chance",
    }
    assert report["clips"] == {f"SyntheticAU-{name}": 4 for name in ("fast", "grey", "web")}


def test_make_ac4au_mini(work, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "mini"
    arguments = ["--work", work, *SMALL, "--takes", "1", "--epochs", "1", "--output", str(folder)]
    run("make_ac4au_mini.py", *arguments, monkeypatch=monkeypatch)
    model = AutoModelForVideoClassification.from_pretrained(folder)
    assert isinstance(model, dface_hf.AC4AUForActionUnitDetection) and model.config.positive_rates
    processor = AutoImageProcessor.from_pretrained(folder)
    assert processor.size["height"] == model.config.image_size and processor.num_frames == 8
    report = json.loads((folder / "report.json").read_text())
    (told, scores), (_, of_photograph) = report["units"].items()
    assert "unseen people" in told and scores["n"] == 6
    assert of_photograph["n"] == 24 and list(of_photograph["baselines"].values()) == pytest.approx([2 / 13])
    assert [part["part"] for part in report["cost"]] == ["backbone", "AC4AU"]
    assert f"{scores['f1']:.3f}" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").stat().st_size < 12e6

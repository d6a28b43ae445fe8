"""The benchmark of action units and the making of ac4au-mini run, at their smallest."""

import json
from pathlib import Path

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
    assert (Path(work) / "lodo" / "scores.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match=r"other settings of ststnet \(recipe.epochs: 15, now 1\)"):
        other = ["--work", work, *SMALL, "--budget", "0.002", *rows[:3]]
        run("benchmarks/action_units.py", *other, monkeypatch=monkeypatch)


def test_make_ac4au_mini(work, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "mini"
    folder.mkdir()  # a checkpoint that is replaced, which is told
    older = {"units": {"clips": {"f1": 0.123}}, "protocol": "4 clips to train on."}
    (folder / "report.json").write_text(json.dumps(older))
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
    card = (folder / "README.md").read_text()
    assert f"{scores['f1']:.3f}" in card and "- F1 0.123: 4 clips to train on." in card
    assert (folder / "model.safetensors").stat().st_size < 12e6

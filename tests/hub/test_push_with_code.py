"""Loading what was pushed where dface_hf is not installed, and where the Hub is out of reach."""

import importlib.metadata
import sysconfig
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import dface_hf

from .conftest import Client

FORWARD = """
import sys, torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForVideoClassification
options = dict(trust_remote_code=True)
model = AutoModelForVideoClassification.from_pretrained("ada/coded", **options).eval()
processor = AutoImageProcessor.from_pretrained("ada/coded", **options)
pair = [(torch.arange(3072).reshape(3, 32, 32) * step % 251).byte().numpy() for step in (3, 7)]
with torch.no_grad():
    output = model(**processor(pair, return_tensors="pt"))
print(output.logits[0].tolist(), output.action_ids[0].tolist())
print(type(AutoModel.from_pretrained("ada/coded", **options)).__name__)
"""

# Clips for AC4AU, fields of optical flow for the baselines.
OTHERS = """
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForVideoClassification
options = dict(trust_remote_code=True)
generator = torch.Generator().manual_seed(0)
for auto, name, shape in (
    (AutoModelForVideoClassification, "ada/ac4au", (8, 32, 32, 3)),
    (AutoModelForImageClassification, "ada/htnet", (2, 28, 28)),
):
    model = auto.from_pretrained(name, **options).eval()
    processor = AutoImageProcessor.from_pretrained(name, **options)
    given = torch.rand(shape, generator=generator)
    given = (given * 255).byte() if shape[-1] == 3 else given
    with torch.no_grad():
        print(model(**processor(given.numpy(), return_tensors="pt")).logits[0].tolist())
    print(type(model).__name__, type(model).__module__.split(".")[0])
"""


def needed_by(*names: str) -> set[str]:
    """Distributions that these need, with the ones that those need."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        found.add(name)
        parsed = [Requirement(text) for text in requirements]
        waiting += [one.name for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def transformers_alone(tmp_path_factory) -> Path:
    """A folder of packages that holds transformers, torch, pillow and what these need, and nothing else."""
    folder, installed = tmp_path_factory.mktemp("packages"), Path(sysconfig.get_path("purelib"))
    for name in needed_by("transformers", "torch", "pillow"):
        for file in importlib.metadata.files(name):
            top = file.parts[0]
            if top != ".." and not (folder / top).exists() and (installed / top).exists():
                (folder / top).symlink_to(installed / top)
    return folder


def test_the_code_of_the_repository_runs_where_only_transformers_is(
    hub, pusher, loader, checkpoint, transformers_alone, tmp_path
):
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    done = pusher.dface("push", checkpoint, "ada/coded", "--with-code")
    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    files = hub.state.repos["model", "ada/coded"].resolve("main").files
    assert "modeling_dface.py" in files and "convert_dface_original.py" not in files
    assert "trust_remote_code=True" in files["README.md"].content.decode()
    here = loader.run("import dface_hf\n" + FORWARD)
    assert here.code == 0, here.err
    # -S: no .pth files, one of which leads to this repository.
    stranger = Client(hub.url, tmp_path, "-S", PYTHONPATH=str(transformers_alone), PYTHONSAFEPATH="1")
    try:
        absent = stranger.run("import dface_hf")
        assert absent.code == 1 and "No module named 'dface_hf'" in absent.err
        there = stranger.run(FORWARD)
    finally:
        stranger.close()
    assert there.code == 0, there.err
    assert there.out == here.out and there.out.splitlines()[-1] == "DFaceModel"
    asked = len(hub.asked)
    offline = Client(hub.url, tmp_path, "-S", PYTHONPATH=str(transformers_alone), HF_HUB_OFFLINE="1")
    try:
        again = offline.run(FORWARD)
    finally:
        offline.close()
    assert again.out == here.out, again.err
    assert len(hub.asked) == asked


@pytest.fixture
def others(tmp_path) -> list[Path]:
    """Checkpoints of AC4AU and of a flow baseline."""
    torch.manual_seed(0)
    sizes = dict(image_size=32, stage_channels=(8, 16, 16), stage_depths=(1, 1, 1), hidden_size=32)
    ac4au = dface_hf.AC4AUConfig(stem_channels=8, head_channels=32, num_temporal_layers=1, **sizes)
    htnet = dface_hf.HTNetConfig(hidden_size=32, depths=(1, 1, 1), num_labels=3)
    dface_hf.AC4AUForActionUnitDetection(ac4au).save_pretrained(tmp_path / "ac4au")
    dface_hf.AC4AUImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "ac4au")
    dface_hf.HTNetForImageClassification(htnet).save_pretrained(tmp_path / "htnet")
    dface_hf.FlowImageProcessor().save_pretrained(tmp_path / "htnet")
    return [tmp_path / "ac4au", tmp_path / "htnet"]


def test_the_code_of_other_systems_runs_there_too(
    hub, pusher, loader, others, transformers_alone, tmp_path_factory
):
    for folder in others:
        done = pusher.dface("push", folder, f"ada/{folder.name}", "--with-code")
        assert done.code == 0, done.err
    here = loader.run("import dface_hf\n" + OTHERS)
    assert here.code == 0, here.err
    home = tmp_path_factory.mktemp("stranger")
    stranger = Client(hub.url, home, "-S", PYTHONPATH=str(transformers_alone), PYTHONSAFEPATH="1")
    try:
        there = stranger.run(OTHERS)
    finally:
        stranger.close()
    assert there.code == 0, there.err
    assert there.out.splitlines()[1::2] == [
        "AC4AUForActionUnitDetection transformers_modules",
        "HTNetForImageClassification transformers_modules",
    ]
    assert there.out.splitlines()[::2] == here.out.splitlines()[::2]

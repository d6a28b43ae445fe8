"""Loading what was pushed where dface_hf is not installed, and where the Hub is out of reach."""

import importlib.metadata
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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

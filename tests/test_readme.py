"""Every Python example of the README runs, in order, as a reader would type it."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import dface_hf
from dface_hf.faces import write_video
from dface_hf.pipelines.demo import animate

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    frames, _ = animate(skimage.data.astronaut(), (1, 2, 5), 2.0, 0)
    write_video(folder / "clip.mp4", frames, 60)
    return folder


def test_python_examples_run(clip_folder, monkeypatch):
    monkeypatch.chdir(clip_folder)
    namespace: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102
    assert namespace["result"]["events"], "the example clip holds an event"
    assert namespace["replayed"].shape == (1, 3, 128, 128)
    assert np.isfinite(namespace["output"].logits.detach().numpy()).all()


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_shipped_checkpoint_keeps_its_promises():
    folder = Path(dface_hf.DEFAULT_CHECKPOINT)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 24 * 2**20
    assert "synthetic" in (folder / "README.md").read_text(encoding="utf-8").lower()

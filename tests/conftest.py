"""What the tests of faces, pipelines and the command line share: a portrait in action, a tiny checkpoint."""

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from dface_hf import (
    AC4AUConfig,
    AC4AUForActionUnitDetection,
    AC4AUImageProcessor,
    DFaceConfig,
    DFaceForVideoClassification,
    cli,
)
from dface_hf.faces import fit_similarity, locate, make_detector, write_video
from dface_hf.hub import write_checkpoint
from dface_hf.synthesis import NuisanceConfig, TimeCourse, animate_portrait

FPS = 30
TINY = dict(
    image_size=32,
    patch_size=4,
    hidden_size=32,
    num_spatial_layers=1,
    num_temporal_layers=1,
    num_attention_heads=2,
    head_dim=16,
    code_dim=8,
)


@pytest.fixture(autouse=True)
def gradients_stay_on():
    """A test that leaves them off breaks another one, in an order that only some machine has."""
    yield
    assert torch.is_grad_enabled()


@pytest.fixture(scope="session")
def portrait() -> tuple[np.ndarray, tuple[int, int, int]]:
    """The public-domain astronaut raises her brows once: (104, 256, 256, 3) uint8 at 30 fps, and the true
    (onset, apex, offset)."""
    image = np.ascontiguousarray(skimage.data.astronaut()[:256, 100:356])
    matrix = fit_similarity(*locate(image, make_detector().detect(image)[0])).matrix
    camera = NuisanceConfig.none().but(noise=(0.5, 1.5))
    course = TimeCourse(rise=0.16, hold=0.04, fall=0.24)
    frames, truth = animate_portrait(
        image, matrix, {1: 2.5, 2: 2.5}, course, FPS, nuisances=camera, before=45, after=45
    )
    return np.stack(list(frames)), (truth[0].onset, truth[0].apex, truth[0].offset)


@pytest.fixture(scope="session")
def clip(portrait, tmp_path_factory) -> Path:
    """The portrait as a video file."""
    path = tmp_path_factory.mktemp("clips") / "portrait.mp4"
    write_video(path, portrait[0], FPS)
    return path


@pytest.fixture(scope="session")
def two_faces(portrait) -> np.ndarray:
    """The portrait and its mirror image beside it: (104, 256, 512, 3)."""
    return np.concatenate([portrait[0], portrait[0][:, :, ::-1]], axis=2)


def tiny_classifier(tokenizer: dict = TINY, **options) -> DFaceForVideoClassification:
    """A small untrained classifier with text anchors, always the same for the same options."""
    torch.manual_seed(0)
    options = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2, projection_dim=12) | options
    labels = {0: "negative", 1: "positive", 2: "surprise", 3: "others"}
    config = DFaceConfig(tokenizer_config=tokenizer, id2label=labels, others_label="others", **options)
    model = DFaceForVideoClassification(config).eval()
    texts = {"negative": "a frown", "positive": "a smile", "surprise": "brows up"}
    model.dface.set_text_anchors(torch.randn(3, 12), texts, "random")
    return model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny untrained checkpoint: classifier, tokenizer, image processor and card."""
    model = tiny_classifier()
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    write_checkpoint(model, folder, "An untrained model for tests.\n")
    return folder


@pytest.fixture(scope="session")
def units_checkpoint(tmp_path_factory) -> Path:
    """A tiny untrained detector of action units with its image processor."""
    torch.manual_seed(0)
    sizes = dict(image_size=32, stem_channels=8, stage_channels=(8, 16, 16), stage_depths=(1, 1, 1))
    sizes |= dict(head_channels=32, hidden_size=32, num_temporal_layers=1, expert_size=8)
    folder = tmp_path_factory.mktemp("checkpoints") / "units"
    AC4AUForActionUnitDetection(AC4AUConfig(**sizes)).save_pretrained(folder)
    AC4AUImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture
def dface(monkeypatch, capfd):
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dface", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return end.value.code or 0, out, err

    return run

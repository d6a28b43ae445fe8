"""Clip results and crops as the recognition pipeline makes them, with numbers that can be found again."""

import cv2
import numpy as np
import pytest
from skimage import data

from dface_hf.faces import align, fit_similarity

from .coded_clips import write_coded_clips

FOUR = ("negative", "positive", "surprise", "others")


@pytest.fixture(scope="session")
def crops() -> tuple[np.ndarray, np.ndarray]:
    """The public-domain astronaut, and the same with brows raised by 1.5 pixels of 128."""
    onset = align(data.astronaut(), fit_similarity(((206, 112), (249, 113)), (229, 156)), 128)
    x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(128, dtype=np.float32))
    u, v = (2 * (grid + 0.5) / 128 - 1 for grid in (x, y))
    lift = sum(np.exp(-((u - side) ** 2 + (v + 0.42) ** 2) / (2 * 0.22**2)) for side in (-0.35, 0.35))
    return onset, cv2.remap(onset, x, (y + 1.5 * lift).astype(np.float32), cv2.INTER_CUBIC)


@pytest.fixture(scope="session")
def coded_clips(tmp_path_factory):
    """Folder of a prepared dataset with action units."""
    folder = tmp_path_factory.mktemp("coded")
    write_coded_clips(folder)
    return folder


@pytest.fixture
def make_event():
    def make(onset=10, labels=FOUR, label=None, fps=25.0, **changes) -> dict:
        label = label or labels[0]
        rest = 0.4 / max(len(labels) - 1, 1)
        event = {
            "onset": onset,
            "apex": onset + 4,
            "offset": onset + 10,
            "onset_s": onset / fps,
            "apex_s": (onset + 4) / fps,
            "offset_s": (onset + 10) / fps,
            "label": label,
            "scores": {name: 0.6 if name == label else rest for name in labels},
            "action_ids": [0, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 0],
            "attention": [(k + 1) / 136 for k in range(16)],
            "similarities": {name: 0.5 - 0.11 * i for i, name in enumerate(labels) if name != "others"},
            "box": [170, 60, 100, 120],
            "confidence": 0.71,
            "stabilisation": {"shift_px": [0.31, -0.12], "rotation_deg": 0.2, "applied": True},
        }
        return event | changes

    return make


@pytest.fixture
def explained() -> dict:
    """What the pipeline adds to an event that is explained: the brows rise, on the right less."""
    motion, saliency = np.zeros((2, 32, 32), np.float32), np.zeros((32, 32), np.float32)
    motion[1, 6:11, 8:24], saliency[6:11, 16:24] = -1.5, 1.0
    units = {"AU1": {"left": 1.51, "right": 1.02}, "AU2": {"left": 1.2, "right": 0.33}}
    tokens = [
        {"position": 2, "code": 30, "weight": 1.234, "region": "left inner brow"},
        {"position": 1, "code": 31, "weight": -0.345, "region": "right inner brow"},
    ]
    sentence = "inner brow raiser and outer brow raiser (left only)"
    told = {"tokens": tokens, "action_units": units, "sentence": sentence, "agreement": 0.81}
    return {"explanation": told, "decoded_motion": motion, "saliency": saliency}


@pytest.fixture
def make_result(make_event):
    def make(events=1, frames=200, **changes) -> dict:
        found = [make_event(10 + 15 * k, label=FOUR[k % 4]) for k in range(events)]
        result = {"path": "clips/talk.mp4", "fps": 25.0, "frames": frames, "events": found, "warnings": []}
        return result | changes

    return make

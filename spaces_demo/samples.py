"""Clips and faces to try: a public-domain portrait and painted faces, animated when first asked for."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from dface_hf.faces import fit_similarity, locate, make_detector, write_video
from dface_hf.faces.animation import write_picture
from dface_hf.synthesis import NuisanceConfig, TimeCourse, animate_portrait, procedural_faces

from .limits import plain_errors, refuse

FPS = 30
# What a camera adds while the head is held still.
CAMERA = NuisanceConfig.none().but(noise=(0.5, 1.5), drift=0.3, rotation=0.1, gain=0.01)
COURSE = TimeCourse(rise=0.16, hold=0.05, fall=0.26)
ASTRONAUT = "Astronaut"
PAINTED = {"Painted 1": 8, "Painted 2": 15, "Painted 3": 20}  # seeds of procedural faces
FACES = (ASTRONAUT, *PAINTED)
STILL = "At rest"
# name: (face, largest motion in px of a 128 px face by action unit)
CLIPS: dict[str, tuple[str, dict[int, float]]] = {
    "Brows up": (ASTRONAUT, {1: 2.5, 2: 2.5, 5: 1.5}),
    "Smile": ("Painted 1", {6: 1.5, 12: 3.0}),
    "Frown": ("Painted 2", {4: 3.0, 7: 1.0}),
    STILL: (ASTRONAUT, {1: 0.001}),
}

_lock = threading.Lock()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Goes with the process."""
    return tempfile.TemporaryDirectory(prefix="dface-samples-")


def clip_example(name: str) -> str:
    """Path of an example clip, by a name of `CLIPS`."""
    with plain_errors():
        return sample_clip(name)


def face_example(name: str) -> str:
    """Path of an example face, by a name of `FACES`."""
    with plain_errors():
        return sample_face(name)


def sample_clip(name: str) -> str:
    """Path of an example clip.

    Args:
        name: One of `CLIPS`.

    Raises:
        gr.Error: There is no such clip.
    """
    face, units = CLIPS[_known(name, CLIPS)]
    path = _path(name, ".mp4")
    with _lock:
        if not path.exists():
            write_video(path, _animated(_portrait(face), units), FPS)
    return str(path)


def sample_face(name: str) -> str:
    """Path of a picture of an example face.

    Args:
        name: One of `FACES`.

    Raises:
        gr.Error: There is no such face.
    """
    path = _path(_known(name, FACES), ".png")
    with _lock:
        if not path.exists():
            write_picture(path, _portrait(name))
    return str(path)


def _known(name: str, names: Iterable[str]) -> str:
    if name not in names:
        raise refuse(f"There is no example {name!r}; there are {', '.join(names)}.")
    return name


def _path(name: str, suffix: str) -> Path:
    return Path(_folder().name) / f"{name.lower().replace(' ', '-')}{suffix}"


def _portrait(name: str) -> np.ndarray:
    """(S, S, 3) uint8 RGB, with some room around the face."""
    if name == ASTRONAUT:
        return np.ascontiguousarray(skimage.data.astronaut()[:320, 64:384])
    face = procedural_faces(1, 256, seed=PAINTED[name])[0].permute(1, 2, 0).numpy()
    edge = len(face) // 5
    pixels = (face * 255 + 0.5).astype(np.uint8)
    around = np.pad(pixels, [(edge, edge), (edge, edge), (0, 0)], mode="edge")
    around = cv2.GaussianBlur(around, (0, 0), edge / 4)
    around[edge:-edge, edge:-edge] = pixels
    return around


def _animated(image: np.ndarray, units: dict[int, float]):
    """Frames of a face that rests for a second, acts, and rests for a second."""
    matrix = fit_similarity(*locate(image, make_detector("haar").detect(image)[0])).matrix
    frames, _ = animate_portrait(
        image, matrix, units, COURSE, FPS, nuisances=CAMERA, seed=3, before=FPS, after=FPS
    )
    return frames

"""Faces of a folder of pictures, as aligned crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dface_hf.faces import (
    ClipError,
    FaceDetector,
    align,
    fit_similarity,
    locate,
    make_detector,
    open_frames,
)
from dface_hf.synthesis import faces_from_images

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def aligned_pictures(
    folder: str | Path, count: int, size: int, seed: int = 0, detector: FaceDetector | None = None
) -> tuple[torch.Tensor, list[str]]:
    """The first face of each of some pictures, drawn from a folder and its subfolders at random.

    Args:
        folder: Holds the pictures.
        count: How many faces to return, if there are so many.
        size: Side of the crops in pixels.
        seed: Equal seeds draw equal pictures.
        detector: Finds the faces; Haar cascades by default.

    Returns:
        (n, 3, size, size) float32 RGB in [0, 1], and the names of pictures that were left out before there
        were enough: unreadable, or no face found.

    Raises:
        ValueError: No such folder, no picture, or no face in any.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give a folder of portraits")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no picture in it; give a folder with {', '.join(SUFFIXES)}")
    detector, crops, skipped = detector or make_detector("haar"), [], []
    order = np.random.default_rng(seed).permutation(len(paths))
    with tqdm(total=min(count, len(paths)), desc="aligning portraits", unit="face", leave=False) as bar:
        for path in (paths[index] for index in order):
            crop = _first_face(path, size, detector)
            if crop is None:
                skipped.append(str(path.relative_to(folder)))
                continue
            crops.append(crop)
            bar.update()
            if len(crops) == count:
                break
    if not crops:
        raise ValueError(f"{folder}: no face found in its {len(paths)} pictures; give frontal portraits")
    return faces_from_images(crops, size), skipped


def _first_face(path: Path, size: int, detector: FaceDetector) -> np.ndarray | None:
    """Aligned crop (size, size, 3) uint8; None for a picture that cannot be read, or without a face."""
    try:
        image = open_frames(path, fps=1).read([0])[0].image
    except ClipError:
        return None
    found = detector.detect(image)
    return align(image, fit_similarity(*locate(image, found[0])), size) if found else None

"""The streams that models are trained on: pairs as stabilisation leaves them."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch

from dface_hf.synthesis import NuisanceConfig, PairSampler, faces_from_images, load_fields

from .synthetic_me import emotion_pairs

#: What is left between two frames after stabilisation and brightness matching, at the noise of a 64 px crop,
#: in which several pixels of the camera have been averaged.
RESIDUAL_NUISANCES = NuisanceConfig(drift=0.2, rotation=0.15, scale=0.002, noise=(0.3, 1.5))


def pretraining_pairs(
    size: int = 64,
    seed: int = 0,
    fields: str | Path | None = None,
    identities: torch.Tensor | None = None,
    **options,
) -> PairSampler:
    """Return the endless stream of pairs for pretraining a tokenizer.

    Args:
        size: Side of the crops in pixels.
        seed: The stream is a function of (seed, step).
        fields: File of measured motion fields; the package's own figures by default.
        identities: (n, 3, side, side) aligned faces in [0, 1]; procedural faces by default.
        options: Whatever else `PairSampler` takes.
    """
    known = dict(nuisances=RESIDUAL_NUISANCES, still_share=0.15, bank=2048, refresh_every=20)
    return PairSampler(
        size, fields=load_fields(size, fields), identities=identities, seed=seed, **(known | options)
    )


def aligned_faces(folder: str | Path, size: int = 64) -> torch.Tensor:
    """Read a folder of aligned crops as identities (n, 3, size, size) in [0, 1].

    Raises:
        ValueError: If the folder holds no image, or one cannot be read or is not square; the message names
            it.
    """
    files = sorted(
        path for path in Path(folder).glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg")
    )
    if not files:
        raise ValueError(f"{folder}: no .png or .jpg image; give a folder of aligned face crops")
    faces = []
    for path in files:
        try:
            faces.append(faces_from_images([np.asarray(PIL.Image.open(path).convert("RGB"))], size))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    return torch.cat(faces)


def labelled_pairs(scheme: str = "default4", size: int = 64, seed: int = 0, **options) -> PairSampler:
    """Return the endless stream of pairs with class labels for training heads, every class equally often."""
    known = dict(nuisances=RESIDUAL_NUISANCES, amplitude=(0.5, 3.0), bank=2048, refresh_every=20)
    return emotion_pairs(scheme, size=size, seed=seed, **(known | options))

"""Train AC4AU on clips with action units, and ask it about others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dface_hf.data.unit_clips import UnitClips
from dface_hf.models import AC4AUConfig, AC4AUForActionUnitDetection
from dface_hf.models.ac4au.losses_ac4au import positive_rates

from .fitting import fit
from .fold_ensemble import FoldRecipe
from .unit_batches import Augmentation, ClipBatches, pixel_values

AC4AU_RECIPE = FoldRecipe(
    40, 16, 2e-3, "adamw", weight_decay=0.05, grad_clip=1.0, schedule="cosine", balance_classes=False
)
"""Optimiser, rate, epochs and batches are unpublished: chosen on synthetic clips that no bench uses."""
AC4AU_MINI = AC4AUConfig(
    image_size=32, stem_channels=8, stage_channels=(16, 32, 64), stage_depths=(0, 0, 0),
    stage_expansions=(2, 2, 2), head_channels=128, spatial_stages=(1,), hidden_size=128,
    num_temporal_layers=1, dropout=0.0, initializer_range=0.1,
)  # fmt: skip
"""Small enough to train on one CPU core within minutes: the sizes of the checkpoint ac4au-mini."""


def fold_config(config: AC4AUConfig, clips: UnitClips, rows: np.ndarray) -> AC4AUConfig:
    """The configuration with what is counted on the training clips: positive rates, number of subjects.

    Args:
        config: Sizes and switches.
        clips: The whole table.
        rows: Training rows; nothing else is looked at.
    """
    rates = positive_rates(torch.from_numpy(clips.shown[rows])).tolist()
    subjects = int(clips.subject_ids(rows).max()) + 1 if config.use_decomposer else 0
    return AC4AUConfig(**config.to_dict() | {"positive_rates": rates, "num_subjects": subjects})


def train_units(
    config: AC4AUConfig,
    clips: UnitClips,
    rows: np.ndarray,
    recipe: FoldRecipe = AC4AU_RECIPE,
    seed: int = 0,
    folder: str | Path | None = None,
    backbone: dict[str, torch.Tensor] | None = None,
    augmentation: Augmentation | None = None,
    progress: bool = True,
) -> AC4AUForActionUnitDetection:
    """Train AC4AU on some rows of a table, for fixed epochs.

    Args:
        config: Sizes and switches; positive rates and number of subjects are set from the training rows.
        clips: Of the size and number of frames of `config`.
        rows: Training rows. Units and subjects of others are not read.
        recipe: How.
        seed: Of weights, order, augmentation and dropout.
        folder: Of the resumable run; None for none.
        backbone: Weights of the backbone to start from, as its `state_dict` names them.
        augmentation: Defaults to `Augmentation()`.
        progress: Show a bar, where standard error is a terminal.

    Returns:
        The trained model in evaluation mode.

    Raises:
        ValueError: Clips of another size, or a folder of another run.
    """
    augmentation = augmentation or Augmentation()
    if clips.frames.shape[1:3] != (config.num_frames, config.image_size):
        raise ValueError(
            f"clips of {clips.frames.shape[1]} frames of {clips.frames.shape[2]} px; the model takes "
            f"{config.num_frames} of {config.image_size} px: read them so"
        )
    config = fold_config(config, clips, rows)
    model = _new_model(config, seed, backbone).to(memory_format=torch.channels_last)
    ids = clips.subject_ids(rows)[rows] if config.num_subjects else None
    names = [config.id2label[index] for index in range(config.num_labels)]
    batches = ClipBatches(
        clips.frames[rows], clips.shown[rows], ids, names, recipe.batch_size, seed, augmentation
    )
    start = None if backbone is None else round(sum(float(value.sum()) for value in backbone.values()), 3)
    facts = {"clips": clips.rows(rows).fingerprint, "augmentation": asdict(augmentation), "backbone": start}
    facts |= {"model": {key: value for key, value in config.to_dict().items() if key != "dtype"}}
    fit(model, batches, batches.steps, recipe, seed, folder, facts, progress=progress)
    return model


@torch.no_grad()
def predict_units(model: AC4AUForActionUnitDetection, frames: np.ndarray, batch: int = 32) -> np.ndarray:
    """Logits (n, units) float32 of clips (n, time, size, size, 3) uint8."""
    model.eval()
    parts = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    logits = [model(pixel_values(part).to(model.device)).logits.float().cpu() for part in parts]
    return torch.cat(logits).numpy()


def _new_model(config: AC4AUConfig, seed: int, backbone: dict | None) -> AC4AUForActionUnitDetection:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AC4AUForActionUnitDetection(config)
    if backbone is not None:
        model.ac4au.backbone.load_state_dict(backbone)
    return model

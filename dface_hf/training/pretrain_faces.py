"""Give AC4AU's backbone a start: tell synthetic people, or those of a folder, apart.

The paper starts from weights of face recognition. This is the same task at a small scale: frames of many
people who act, before changing cameras, an angular-margin loss over people.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from dface_hf.models import AC4AUConfig, AC4AUModel
from dface_hf.models.ac4au.losses_ac4au import subject_loss
from dface_hf.synthesis import NuisanceConfig, PairSampler
from dface_hf.synthesis.identities import CHUNK

from .fitting import fit
from .fold_ensemble import FoldRecipe

BLOCK = 50  # steps that `fit` calls an epoch
PEOPLE, PEOPLE_SEED = 256, 70  # of the checkpoint ac4au-mini and of the benchmark
FACES_RECIPE = FoldRecipe(
    12, 64, 2e-3, "adamw", weight_decay=0.05, grad_clip=1.0, schedule="cosine", balance_classes=False
)
"""Chosen here; an epoch is a block of 50 steps."""
NUISANCES = NuisanceConfig(geometry=0.0, mirror=0.0)
"""All that a camera does; what belongs to the person stays."""


class FaceIdentifier(nn.Module):
    """AC4AU's backbone and a direction for each person.

    Args:
        config: Of AC4AU; scale and margin of its subject loss are used.
        people: How many.
    """

    def __init__(self, config: AC4AUConfig, people: int):
        super().__init__()
        self.model = AC4AUModel(copy.deepcopy(config))  # saving writes into it
        self.directions = nn.Parameter(torch.randn(people, config.hidden_size))
        self.scale, self.margin = config.subject_scale, config.subject_margin

    def forward(self, pixel_values: Tensor, subject_ids: Tensor) -> SimpleNamespace:
        """Frames (batch, 3, size, size) in [-1, 1] of people (batch,); `loss` and `features`."""
        features = self.model.backbone(pixel_values)
        loss = subject_loss(features, self.directions, subject_ids, self.scale, self.margin)
        return SimpleNamespace(loss=loss, features=features)


def people_stream(
    config: AC4AUConfig, people: int = PEOPLE, seed: int = PEOPLE_SEED, faces: Tensor | None = None
) -> PairSampler:
    """Pairs of frames of people; `PairBatch.identity` says whom.

    Args:
        config: Of the size of frame.
        people: Procedural faces, without `faces`; a multiple of 32.
        seed: Of faces and pairs.
        faces: (n, 3, s, s) aligned faces in [0, 1] to use instead.

    Raises:
        ValueError: If `people` is no multiple of 32.
    """
    if faces is None and (people < 1 or people % CHUNK):
        raise ValueError(f"people={people}: procedural faces are painted {CHUNK} at a time; give a multiple")
    options = {"nuisances": NUISANCES, "amplitude": (1.0, 6.0), "bank": people, "seed": seed}
    return PairSampler(config.image_size, identities=faces, **options)


def pretrain_backbone(
    config: AC4AUConfig,
    stream: PairSampler,
    people: int,
    recipe: FoldRecipe = FACES_RECIPE,
    seed: int = 0,
    folder: str | Path | None = None,
    checkpoint_every: int = 5,
) -> tuple[AC4AUModel, float]:
    """Train the backbone to tell people apart.

    Args:
        config: Sizes.
        stream: Of `people_stream`.
        people: How many it shows.
        recipe: Its epochs are blocks of 50 steps, each of `batch_size` frames, an even number.
        seed: Of weights and dropout.
        folder: Of the resumable run.
        checkpoint_every: Blocks between checkpoints.

    Returns:
        The model (its temporal part is as it began), and the share of 512 unseen frames whose nearest
        direction is the person's.

    Raises:
        ValueError: A batch of an odd size, or what `fit` refuses.
    """
    if recipe.batch_size % 2:
        raise ValueError(f"batch size {recipe.batch_size}: frames come in pairs; give an even number")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        identifier = FaceIdentifier(config, people).to(memory_format=torch.channels_last)

    def batches(epoch: int) -> Iterator[dict[str, Tensor]]:
        first = epoch * BLOCK
        return (_frames(stream, recipe.batch_size, step) for step in range(first, first + BLOCK))

    facts = {"config": config.to_diff_dict(), "people": people, "stream seed": stream.seed}
    fit(identifier, batches, BLOCK, recipe, seed, folder, facts, checkpoint_every)
    return identifier.model, _accuracy(identifier, stream, recipe.epochs * BLOCK)


def _frames(stream: PairSampler, batch: int, step: int) -> dict[str, Tensor]:
    """Both frames of half as many pairs."""
    pairs = stream.sample(batch // 2, step)
    frames = torch.cat([pairs.onset, pairs.apex]) * 2 - 1
    return {"pixel_values": frames, "subject_ids": pairs.identity.repeat(2)}


@torch.no_grad()
def _accuracy(identifier: FaceIdentifier, stream: PairSampler, first: int, frames: int = 512) -> float:
    right = []
    for step in range(first, first + frames // 64):
        batch = _frames(stream, 64, step)
        device = identifier.directions.device
        found = identifier(*(value.to(device) for value in batch.values())).features
        cosines = nn.functional.normalize(found, dim=-1) @ nn.functional.normalize(identifier.directions).T
        right.append((cosines.argmax(-1).cpu() == batch["subject_ids"]).float())
    return float(torch.cat(right).mean())

"""Batches of clips for the detection of action units: order, flip, rotation and colour jitter by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDES = {"_left": "_right", "_right": "_left"}


@dataclass(frozen=True)
class Augmentation:
    """How clips are changed in training; all frames of a clip alike. AC4AU names the kinds, not the ranges.

    Attributes:
        flip: Share of the clips that are mirrored.
        rotation: Largest rotation, degrees.
        jitter: Largest relative change of brightness, contrast and saturation.
    """

    flip: float = 0.5
    rotation: float = 3.0
    jitter: float = 0.1


def mirrored_columns(names: Sequence[str]) -> list[int]:
    """The column that each unit becomes in the mirror: "AU12_left" that of "AU12_right", "AU12" its own.

    Raises:
        ValueError: A unit of one side without its counterpart.
    """
    found = []
    for name in names:
        side = next((side for side in SIDES if name.endswith(side)), "")
        other = name.removesuffix(side) + SIDES.get(side, "")
        if other not in names:
            raise ValueError(f"unit {name} has no {other} that it could become in the mirror; add it")
        found.append(list(names).index(other))
    return found


def augmented(
    frames: Tensor, labels: Tensor, columns: Sequence[int], options: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change clips at random.

    Args:
        frames: (batch, time, 3, size, size) in [-1, 1].
        labels: (batch, units).
        columns: Of `mirrored_columns`.
        options: How much.
        generator: CPU generator.

    Returns:
        Frames and labels of the same shapes.
    """
    count = len(frames)
    even = 2 * torch.rand(4, count, generator=generator) - 1
    mirrored = torch.rand(count, generator=generator) < options.flip
    angle = even[0] * options.rotation * math.pi / 180
    side = torch.where(mirrored, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([cos * side, -sin, sin * side, cos], 1).view(-1, 2, 2)
    matrix = torch.cat([rows, torch.zeros(count, 2, 1)], 2)
    size = frames.shape[-1]
    grid = F.affine_grid(matrix, [count, 1, size, size], align_corners=False)
    flat = F.grid_sample(frames.flatten(1, 2), grid, padding_mode="border", align_corners=False)
    frames = _recoloured(flat.view_as(frames), 1 + options.jitter * even[1:, :, None, None, None, None])
    labels = torch.where(mirrored[:, None], labels[:, list(columns)], labels)
    return frames, labels


def _recoloured(frames: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast about the clip's mean, and saturation of frames in [-1, 1]."""
    light, contrast, colour = factors
    frames = (frames + 1) * light
    mean = frames.mean(dim=(1, 2, 3, 4), keepdim=True)
    frames = (frames - mean) * contrast + mean
    grey = frames.mean(dim=2, keepdim=True)
    return ((frames - grey) * colour + grey).clamp(0, 2) - 1


@dataclass(frozen=True, eq=False)
class ClipBatches:
    """Shuffled, augmented batches of training clips.

    Attributes:
        frames: (n, time, size, size, 3) uint8.
        labels: (n, units) of 0 and 1.
        subject_ids: (n,) int64, or None for no subject loss.
        names: Of the units.
        batch_size: Clips a step; the last batch of an epoch is smaller.
        seed: Of order and augmentation.
        augmentation: How much clips are changed.
    """

    frames: np.ndarray
    labels: np.ndarray
    subject_ids: np.ndarray | None
    names: Sequence[str]
    batch_size: int
    seed: int = 0
    augmentation: Augmentation = Augmentation()

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.frames) / self.batch_size)

    def __call__(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch."""
        seed = int(np.random.SeedSequence([self.seed, epoch, 1]).generate_state(1)[0])
        generator, columns = torch.Generator().manual_seed(seed), mirrored_columns(self.names)
        for rows in torch.randperm(len(self.frames), generator=generator).split(self.batch_size):
            labels = torch.from_numpy(self.labels[rows]).float()
            frames = pixel_values(self.frames[rows])
            frames, labels = augmented(frames, labels, columns, self.augmentation, generator)
            batch = {"pixel_values": frames, "labels": labels}
            if self.subject_ids is not None:
                batch["subject_ids"] = torch.from_numpy(self.subject_ids[rows])
            yield batch


def pixel_values(frames: np.ndarray) -> Tensor:
    """uint8 frames (n, time, size, size, 3) as AC4AU takes them: (n, time, 3, size, size) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 1, 4, 2, 3).float() / 127.5 - 1

"""The painter's tools: random numbers per face, soft shapes, and paint laid over paint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: A number of each face, (n, 1, 1), a picture of each, (n, h, w), or one number for all.
Level = Tensor | float


class Draw:
    """Random numbers of a batch of faces, each of shape (n, 1, 1), from one generator."""

    def __init__(self, n: int, generator: torch.Generator):
        self.n, self.generator = n, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        """Even between two numbers, (n, 1, 1) or (n, *shape)."""
        shape = shape or (1, 1)
        return low + (high - low) * torch.rand(self.n, *shape, generator=self.generator)

    def normal(self, mean: float, deviation: float) -> Tensor:
        """Normal, cut off at two deviations."""
        return mean + deviation * torch.randn(self.n, 1, 1, generator=self.generator).clamp(-2, 2)

    def chance(self, share: float) -> Tensor:
        """1 in this share of faces, else 0."""
        return (self.uniform() < share).float()

    def palette(self, colours: tuple, jitter: float, position: Tensor | None = None) -> Tensor:
        """A colour (n, 3, 1, 1) between two neighbours of a list, with a little jitter per channel."""
        table = torch.tensor(colours)
        position = self.uniform() if position is None else position
        index = position.reshape(-1).clamp(0, 1) * (len(colours) - 1)
        low = index.long().clamp(max=len(colours) - 2)
        part = (index - low)[:, None]
        colour = table[low] * (1 - part) + table[low + 1] * part
        colour = colour[..., None, None] * (1 + jitter * self.uniform(-1, 1, 3, 1, 1))
        return (colour * self.uniform(1 - jitter, 1 + jitter, 1, 1, 1)).clamp(0, 1)

    def noise(self, size: int, rows: int, columns: int) -> Tensor:
        """Smooth noise (n, size, size) of unit deviation with the given number of cells."""
        grid = torch.randn(self.n, 1, rows, columns, generator=self.generator)
        field = F.interpolate(grid, size=(size, size), mode="bicubic", align_corners=False)[:, 0]
        return field * field.square().mean((1, 2), keepdim=True).clamp_min(1e-6).rsqrt()


def tint(red: float, green: float, blue: float) -> Tensor:
    """A colour (3, 1, 1)."""
    return torch.tensor([red, green, blue])[:, None, None]


def bump(x: Tensor, y: Tensor, cx: Level, cy: Level, sx: Level, sy: Level) -> Tensor:
    """A Gaussian of height 1."""
    return torch.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def ridge(distance: Tensor, width: Level) -> Tensor:
    """A line of height 1: a Gaussian of the distance to it."""
    return torch.exp(-0.5 * (distance / width) ** 2)


def edge(distance: Tensor, softness: Level) -> Tensor:
    """Coverage in [0, 1] of a shape whose signed distance (positive inside) is given."""
    return torch.sigmoid(distance / softness)


def over(image: Tensor, colour: Level, alpha: Tensor) -> Tensor:
    """Paint ``colour`` (n, 3, ., .) or a number over ``image`` (n, 3, h, w) with coverage ``alpha`` (n, h,
    w)."""
    return image + alpha[:, None] * (colour - image)

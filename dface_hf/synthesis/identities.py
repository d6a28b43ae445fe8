"""Identities: faces to animate. Procedural ones without end, any aligned photo, and variations of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .fields import identity_modes
from .portraits import paint_portraits
from .seeds import seeded

CHUNK = 32  # faces painted at a time: the working set stays near the cache, and the result depends on it


def procedural_faces(
    n: int, size: int = 64, seed: int = 0, device: str | torch.device = "cpu", oversample: int = 2
) -> torch.Tensor:
    """Faces drawn from a seed.

    Args:
        n: Number of faces. They are painted 32 at a time; whole groups of 32 do not depend on ``n``.
        size: Height and width in pixels.
        seed: Equal seeds give equal faces.
        device: Where the result is put (it is painted on the CPU, so that it is the same everywhere).
        oversample: Painted at ``oversample * size`` and averaged down; 1 is faster and slightly rougher.

    Returns:
        (n, 3, size, size) float32 in [0, 1], RGB, in the aligned crop (eye centres near (+-0.35, -0.21),
        mouth centre near (0, 0.48)).
    """
    faces = []
    for start in range(0, n, CHUNK):
        generator = seeded("faces", seed, start // CHUNK)
        painted = paint_portraits(min(CHUNK, n - start), size * oversample, generator)
        faces.append(F.avg_pool2d(painted, oversample) if oversample > 1 else painted)
    return torch.cat(faces).to(device)


def faces_from_images(images: Sequence[np.ndarray | torch.Tensor], size: int = 64) -> torch.Tensor:
    """Aligned photos as identities.

    Args:
        images: Aligned crops, each (H, W, 3) or (H, W) uint8, or (3, H, W) float in [0, 1]; H = W, any size.
        size: Height and width of the result.

    Returns:
        (n, 3, size, size) float32 in [0, 1].

    Raises:
        ValueError: An image is not a square crop of one or three channels; the message says which.
    """
    faces = []
    for number, image in enumerate(images):
        face = torch.as_tensor(np.asarray(image))
        if face.ndim == 2:
            face = face[..., None].expand(-1, -1, 3)
        if face.ndim == 3 and face.shape[0] != 3 and face.shape[-1] == 3:
            face = face.permute(2, 0, 1)
        if face.ndim != 3 or face.shape[0] != 3 or face.shape[1] != face.shape[2]:
            raise ValueError(
                f"image {number} has shape {tuple(np.shape(image))}; give square aligned crops (S, S, 3)"
            )
        face = face.float() / 255 if face.dtype == torch.uint8 else face.float()
        faces.append(
            F.interpolate(face[None], (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
        )
    return torch.stack(faces).clamp(0, 1)


def random_geometry(
    n: int, modes: torch.Tensor, generator: torch.Generator, strength: float = 1.0
) -> torch.Tensor:
    """Smooth random changes of face geometry.

    Args:
        n: How many.
        modes: (M, 2, S, S) from :func:`~dface_hf.synthesis.fields.identity_modes`.
        generator: CPU generator.
        strength: 1 spreads faces about as the 3-D face model's population does; 0 gives none.

    Returns:
        (n, 2, S, S) displacements (dx, dy) in crop half-widths, to be added to a sampling grid.
    """
    weights = strength * torch.randn(n, len(modes), generator=generator).clamp(-2, 2)
    return (weights @ modes.flatten(1)).view(n, *modes.shape[1:])


def random_tone(
    n: int, generator: torch.Generator, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random exposure of a picture: colour gain (n, 3, 1, 1) and gamma (n, 1, 1, 1)."""
    gain = 1 + strength * (0.12 * uniform(n, 1, generator) + 0.05 * uniform(n, 3, generator))
    gamma = torch.exp(0.25 * strength * uniform(n, 1, generator))
    return gain[..., None, None], gamma[..., None, None]


def random_light(n: int, size: int, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Random slow change of illumination over the face: factors (n, 1, size, size) around 1."""
    cells = torch.randn(n, 1, 3, 3, generator=generator)
    field = F.interpolate(cells, (size, size), mode="bilinear", align_corners=True)
    return torch.exp(0.12 * strength * field)


def vary_faces(
    faces: torch.Tensor, seed: int = 0, count: int | None = None, strength: float = 1.0, mirror: bool = True
) -> torch.Tensor:
    """New identities out of a bank: geometry, colour, light and side changed at random.

    Args:
        faces: (n, 3, S, S) in [0, 1].
        seed: Equal seeds give equal results.
        count: How many to make (default: one of each face, in order); more draws faces at random.
        strength: 0 returns the faces as they are but for mirroring.
        mirror: Flip half of them left to right.

    Returns:
        (count, 3, S, S) in [0, 1].
    """
    generator = seeded("vary", seed)
    n, size = (count or len(faces)), faces.shape[-1]
    if count is not None:
        faces = faces[torch.randint(len(faces), (count,), generator=generator)]
    grid = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, size, size], align_corners=False)
    if mirror:
        flip = (torch.rand(n, generator=generator) < 0.5)[:, None, None]
        grid[..., 0] = torch.where(flip, -grid[..., 0], grid[..., 0])
    grid = grid + random_geometry(n, identity_modes(size), generator, strength).permute(0, 2, 3, 1)
    faces = F.grid_sample(faces, grid, mode="bicubic", padding_mode="border", align_corners=False)
    gain, gamma = random_tone(n, generator, strength)
    light = random_light(n, size, generator, strength)
    return (faces.clamp(1e-4, 1) ** gamma * gain * light).clamp(0, 1)


def uniform(n: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """(n, columns) uniform in [-1, 1]."""
    return 2 * torch.rand(n, columns, generator=generator) - 1


class IdentityBank:
    """A bank of procedural faces that is replaced little by little, and can be rebuilt for any step.

    Args:
        count: Number of faces, rounded up to a multiple of 32.
        size: Pixels of each face.
        seed: Equal seeds give equal banks.
        refresh_every: After so many steps the next 32 faces are replaced by new ones; 0 keeps the bank for
            ever.
    """

    def __init__(self, count: int, size: int, seed: int = 0, refresh_every: int = 0):
        self.chunks = max(1, (count + CHUNK - 1) // CHUNK)
        self.size, self.seed, self.refresh_every = size, seed, refresh_every
        self.generations = [-1] * self.chunks
        self.faces = torch.empty(self.chunks * CHUNK, 3, size, size, dtype=torch.uint8)

    def at(self, step: int) -> torch.Tensor:
        """The bank (n, 3, size, size) uint8 as it is at a step; only what has changed is painted."""
        turns = step // self.refresh_every if self.refresh_every else 0
        for chunk in range(self.chunks):
            generation = (turns + self.chunks - 1 - chunk) // self.chunks
            if self.generations[chunk] != generation:
                painted = paint_portraits(CHUNK, self.size, seeded("bank", self.seed, chunk, generation))
                self.faces[chunk * CHUNK : (chunk + 1) * CHUNK] = (painted * 255 + 0.5).byte()
                self.generations[chunk] = generation
        return self.faces

"""What changes between two frames of a face without any facial action: camera, light, sensor, compression,
blink.

Every function is small, batched, and takes its strength as an argument; :class:`NuisanceConfig` holds the
ranges they are drawn from. Lengths are in pixels of a 128 px aligned crop whatever the size of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F

REFERENCE_SIZE = 128  # pixels of the aligned crop in which all lengths are given


@dataclass(frozen=True)
class NuisanceConfig:
    """Ranges of the nuisances of a pair (onset, apex).

    Attributes:
        pose: Largest shift of BOTH frames (px of 128), as of an imperfect alignment.
        pose_rotation: Largest rotation of both frames, degrees.
        pose_scale: Largest relative change of scale of both frames.
        drift: Largest head shift from onset to apex (px of 128).
        rotation: Largest head rotation from onset to apex, degrees.
        scale: Largest relative change of scale from onset to apex.
        gain: Largest relative change of brightness from onset to apex.
        offset: Largest change of black level from onset to apex, in [0, 1] units.
        tilt: Largest change of a light ramp across the face from onset to apex.
        noise: Range of the sensor noise's standard deviation, in grey levels of 255.
        jpeg_share: Share of the pairs that are compressed.
        jpeg_quality: Range of the JPEG quality.
        blink: Share of the pairs with a (partial) blink in the apex frame.
        grey: Share of the pairs without colour.
        blur: Largest standard deviation of a blur common to both frames (px of the picture itself).
        geometry: Strength of the random change of the identity's geometry.
        tone: Strength of the random exposure, colour and light common to both frames.
        mirror: Share of the identities that are flipped left to right.
    """

    pose: float = 3.0
    pose_rotation: float = 3.0
    pose_scale: float = 0.04
    drift: float = 0.7
    rotation: float = 0.5
    scale: float = 0.004
    gain: float = 0.02
    offset: float = 0.006
    tilt: float = 0.015
    noise: tuple[float, float] = (1.0, 3.0)
    jpeg_share: float = 0.3
    jpeg_quality: tuple[int, int] = (85, 100)
    blink: float = 0.05
    grey: float = 0.3
    blur: float = 0.6
    geometry: float = 1.0
    tone: float = 1.0
    mirror: float = 0.5

    @classmethod
    def none(cls) -> NuisanceConfig:
        """No nuisance at all: two frames differ by the action alone, up to interpolation."""
        zeros = {name: 0.0 for name in cls.__dataclass_fields__ if name not in ("noise", "jpeg_quality")}
        return cls(noise=(0.0, 0.0), **zeros)

    def but(self, **changes) -> NuisanceConfig:
        """A copy with some ranges changed."""
        return replace(self, **changes)


def similarity(shift: torch.Tensor, degrees: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Similarity transforms (n, 2, 3) of crop coordinates.

    Args:
        shift: (n, 2) in px of a 128 crop.
        degrees: (n,) rotation.
        scale: (n,) factor.
    """
    angle = degrees * math.pi / 180
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    return torch.cat([rows, (shift * (2 / REFERENCE_SIZE))[..., None]], -1)


def draw_pose(n: int, nuisances: NuisanceConfig, generator: torch.Generator) -> torch.Tensor:
    """Poses (n, 2, 3) from frame to picture, common to all frames of a pair or clip."""
    draw = 2 * torch.rand(n, 4, generator=generator) - 1
    shift, degrees, scale = draw[:, :2], draw[:, 2], draw[:, 3]
    return similarity(
        nuisances.pose * shift, nuisances.pose_rotation * degrees, 1 + nuisances.pose_scale * scale
    )


def blur(frames: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur (n, c, h, w) by a 3-tap binomial-like kernel whose variance is ``sigma`` squared (n,), at most
    0.7 px."""
    side = (0.5 * sigma.clamp(0, 0.7) ** 2)[:, None, None, None]
    padded = F.pad(frames, (1, 1, 0, 0), mode="replicate")
    frames = frames + side * (padded[..., 2:] + padded[..., :-2] - 2 * frames)
    padded = F.pad(frames, (0, 0, 1, 1), mode="replicate")
    return frames + side * (padded[..., 2:, :] + padded[..., :-2, :] - 2 * frames)


def luminance(frames: torch.Tensor) -> torch.Tensor:
    """Rec. 601 luma (n, 1, h, w) of RGB frames (n, 3, h, w)."""
    return (frames * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1).to(frames)).sum(1, keepdim=True)


def light_ramp(size: int, direction: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Factors (n, 1, size, size) of a light that grows by ``strength`` (n,) towards ``direction`` (n,), in
    radians."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    ramp = direction.cos()[:, None, None] * axis + direction.sin()[:, None, None] * axis[:, None]
    return (1 + strength[:, None, None] * ramp)[:, None]


# luminance table of the JPEG standard (ITU-T T.81, Annex K, table K.1)
_LUMINANCE_TABLE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)


def jpeg_like(frames: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """The loss of JPEG without its coding: 8x8 cosine blocks rounded by the standard's luminance table.

    Args:
        frames: (n, c, h, w) in [0, 1]; beyond the edge the last pixels are repeated to whole blocks. Channels
            are treated alike (no chroma subsampling).
        quality: (n,) in [1, 100], libjpeg's scaling of the table.

    Returns:
        (n, c, h, w), not clamped.
    """
    height, width = frames.shape[-2:]
    frames = F.pad(frames, (0, -width % 8, 0, -height % 8), mode="replicate")
    n, c, h, w = frames.shape
    factor = torch.where(quality < 50, 50 / quality.clamp_min(1), 2 - quality / 50)[:, None, None]
    table = (_LUMINANCE_TABLE * factor).clamp(1, 255)[:, None, :, None, :] / 255
    basis = _cosines()
    blocks = frames.reshape(n, c, h // 8, 8, w // 8, 8)
    spectrum = torch.einsum("ui,ncyixj,vj->ncyuxv", basis, blocks, basis)
    table = table[:, None]
    spectrum = torch.round(spectrum / table) * table
    blocks = torch.einsum("ui,ncyuxv,vj->ncyixj", basis, spectrum, basis)
    return blocks.reshape(n, c, h, w)[..., :height, :width]


def _cosines() -> torch.Tensor:
    index = torch.arange(8.0)
    basis = torch.cos((2 * index + 1) * index[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """A frame (H, W, 3) uint8 RGB after real JPEG compression."""
    ok, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not ok:
        raise ValueError(f"JPEG could not encode a frame of shape {frame.shape}")
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


class NoiseBank:
    """Gaussian noise drawn once and read at random places: a fiftieth of the cost of drawing it anew.

    Args:
        size: Pixels of the frames.
        seed: Equal seeds give equal banks.
    """

    def __init__(self, size: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.size = size
        self.values = torch.randn(1 << 21, generator=generator)

    def draw(self, n: int, channels: int, generator: torch.Generator) -> torch.Tensor:
        """(n, channels, size, size) of unit deviation, a fresh place of the bank for every frame."""
        length = channels * self.size**2
        starts = torch.randint(len(self.values) - length, (n,), generator=generator)
        windows = self.values.unfold(0, length, 1)[starts]
        return windows.view(n, channels, self.size, self.size)

"""Frames as patches, in raster order, and patches as frames."""

import torch
from torch import nn

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .layers_dface import DFaceLayerNorm


class DFacePatchEmbeddings(nn.Module):
    """Cut frames into patches: LayerNorm, Linear, LayerNorm, shared by both frames."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.patch_size = config.patch_size
        patch_dim = config.num_channels * config.patch_size**2
        self.patch_norm = DFaceLayerNorm(patch_dim, eps=config.layer_norm_eps)
        self.projection = nn.Linear(patch_dim, config.hidden_size)
        self.norm = DFaceLayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (batch, time, channels, height, width) to (batch, time, patches, hidden_size)."""
        patches = self.patch_norm(to_patches(frames, self.patch_size))
        return self.norm(self.projection(patches.to(self.projection.weight.dtype)))


def to_patches(frames: torch.Tensor, size: int) -> torch.Tensor:
    """(batch, time, channels, height, width) -> (batch, time, patches, channels * size**2), raster order."""
    patches = frames.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))  # (b, t, c, h, p, w, p)
    return patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def from_patches(patches: torch.Tensor, size: int, grid: int) -> torch.Tensor:
    """(batch, patches, channels * size * size) -> (batch, channels, grid * size, grid * size)."""
    image = patches.unflatten(-1, (-1, size, size)).unflatten(1, (grid, grid))  # (b, h, w, c, p, p)
    return image.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


__all__ = ["DFacePatchEmbeddings", "from_patches", "to_patches"]

"""HTNet (Wang et al., Neurocomputing 2024): four crops of the flow picture and a nested transformer.

Crops at the eyes and the lip corners are tiled to one picture; patches become tokens; attention stays inside
blocks of patches, and between two levels a convolution and a pooling join each 2x2 blocks to one (after NesT,
Zhang et al., AAAI 2022). At the published sizes (28 px, patches of 7 px, 3 levels) a block holds ONE patch at
each level, so that only the joins mix places.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_flow_baselines import HTNetConfig
from .modeling_flow_baselines import FlowBaselinePreTrainedModel, classification_loss


def tile_regions(pixel_values: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Cut a half-size crop around each of four centres and tile them: eyes above, lip corners below.

    Args:
        pixel_values: (batch, channels, size, size).
        centers: (batch, 4, 2) x and y in pixels, of image-left eye, image-right eye, image-left and
            image-right lip corner. Crops are moved inside the picture.

    Returns:
        (batch, channels, size, size).
    """
    half = pixel_values.shape[-1] // 2
    start = (centers.round().long() - half // 2).clamp(0, pixel_values.shape[-1] - half)
    offsets = torch.arange(half, device=pixel_values.device)
    columns, rows = (start[..., axis, None] + offsets for axis in (0, 1))  # each (batch, 4, half)
    sides = (half, pixel_values.shape[-1])
    tiles = []
    for region in range(4):
        row = rows[:, region, None, :, None].expand(-1, pixel_values.shape[1], *sides)
        column = columns[:, region, None, None, :].expand(-1, pixel_values.shape[1], half, half)
        tiles.append(pixel_values.gather(2, row).gather(3, column))
    return torch.cat([torch.cat(tiles[:2], dim=3), torch.cat(tiles[2:], dim=3)], dim=2)


class HTNetLayer(nn.Module):
    """Pre-norm attention inside a block of patches, and feed-forward."""

    def __init__(self, config: HTNetConfig, width: int, heads: int):
        super().__init__()
        self.heads, head_dim = heads, width // heads
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.to_qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.projection = nn.Linear(heads * head_dim, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.Linear(width, config.mlp_ratio * width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.mlp_ratio * width, width),
            nn.Dropout(config.dropout),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map (blocks, tokens, width) to the same shape."""
        qkv = self.to_qkv(self.attention_norm(states)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        # Written out: `vmap` has no rule for the fused attention of CPUs.
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)
        attended = (weights @ value).transpose(1, 2).flatten(2)
        states = states + self.dropout(self.projection(attended))
        return states + self.feed_forward(states)


class HTNetJoin(nn.Module):
    """Joins 2x2 blocks: conv 3x3 to the next width, layer norm over channels, 3x3 max pooling of stride 2."""

    def __init__(self, config: HTNetConfig, width: int):
        super().__init__()
        self.convolution = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norm = nn.LayerNorm(2 * width, eps=config.layer_norm_eps)

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """Map (batch, side, side, width) to (batch, side / 2, side / 2, 2 width)."""
        states = self.norm(self.convolution(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return F.max_pool2d(states.permute(0, 3, 1, 2), 3, stride=2, padding=1).permute(0, 2, 3, 1)


class HTNetForImageClassification(FlowBaselinePreTrainedModel):
    """HTNet. Chosen here: learned positions of the patches, dropout 0, GELU, mean pooling."""

    config: HTNetConfig

    def __init__(self, config: HTNetConfig):
        super().__init__(config)
        widths = [config.hidden_size * 2**level for level in range(len(config.depths))]
        heads = [config.num_attention_heads * 2**level for level in range(len(config.depths))]
        patch = config.num_channels * config.patch_size**2
        self.patch_embedding = nn.Sequential(
            nn.LayerNorm(patch), nn.Linear(patch, widths[0]), nn.LayerNorm(widths[0])
        )
        self.position_embeddings = nn.Parameter(torch.empty(config.grid_size, config.grid_size, widths[0]))
        self.levels = nn.ModuleList(
            nn.Sequential(*(HTNetLayer(config, *sizes) for _ in range(depth)))
            for *sizes, depth in zip(widths, heads, config.depths, strict=True)
        )
        self.joins = nn.ModuleList(HTNetJoin(config, width) for width in widths[:-1])
        self.norm = nn.LayerNorm(widths[-1], eps=config.layer_norm_eps)
        self.classifier = nn.Linear(widths[-1], config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, HTNetForImageClassification):
            init.normal_(module.position_embeddings, std=0.02)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        region_centers: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> ImageClassifierOutput:
        """Classify flow pictures.

        Args:
            pixel_values: (batch, num_channels, image_size, image_size), each channel in [0, 1].
            region_centers: (batch, 4, 2) x and y in pixels of eyes and lip corners; the configuration's when
                not given.
            labels: As for the other flow baselines.
        """
        logits = self.classify(self.tiled(self.checked(pixel_values), region_centers))
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def tiled(self, pixel_values: torch.Tensor, region_centers: torch.Tensor | None = None) -> torch.Tensor:
        """The picture that is cut into patches, (batch, num_channels, image_size, image_size)."""
        if region_centers is None:
            if self.config.region_centers is None:
                return pixel_values
            centers = pixel_values.new_tensor(self.config.region_centers) * self.config.image_size
            region_centers = centers.expand(pixel_values.shape[0], 4, 2)
        return tile_regions(pixel_values, region_centers)

    def classify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map tiled pictures (batch, 3, 28, 28) to logits."""
        return self.classifier(self.norm(self.grids(pixel_values)[-1].mean(dim=(1, 2))))

    def grids(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """The tokens (batch, side, side, width) after the layers of each level."""
        patch, grid = self.config.patch_size, self.config.grid_size
        patches = pixel_values.unflatten(3, (grid, patch)).unflatten(2, (grid, patch))
        patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3)
        states = self.patch_embedding(patches) + self.position_embeddings
        found = []
        for level, layers in enumerate(self.levels):
            states = self.joins[level - 1](states) if level else states
            blocks = 2 ** (len(self.levels) - 1 - level)
            states = from_blocks(layers(to_blocks(states, blocks)), blocks)
            found.append(states)
        return found


def to_blocks(grid: torch.Tensor, blocks: int) -> torch.Tensor:
    """(batch, side, side, width) -> (batch x blocks x blocks, tokens of a block, width)."""
    size = grid.shape[1] // blocks
    split = grid.unflatten(2, (blocks, size)).unflatten(1, (blocks, size))
    return split.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(0, 2)


def from_blocks(states: torch.Tensor, blocks: int) -> torch.Tensor:
    """The inverse of `to_blocks`."""
    size = int(states.shape[1] ** 0.5)
    split = states.unflatten(1, (size, size)).unflatten(0, (-1, blocks, blocks))
    return split.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


__all__ = ["HTNetForImageClassification", "tile_regions"]

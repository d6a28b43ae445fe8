"""MobileFaceNet with a spatial transformer between its stages: one frame in, one vector out.

MobileFaceNet: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices" (CCBR 2018), tables 1 and 2.
"""

import torch
from torch import nn

from .configuration_ac4au import AC4AUConfig


def transformer_layer(config: AC4AUConfig, width: int) -> nn.TransformerEncoderLayer:
    """A pre-norm layer for (batch, tokens, width)."""
    return nn.TransformerEncoderLayer(
        width,
        config.num_attention_heads,
        config.mlp_ratio * width,
        dropout=config.dropout,
        activation="gelu",
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
        norm_first=True,
    )


class AC4AUConvLayer(nn.Sequential):
    """Convolution without bias, batch norm and, unless it is linear, PReLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride=1, padding=0, groups=1, linear=False):
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out),
            nn.Identity() if linear else nn.PReLU(out),
        )


class AC4AUBottleneck(nn.Module):
    """Inverted bottleneck: 1x1 to the inner width, depth-wise 3x3, linear 1x1; residual at stride 1."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int):
        super().__init__()
        inner = expansion * channels
        self.residual = stride == 1
        self.layers = nn.Sequential(
            AC4AUConvLayer(channels, inner, 1),
            AC4AUConvLayer(inner, inner, 3, stride, padding=1, groups=inner),
            AC4AUConvLayer(inner, out, 1, linear=True),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (frames, channels, height, width) to (frames, out, height / stride, width / stride)."""
        return maps + self.layers(maps) if self.residual else self.layers(maps)


class AC4AUSpatialTransformer(nn.Module):
    """Lets the places of one map speak with each other, and adds what they say to the map.

    Cells become tokens with learned positions, pass a transformer, become a map again and go through three
    convolutions, each with batch norm, with PReLU after the first. Chosen here: kernels 1, 3 (depth-wise), 1.
    """

    def __init__(self, config: AC4AUConfig, width: int, side: int):
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.empty(1, side**2, width))
        self.layers = nn.ModuleList(
            transformer_layer(config, width) for _ in range(config.num_spatial_layers)
        )
        self.mapping = nn.Sequential(
            AC4AUConvLayer(width, width, 1),
            AC4AUConvLayer(width, width, 3, padding=1, groups=width, linear=True),
            AC4AUConvLayer(width, width, 1, linear=True),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (frames, width, side, side) to the same shape."""
        tokens = maps.flatten(2).transpose(1, 2) + self.position_embeddings
        for layer in self.layers:
            tokens = layer(tokens)
        return maps + self.mapping(tokens.transpose(1, 2).unflatten(2, maps.shape[2:]))


class AC4AUBackbone(nn.Module):
    """MobileFaceNet with spatial transformers after some of its stages.

    Stem 3x3 of stride 2 and depth-wise 3x3; three stages of bottlenecks, each halving the map; 1x1 to
    `head_channels`; depth-wise convolution over the whole map; linear to `hidden_size`; batch norm.
    """

    def __init__(self, config: AC4AUConfig):
        super().__init__()
        stem = config.stem_channels
        self.stem = nn.Sequential(
            AC4AUConvLayer(config.num_channels, stem, 3, stride=2, padding=1),
            AC4AUConvLayer(stem, stem, 3, padding=1, groups=stem),
        )
        widths = [stem, *config.stage_channels]
        self.stages = nn.ModuleList(_stage(config, index, *widths[index : index + 2]) for index in range(3))
        self.spatial = nn.ModuleDict()
        for stage in config.spatial_stages:
            side = config.image_size // 4 // 2**stage
            self.spatial[str(stage)] = AC4AUSpatialTransformer(config, widths[stage + 1], side)
        head = config.head_channels
        self.head = nn.Sequential(
            AC4AUConvLayer(widths[-1], head, 1),
            AC4AUConvLayer(head, head, config.grid_size, groups=head, linear=True),
            nn.Flatten(),
        )
        self.projection = nn.Linear(head, config.hidden_size, bias=False)
        self.norm = nn.BatchNorm1d(config.hidden_size)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (frames, channels, image_size, image_size) to (frames, hidden_size)."""
        maps = self.stem(frames)
        for index, stage in enumerate(self.stages):
            maps = stage(maps)
            if str(index) in self.spatial:
                maps = self.spatial[str(index)](maps)
        return self.norm(self.projection(self.head(maps)))


def _stage(config: AC4AUConfig, index: int, channels: int, out: int) -> nn.Sequential:
    first = AC4AUBottleneck(channels, out, config.stage_expansions[index], stride=2)
    rest = (AC4AUBottleneck(out, out, config.expansion, stride=1) for _ in range(config.stage_depths[index]))
    return nn.Sequential(first, *rest)

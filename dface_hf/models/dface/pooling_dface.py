"""From the states of sixteen tokens to one vector: attention with one query, as the paper has it, and what it
is compared with (its ablations)."""

import torch
from torch import nn

from .configuration_dface import DFaceConfig


class DFaceAttentionPooling(nn.Module):
    """LayerNorm, softmax over one learned query, weighted sum: which tokens the emotion was read from."""

    def __init__(self, config: DFaceConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.query = nn.Parameter(torch.empty(config.hidden_size))
        self.scaling = 1 / (config.pooling_temperature * config.hidden_size**0.5)

    def begin(self, states: torch.Tensor) -> torch.Tensor:
        """What the layers are given: the tokens (batch, tokens, hidden_size) as they are."""
        return states

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, tokens, hidden_size) to the pooled (batch, hidden_size) and the weights (batch,
        tokens)."""
        states = self.norm(states)
        weights = (states @ self.query * self.scaling).softmax(dim=-1)
        return (weights[..., None] * states).sum(dim=1), weights


class DFaceMeanPooling(nn.Module):
    """LayerNorm and the plain mean: all tokens weigh the same."""

    def __init__(self, config: DFaceConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def begin(self, states: torch.Tensor) -> torch.Tensor:
        """What the layers are given: the tokens (batch, tokens, hidden_size) as they are."""
        return states

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, tokens, hidden_size) to the mean (batch, hidden_size) and equal weights (batch,
        tokens)."""
        weights = states.new_full(states.shape[:2], 1 / states.shape[1])
        return self.norm(states).mean(dim=1), weights


class DFaceClassTokenPooling(nn.Module):
    """A learned token joins the others in the layers, and its state is the result."""

    def __init__(self, config: DFaceConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.class_token = nn.Parameter(torch.empty(config.hidden_size))

    def begin(self, states: torch.Tensor) -> torch.Tensor:
        """What the layers are given (batch, 1 + tokens, hidden_size): the class token comes first."""
        return torch.cat([self.class_token.expand(states.shape[0], 1, -1), states], dim=1)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, 1 + tokens, hidden_size) to the class token's (batch, hidden_size), and equal weights
        (batch, tokens): what it read inside the layers is not one number a token."""
        tokens = states.shape[1] - 1
        return self.norm(states[:, 0]), states.new_full((states.shape[0], tokens), 1 / tokens)


POOLINGS = {
    "attention": DFaceAttentionPooling,
    "mean": DFaceMeanPooling,
    "class_token": DFaceClassTokenPooling,
}


class DFaceConvLayer(nn.Module):
    """A 3x3 convolution over the token grid with a residual, in the place of a transformer layer."""

    def __init__(self, config: DFaceConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.conv = nn.Conv2d(config.hidden_size, config.hidden_size, 3, padding=1)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map (batch, tokens, hidden_size), tokens in raster order of a square grid, to the same shape."""
        side = round(states.shape[1] ** 0.5)
        grid = self.norm(states).transpose(1, 2).unflatten(2, (side, side))
        return states + self.dropout(self.conv(grid).relu().flatten(2).transpose(1, 2))


class DFaceGridPositions(nn.Module):
    """Learned positions in two dimensions: one vector a row plus one a column."""

    def __init__(self, config: DFaceConfig):
        super().__init__()
        side = round(config.tokenizer_config.num_action_tokens**0.5)
        self.rows = nn.Parameter(torch.empty(side, 1, config.hidden_size))
        self.columns = nn.Parameter(torch.empty(1, side, config.hidden_size))

    def forward(self) -> torch.Tensor:
        """Return (1, tokens, hidden_size)."""
        return (self.rows + self.columns).flatten(0, 1)[None]


__all__ = [
    "POOLINGS",
    "DFaceAttentionPooling",
    "DFaceClassTokenPooling",
    "DFaceConvLayer",
    "DFaceGridPositions",
    "DFaceMeanPooling",
]

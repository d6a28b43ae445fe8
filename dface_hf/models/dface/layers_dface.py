"""Transformer layers of the D-FACE tokenizer.

Hidden states are a volume of shape (batch, time, height * width, hidden_size). Three things differ from a
plain vision transformer: a depth-wise 3x3x3 position convolution before each layer, queries and keys that are
L2-normalised with a learned scale, and a GEGLU feed-forward layer.

Hidden states stay in float32 whatever the weights' type: an action is the small difference of two frames that
are nearly equal, and rounding both of them to bfloat16 after every layer would change one moving token in
nine. Only what a matrix product, a convolution or attention reads is rounded.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_dface_tokenizer import DFaceTokenizerConfig

# Logit scale for unit-norm queries and keys: fixed in the reference, the learned part is in q_scale and
# k_scale.
ATTENTION_SCALE = 8.0
# Queries and keys shorter than this are not stretched to unit length: a vector of zeros has no direction, and
# the gradient of one would be its inverse length times too large. Those of trained weights are .1 to 20 long.
SHORTEST = 1e-3


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with weights: (batch, heads, tokens, head_dim) -> (batch, tokens, heads, head_dim)."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.dropout(scores.softmax(dim=-1), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def pair_attention_forward(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Attention over two tokens (batch, heads, 2, head_dim) -> (batch, 2, heads, head_dim).

    Two weights that sum to one are a sigmoid of the scores' difference: sums over whole tensors instead of
    thousands of 2x2 matrices.
    """
    contrast = query * (key[:, :, :1] - key[:, :, 1:])
    first = (scaling * contrast.sum(dim=-1, keepdim=True)).sigmoid()
    first = first.to(value.dtype)  # under autocast the scores are float32
    return torch.lerp(value[:, :, 1:], value[:, :, :1], first).transpose(1, 2)


class DFaceLayerNorm(nn.LayerNorm):
    """LayerNorm that computes, and returns, float32 whatever the type of input and weights."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map (..., size) to the same shape."""
        dtype = torch.promote_types(hidden_states.dtype, torch.float32)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        return F.layer_norm(hidden_states.to(dtype), self.normalized_shape, weight, bias, self.eps)


class DFaceTokenizerAttention(nn.Module):
    """Self- or cross-attention with L2-normalised queries and keys.

    In self-attention the keys and values read the *un-normalised* hidden states, as in the published weights;
    `context_norm` is used only when a context is given.
    """

    is_causal = False

    def __init__(self, config: DFaceTokenizerConfig, num_null_key_values: int = 0):
        super().__init__()
        self.config = config
        self.num_heads, self.head_dim = config.num_attention_heads, config.head_dim
        inner = self.num_heads * self.head_dim
        self.norm = DFaceLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.context_norm = DFaceLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.q_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * inner, bias=False)
        self.o_proj = nn.Linear(inner, config.hidden_size, bias=False)
        self.q_scale = nn.Parameter(torch.ones(self.head_dim))
        self.k_scale = nn.Parameter(torch.ones(self.head_dim))
        # (heads, 2 * n, head_dim): keys at even rows, values at odd rows; none in self-attention.
        null = torch.empty(self.num_heads, 2 * num_null_key_values, self.head_dim)
        self.register_parameter("null_key_values", nn.Parameter(null) if num_null_key_values else None)

    def forward(
        self,
        hidden_states: torch.Tensor,
        context: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map (batch, tokens, hidden_size) to the same shape; also the attention weights where kept."""
        dtype = self.q_proj.weight.dtype
        source = hidden_states if context is None else self.context_norm(context)
        query = self._split(self.q_proj(self.norm(hidden_states).to(dtype)))
        key, value = map(self._split, self.kv_proj(source.to(dtype)).chunk(2, dim=-1))
        if self.null_key_values is not None:
            null = self.null_key_values.to(key.dtype).expand(key.shape[0], -1, -1, -1)
            key = torch.cat([null[:, :, 0::2], key], dim=2)
            value = torch.cat([null[:, :, 1::2], value], dim=2)
        query, key = (F.normalize(states, dim=-1, eps=SHORTEST) for states in (query, key))
        query = query * (self.q_scale * self.k_scale)  # only the product matters: a pass less over the keys
        output, weights = self._attend(query, key, value, position_bias, **kwargs)
        return self.o_proj(output.flatten(2)), weights

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        implementation = self.config._attn_implementation
        pair = query.shape[2] == key.shape[2] == 2 and bias is None
        if pair and implementation != "eager":
            return pair_attention_forward(query, key, value, ATTENTION_SCALE), None
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        bias = None if bias is None else bias.to(query.dtype)
        return attention(self, query, key, value, bias, scaling=ATTENTION_SCALE, **kwargs)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, heads * head_dim) -> (batch, heads, tokens, head_dim)."""
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


class DFacePositionConv(nn.Module):
    """Depth-wise 3x3x3 convolution over (time, height, width), used as a position generator.

    The kernel is used as (w + flip_time(w)) / 2 with time padded on both sides, which makes it equivariant to
    swapping the two frames: written with the frames' sum and difference it is two 2-D convolutions, and an
    identical pair gives two *exactly* equal frames. `reference_compat` pads time by (2, 0) instead, the
    causal form.
    """

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.reference_compat = config.reference_compat
        self.grid_size = config.grid_size
        self.conv = nn.Conv3d(config.hidden_size, config.hidden_size, 3, groups=config.hidden_size)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Map (batch, time, height * width, hidden_size) to the same shape; time is 1 or 2."""
        frames = volume.unflatten(2, (self.grid_size, self.grid_size)).permute(
            0, 1, 4, 2, 3
        )  # (b, t, c, h, w), channels last in memory
        output = self._causal(frames) if self.reference_compat else self._symmetric(frames)
        return output.flatten(3).transpose(2, 3)

    def _symmetric(self, frames: torch.Tensor) -> torch.Tensor:
        same = self.conv.weight[:, :, 1]
        if frames.shape[1] == 1:
            return self._conv2d(frames[:, 0], same, self.conv.bias)[:, None]
        onset, apex = frames.unbind(dim=1)
        other = (self.conv.weight[:, :, 0] + self.conv.weight[:, :, 2]) / 2
        mean = self._conv2d(onset + apex, (same + other) / 2, self.conv.bias)
        half = self._conv2d(onset - apex, (same - other) / 2, None)
        return torch.stack([mean + half, mean - half], dim=1)

    def _causal(self, frames: torch.Tensor) -> torch.Tensor:
        padded = F.pad(frames.transpose(1, 2).to(self.conv.weight.dtype), (1, 1, 1, 1, 2, 0))
        return self.conv(padded).transpose(1, 2)

    def _conv2d(self, image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return F.conv2d(image.to(weight.dtype), weight, bias, padding=1, groups=weight.shape[0])


class DFaceFeedForward(nn.Module):
    """LayerNorm, Linear to twice the inner width, GELU-gated second half, dropout, Linear."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.norm = DFaceLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(config.hidden_size, 2 * config.feedforward_size, bias=False)
        self.dropout = nn.Dropout(config.feedforward_dropout)
        self.down_proj = nn.Linear(config.feedforward_size, config.hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map (..., hidden_size) to the same shape."""
        hidden_states = self.norm(hidden_states).to(self.up_proj.weight.dtype)
        value, gate = self.up_proj(hidden_states).chunk(2, dim=-1)
        # Contiguous: the inner width is odd, and on a CPU the end of each row would go value by value.
        return self.down_proj(self.dropout(value * F.gelu(gate.contiguous())))


class DFaceTokenizerLayer(GradientCheckpointingLayer):
    """Position convolution, self-attention along one axis, cross-attention (decoder only), feed-forward."""

    def __init__(self, config: DFaceTokenizerConfig, axis: str, cross_attention: bool = False):
        super().__init__()
        self.axis, self.reference_compat = axis, config.reference_compat
        self.position_conv = DFacePositionConv(config)
        self.self_attn = DFaceTokenizerAttention(config)
        self.cross_attn = (
            DFaceTokenizerAttention(config, config.num_null_key_values) if cross_attention else None
        )
        self.feed_forward = DFaceFeedForward(config)

    def forward(
        self,
        volume: torch.Tensor,
        context: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        context_bias: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Map (batch, time, height * width, hidden_size) to the same shape."""
        volume = volume + self._position(volume)
        rows = volume.transpose(1, 2) if self.axis == "time" else volume
        batch = rows.shape[:2]
        hidden = rows.flatten(0, 1)
        hidden = hidden + self.self_attn(hidden, position_bias=position_bias, **kwargs)[0]
        if self.cross_attn is not None:
            hidden = hidden + self.cross_attn(hidden, context, context_bias, **kwargs)[0]
        hidden = hidden + self.feed_forward(hidden)
        rows = hidden.unflatten(0, batch)
        return rows.transpose(1, 2) if self.axis == "time" else rows

    def _position(self, volume: torch.Tensor) -> torch.Tensor:
        if not (self.reference_compat and self.axis == "time"):
            return self.position_conv(volume)
        # Published quirk: rows ordered ((b h w), t) are read as (b, t, h, w).
        scrambled = volume.transpose(1, 2).reshape(volume.shape)
        rows = self.position_conv(scrambled).reshape(volume.transpose(1, 2).shape)
        return rows.transpose(1, 2)


class DFaceTransformer(nn.Module):
    """A stack of layers along one axis with a final LayerNorm."""

    def __init__(
        self, config: DFaceTokenizerConfig, num_layers: int, axis: str, cross_attention: bool = False
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            DFaceTokenizerLayer(config, axis, cross_attention=cross_attention) for _ in range(num_layers)
        )
        self.norm = DFaceLayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        volume: torch.Tensor,
        context: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        context_bias: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Map (batch, time, height * width, hidden_size) to the same shape."""
        volume = volume.to(torch.promote_types(volume.dtype, torch.float32))
        for layer in self.layers:
            volume = layer(volume, context, position_bias, context_bias, **kwargs)
        return self.norm(volume)


class DFaceRelativePositionBias(nn.Module):
    """Continuous 2-D relative position bias: an MLP of sign(d) log(1 + |d|) of the patch offset, one value a
    head."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.grid_size = config.grid_size
        self.in_proj = nn.Linear(2, config.hidden_size)
        self.hidden_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_attention_heads)

    def forward(self) -> torch.Tensor:
        """Return the bias (1, heads, patches, patches)."""
        side, weight = self.grid_size, self.in_proj.weight
        # Computed here, not kept as a buffer: a non-persistent buffer is garbage after from_pretrained.
        offsets = torch.arange(1 - side, side, device=weight.device, dtype=weight.dtype)
        scaled = offsets.sign() * (offsets.abs() + 1).log()
        pairs = torch.stack(
            torch.meshgrid(scaled, scaled, indexing="ij"), dim=-1
        )  # (2 side - 1, 2 side - 1, 2)
        hidden = F.leaky_relu(self.in_proj(pairs), 0.1)
        table = self.out_proj(F.leaky_relu(self.hidden_proj(hidden), 0.1)).flatten(0, 1)
        position = torch.arange(side, device=weight.device)
        delta = position[:, None] - position[None, :] + side - 1  # (side, side), 0 .. 2 side - 2
        index = delta[:, None, :, None] * (2 * side - 1) + delta[None, :, None, :]  # (h, w, h, w)
        # Contiguous, as attention reads it once a layer.
        return table[index.reshape(side * side, side * side)].permute(2, 0, 1)[None].contiguous()


class DFacePositionMaps(nn.Module):
    """One linear map, without bias, for each cell of the token grid: zero stays zero."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_action_tokens, config.code_dim, config.code_dim))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map (batch, tokens, code_dim) to the same shape."""
        return torch.einsum("btc,tcd->btd", vectors, self.weight.to(vectors.dtype))


class DFaceTokenPositionBias(nn.Module):
    """Where the tokens are: each head of the decoder's cross-attention prefers those near the patch, by a
    slope.

    Without it the tokens are a set: the decoder cannot know which cell a token belongs to, and the encoder
    answers by writing one summary of the whole face into all sixteen. (In the published implementation the
    mixing reshape takes this part, which `reference_compat` restores.)
    """

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.grid_size, self.token_grid_size = config.grid_size, config.token_grid_size
        self.num_null_key_values = config.num_null_key_values
        self.slope = nn.Parameter(torch.ones(config.num_attention_heads))

    def forward(self) -> torch.Tensor:
        """Return (1, heads, patches, null pairs + tokens): minus slope x squared distance in cells."""
        cells = self.token_grid_size
        patch = (torch.arange(self.grid_size, device=self.slope.device) + 0.5) * cells / self.grid_size
        token = torch.arange(cells, device=self.slope.device) + 0.5
        squared = (patch[:, None] - token[None, :]).pow(2).to(self.slope.dtype)
        distance = squared[:, None, :, None] + squared[None, :, None, :]  # (h, w, token h, token w)
        bias = -self.slope[:, None, None] * distance.flatten(2).flatten(0, 1)
        return F.pad(bias, (self.num_null_key_values, 0))[None]


__all__ = [
    "DFaceFeedForward",
    "DFaceLayerNorm",
    "DFacePositionConv",
    "DFaceRelativePositionBias",
    "DFaceTokenizerAttention",
    "DFaceTokenPositionBias",
    "DFaceTokenizerLayer",
    "DFaceTransformer",
]

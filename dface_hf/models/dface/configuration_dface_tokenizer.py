"""Configuration of the D-FACE tokenizer, a conditional VQ-VAE over an onset/apex pair."""

import math

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class DFaceTokenizerConfig(PreTrainedConfig):
    r"""
    Configuration of [`DFaceTokenizerModel`]. The defaults are the `mini` size (64 px); the paper's size is
    `image_size=256, patch_size=16, hidden_size=512, num_spatial_layers=6, num_temporal_layers=6,
    num_attention_heads=8, head_dim=64`.

    Args:
        image_size (`int`): Side of the square aligned crop in pixels.
        patch_size (`int`): Side of a patch; `image_size / patch_size` is the grid, a power of two times the
            token grid.
        num_channels (`int`): Colour channels.
        hidden_size (`int`): Width of all transformer layers.
        num_spatial_layers (`int`): Layers that attend inside each frame.
        num_temporal_layers (`int`): Layers that attend across the two frames of one patch.
        num_decoder_layers (`int`, *optional*): Layers of the decoder; as many as `num_spatial_layers` when
            not given.
        num_attention_heads (`int`), head_dim (`int`): Attention heads and the width of each.
        num_null_key_values (`int`): Learned key/value pairs put before the tokens in cross-attention.
        layer_norm_eps (`float`): Epsilon of every LayerNorm.
        feedforward_dropout (`float`): Dropout inside the feed-forward layers.
        codebook_size (`int`), code_dim (`int`): Entries of the codebook and their dimension.
        num_action_tokens (`int`): Tokens of a pair, a square number, in raster order.
        decoder_head (`str`): `"pixels"` predicts the apex frame directly (paper); `"warp"` predicts a
            backward flow and a residual on the onset frame.
        motion_channels (`bool`): Also show the encoder `motion_gain` times each frame's deviation from the
            pair's mean.
        motion_gain (`float`): Gain of the motion channels.
        match_brightness (`bool`): Give both frames the pair's average mean and contrast before encoding.
        motion_weight (`float`): Weight of moving pixels in the reconstruction loss; 0 is the paper's plain
            MSE.
        normalize_loss (`bool`): Divide each pair's error by its error of copying the onset, so that a small
            motion counts as much as a large one.
        null_radius (`float`): Scaled vectors at most this long are always code 0: the other entries are kept
            at twice the length, so that none is spent on noise.
        rms_momentum (`float`): Momentum of the running RMS that scales the pre-code vectors.
        reference_compat (`bool`): Restore the published implementation as it is, so that its weights give its
            numbers: (1) the 3x3x3 position convolution pads time causally, by (2, 0), and reads the rows of
            the temporal stack, which are ordered ((batch height width) time), as (batch time height width);
            (2) the codes are reshaped to (batch, code_dim, tokens) without moving axes, so that **every
            decoded token mixes all codes of the pair**; (3) no code is pinned at zero and vectors are not
            rescaled, so that a still face has an arbitrary code map; (4) the decoder is not told which cell a
            token belongs to, as (2) has already given each token features of its own. With these quirks a
            claim about the *position* of a token (an ablation of 2-D positions, a per-cell edit) says little
            about position, because (2) has already spread each code over all tokens.
    """

    model_type = "dface_tokenizer"
    base_config_key = "tokenizer_config"

    image_size: int = 64
    patch_size: int = 8
    num_channels: int = 3
    hidden_size: int = 128
    num_spatial_layers: int = 2
    num_temporal_layers: int = 1
    num_decoder_layers: int | None = None
    num_attention_heads: int = 4
    head_dim: int = 32
    num_null_key_values: int = 2
    layer_norm_eps: float = 1e-5
    feedforward_dropout: float | int = 0.0
    codebook_size: int = 32
    code_dim: int = 32
    num_action_tokens: int = 16
    decoder_head: str = "warp"
    motion_channels: bool = True
    motion_gain: float | int = 8.0
    match_brightness: bool = True
    motion_weight: float | int = 4.0
    normalize_loss: bool = True
    null_radius: float | int = 1.0
    rms_momentum: float | int = 0.99
    reference_compat: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_spatial_layers
        super().__post_init__(**kwargs)

    @property
    def grid_size(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def token_grid_size(self) -> int:
        """Action tokens along one side."""
        return math.isqrt(self.num_action_tokens)

    @property
    def num_reduction_layers(self) -> int:
        """Stride-2 convolutions between the patch grid and the token grid."""
        return int(math.log2(self.grid_size // self.token_grid_size))

    @property
    def feedforward_size(self) -> int:
        """Inner width of the gated feed-forward layers: two thirds of four times the hidden size."""
        return int(8 / 3 * self.hidden_size)

    def validate_architecture(self):
        """Refuse sizes that cannot be built, and combinations with `reference_compat` that make no sense."""
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        side = self.token_grid_size
        if side * side != self.num_action_tokens:
            raise ValueError(f"num_action_tokens {self.num_action_tokens} is not a square number")
        ratio, rest = divmod(self.grid_size, side)
        if rest or ratio & (ratio - 1) or ratio < 1:
            raise ValueError(
                f"a patch grid of {self.grid_size} cannot be halved down to a token grid of {side}; "
                "choose image_size / patch_size as a power of two times the token grid"
            )
        if self.decoder_head not in ("pixels", "warp"):
            raise ValueError(f"decoder_head must be 'pixels' or 'warp', not {self.decoder_head!r}")
        if self.codebook_size < 2:
            raise ValueError(f"codebook_size must be at least 2, not {self.codebook_size}")
        if self.reference_compat:
            self._validate_reference_compat()

    def _validate_reference_compat(self):
        ours = {
            "decoder_head": (self.decoder_head, "pixels"),
            "motion_channels": (self.motion_channels, False),
            "match_brightness": (self.match_brightness, False),
            "normalize_loss": (self.normalize_loss, False),
            "motion_weight": (self.motion_weight, 0),
        }
        for name, (value, needed) in ours.items():
            if value != needed:
                raise ValueError(f"reference_compat=True needs {name}={needed!r}, not {value!r}")


__all__ = ["DFaceTokenizerConfig"]

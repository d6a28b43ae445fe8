"""Configuration of the D-FACE tokenizer, a conditional VQ-VAE over an onset/apex pair."""

import math

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

#: What `reference_compat=True` needs: the published implementation has none of these additions.
REFERENCE_SETTINGS = {
    "appearance": True,
    "position_maps": False,
    "decoder_head": "pixels",
    "motion_channels": False,
    "match_brightness": False,
    "normalize_loss": False,
    "motion_weight": 0,
    "context_codebook_size": 0,
}


@strict
class DFaceTokenizerConfig(PreTrainedConfig):
    r"""
    Configuration of [`DFaceTokenizerModel`]. The defaults are the `mini` size (128 px); the paper's size is
    `image_size=256, patch_size=16, hidden_size=512, num_spatial_layers=6, num_temporal_layers=6,
    num_attention_heads=8, head_dim=64, position_maps=False`.

    Args:
        image_size (`int`): Side of the square aligned crop in pixels.
        patch_size (`int`): Side of a patch; `image_size / patch_size` is the grid, a power of two times the
            token grid unless `reduction_convs` says otherwise.
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
        reduction_convs (`list[list[int]]`, *optional*): Stride and padding of each 3x3 convolution between
            the patch grid and the token grid, for example `[[2, 1], [1, 0]]` for 8 -> 4 -> 2 (LAPA) or
            `[[2, 1], [2, 0]]` for 16 -> 8 -> 3. By default stride 2 and padding 1, as often as it takes.
        context_codebook_size (`int`): Entries of a second, coarse codebook beside that of facial action: head
            motion that stabilisation left over, light, speech; 0 for none (see `DFaceContext`).
        num_context_tokens (`int`): Tokens of a pair from the second codebook.
        decoder_head (`str`): `"pixels"` predicts the apex frame directly (paper); `"warp"` predicts a
            backward flow and a residual on the onset frame.
        motion_channels (`bool`): Also show the encoder `motion_gain` times each frame's deviation from the
            pair's mean.
        motion_gain (`float`): Gain of the deviation.
        motion_levels (`int`): Scales at which local motion (x and y, estimated from brightness constancy)
            joins the motion channels; 0 for none.
        appearance (`bool`): Show the encoder the frames themselves. Without, it sees the motion channels
            only, and tokens cannot depend on looks.
        position_maps (`bool`): Give each cell of the token grid a linear map of its own on both sides of the
            codebook, so that all codes can be of use in every cell, with another meaning in each.
        match_brightness (`bool`): Give both frames the pair's average mean and contrast before encoding.
        motion_weight (`float`): Weight of moving pixels in the reconstruction loss; 0 is the paper's plain
            MSE.
        normalize_loss (`bool`): Divide each pair's error by its error of copying the onset, so that a small
            motion counts as much as a large one.
        null_radius (`float`): Scaled vectors at most this long are always code 0: the other entries are kept
            at twice the length, so that none is spent on noise.
        length_knee (`float`): Length, in units of the RMS, above which the length of a vector counts by its
            logarithm; 0 leaves lengths as they are.
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

    image_size: int = 128
    patch_size: int = 16
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
    reduction_convs: list | tuple | None = None
    context_codebook_size: int = 0
    num_context_tokens: int = 1
    decoder_head: str = "warp"
    motion_channels: bool = True
    motion_gain: float | int = 8.0
    motion_levels: int = 3
    appearance: bool = False
    position_maps: bool = True
    match_brightness: bool = True
    motion_weight: float | int = 4.0
    normalize_loss: bool = True
    null_radius: float | int = 0.5
    length_knee: float | int = 1.0
    rms_momentum: float | int = 0.99
    reference_compat: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_spatial_layers
        if isinstance(self.reduction_convs, (list, tuple)):  # lists, as JSON gives them back
            self.reduction_convs = [
                list(conv) if isinstance(conv, tuple) else conv for conv in self.reduction_convs
            ]
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
    def reduction_steps(self) -> list[list[int]]:
        """Stride and padding of each 3x3 convolution between the patch grid and the token grid."""
        if self.reduction_convs is not None:
            return self.reduction_convs
        return [[2, 1]] * int(math.log2(self.grid_size // self.token_grid_size))

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
        if self.reduction_convs is None:
            self._validate_halving()
        else:
            self._validate_reduction_convs()
        if self.decoder_head not in ("pixels", "warp"):
            raise ValueError(f"decoder_head must be 'pixels' or 'warp', not {self.decoder_head!r}")
        if not (self.appearance or self.motion_channels):
            raise ValueError("appearance=False needs motion_channels=True: the encoder would see nothing")
        if self.motion_levels < 0 or self.image_size < 3 * 2 ** max(self.motion_levels - 1, 0):
            raise ValueError(
                f"motion_levels {self.motion_levels} does not fit frames of {self.image_size} px; "
                "choose 0 to 3"
            )
        if self.codebook_size < 2:
            raise ValueError(f"codebook_size must be at least 2, not {self.codebook_size}")
        entries = self.context_codebook_size
        if entries < 0 or entries == 1 or self.num_context_tokens < 1:
            raise ValueError(
                f"context_codebook_size {entries} and num_context_tokens "
                f"{self.num_context_tokens} do not fit: at least 2 entries, or 0 for no second codebook, and "
                "1 token"
            )
        if self.reference_compat:
            self._validate_reference_compat()

    def _validate_halving(self):
        side = self.token_grid_size
        ratio, rest = divmod(self.grid_size, side)
        if rest or ratio & (ratio - 1) or ratio < 1:
            raise ValueError(
                f"a patch grid of {self.grid_size} cannot be halved down to a token grid of {side}; "
                "choose image_size / patch_size as a power of two times the token grid, or reduction_convs"
            )

    def _validate_reduction_convs(self):
        sides = [self.grid_size]
        for conv in self.reduction_convs:
            if not (isinstance(conv, list) and [type(number) for number in conv] == [int, int]):
                raise ValueError(f"reduction_convs holds {conv!r}; each convolution is [stride, padding]")
            stride, padding = conv
            if stride < 1 or padding not in (0, 1) or sides[-1] + 2 * padding < 3:
                raise ValueError(
                    f"reduction_convs: a 3x3 convolution of stride {stride} and padding {padding} does not "
                    f"fit a grid of {sides[-1]}; strides are 1 or more, paddings 0 or 1"
                )
            sides.append((sides[-1] + 2 * padding - 3) // stride + 1)
        if sides[-1] != self.token_grid_size:
            raise ValueError(
                f"reduction_convs lead from the patch grid to {' -> '.join(map(str, sides))}, "
                f"not to a token grid of {self.token_grid_size} ({self.num_action_tokens} action tokens)"
            )

    def _validate_reference_compat(self):
        for name, needed in REFERENCE_SETTINGS.items():
            value = getattr(self, name)
            if value != needed:
                raise ValueError(f"reference_compat=True needs {name}={needed!r}, not {value!r}")


__all__ = ["REFERENCE_SETTINGS", "DFaceTokenizerConfig"]

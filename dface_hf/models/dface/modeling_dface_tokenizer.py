"""D-FACE tokenizer: an onset/apex pair of aligned face crops becomes 16 discrete facial-action tokens, and
back.

From "From Pixels to Semantics" (ICLR 2026), section 3: the *difference* of the two encoded frames is
quantised, so a token says what moved; the decoder redraws the apex from the onset frame and the tokens alone.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .context_dface import DFaceContext
from .decoder_heads_dface import DFacePixelHead, DFaceWarpHead
from .layers_dface import (
    DFacePositionMaps,
    DFaceRelativePositionBias,
    DFaceTokenizerAttention,
    DFaceTokenPositionBias,
    DFaceTransformer,
)
from .motion_dface import local_motion
from .outputs_dface import DFaceDecoderOutput, DFaceTokenizerOutput
from .patches_dface import DFacePatchEmbeddings, to_patches
from .quantization_dface import DFaceQuantizer, perplexity

# Mean squared difference that sensor noise alone (sigma about 2 grey levels) leaves between two frames.
NOISE_FLOOR = 1e-4


def match_brightness(target: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Give each image (..., channels, height, width) the mean and standard deviation (..., 1, 1, 1)."""
    own_mean, own_std = image_moments(target)
    return (target - own_mean) / own_std * std + mean


def image_moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation (..., 1, 1, 1) over channels and pixels; a flat image counts as
    0.01."""
    image, dims = image.float(), (-3, -2, -1)
    mean = image.mean(dim=dims, keepdim=True)
    # Two passes: on a CPU, torch.std_mean takes six times as long.
    return mean, (image - mean).square().mean(dim=dims, keepdim=True).clamp_min(1e-4).sqrt()


class DFaceReduction(nn.Module):
    """Linear to the code dimension, then 3x3 convolutions, of stride 2 as a rule, from the patch grid down to
    the token grid."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.grid_size = config.grid_size
        self.projection = nn.Linear(config.hidden_size, config.code_dim)
        self.convs = nn.ModuleList(
            nn.Conv2d(config.code_dim, config.code_dim, 3, stride=stride, padding=padding)
            for stride, padding in config.reduction_steps
        )

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Map one frame (batch, patches, hidden_size) to (batch, tokens, code_dim)."""
        grid = self.projection(frame).transpose(1, 2).unflatten(2, (self.grid_size, self.grid_size))
        for index, conv in enumerate(self.convs):
            grid = conv(grid if index == 0 else grid.relu())
        return grid.flatten(2).transpose(1, 2)


class DFaceActionProjection(nn.Linear):
    """From codes to what the decoder reads. Of code 0 that is the bias, which begins with some direction: a
    key of zero length would have none, and a wild gradient."""


class DFaceTokenizerPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading shared by tokenizer models."""

    config: DFaceTokenizerConfig
    # A classifier checkpoint holds the tokenizer below this prefix: from_pretrained picks the part out of the
    # whole.
    base_model_prefix = "dface.tokenizer"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["DFaceTokenizerLayer"]
    _supports_sdpa = True
    # Where two nearly equal frames are subtracted and the nearest code is chosen.
    _keep_in_fp32_modules_strict = ["reduction", "encoding_maps", "quantizer", "context.projection"]
    _supports_attention_backend = True
    _keys_to_ignore_on_load_unexpected = [r"^dface\.(?!tokenizer)", r"^classifier\."]

    @classmethod
    def from_pretrained(cls, *args, use_safetensors: bool | None = True, **kwargs):
        """As of `PreTrainedModel`, but a pickle (pytorch_model.bin) is refused unless it is asked for."""
        return super().from_pretrained(*args, use_safetensors=use_safetensors, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, DFaceQuantizer):
            init.normal_(module.codebook, std=1.0)
            if module.pinned and not getattr(module.codebook, "_is_hf_initialized", False):
                module.codebook[0] = 0
            init.ones_(module.running_rms)
            init.zeros_(module.usage)
        elif isinstance(module, DFaceTokenizerAttention):
            init.ones_(module.q_scale)
            init.ones_(module.k_scale)
            if module.null_key_values is not None:
                init.normal_(module.null_key_values, std=1.0)
        elif isinstance(module, DFaceContext):
            # What "no context" looks like: a key of zero length would have no direction, and a wild gradient.
            init.normal_(module.nothing, std=0.5)
        elif isinstance(module, DFacePositionMaps):
            init.copy_(module.weight, torch.eye(module.weight.shape[-1]).expand_as(module.weight))
        elif isinstance(module, DFaceTokenPositionBias):
            init.constant_(module.slope, 2.0)
        elif isinstance(module, nn.Linear):
            # A std of 0.02 would drown the tokens in the position embeddings at these widths.
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if isinstance(module, DFaceActionProjection):
                init.copy_(module.bias, torch.linspace(-0.03, 0.03, len(module.bias)))
        elif isinstance(module, nn.Conv2d):
            # std 0.02 would shrink the signal a hundredfold through the ReLU convolutions of the reduction.
            init.kaiming_normal_(module.weight, nonlinearity="relu")


class DFaceTokenizerModel(DFaceTokenizerPreTrainedModel):
    """Conditional VQ-VAE over facial motion.

    Example:

    ```python
    >>> import torch, dface_hf
    >>> from dface_hf import DFaceTokenizerModel
    >>> tokenizer = DFaceTokenizerModel.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).eval()
    >>> size = tokenizer.config.image_size
    >>> onset = torch.rand(1, 3, size, size)
    >>> tokenizer.encode(onset, onset)  # nothing moves: sixteen times code 0
    tensor([[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])

    ```
    """

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__(config)
        self.patch_embeddings = DFacePatchEmbeddings(config)
        if config.motion_channels:
            # Bias-free and without LayerNorm: stillness stays exactly zero and noise stays small.
            patch_dim = (config.num_channels + 2 * config.motion_levels) * config.patch_size**2
            self.motion_projection = nn.Linear(patch_dim, config.hidden_size, bias=False)
        self.position_bias = DFaceRelativePositionBias(config)
        self.spatial_encoder = DFaceTransformer(config, config.num_spatial_layers, axis="space")
        self.temporal_encoder = DFaceTransformer(config, config.num_temporal_layers, axis="time")
        self.reduction = DFaceReduction(config)
        mapped = config.position_maps
        self.encoding_maps = DFacePositionMaps(config) if mapped else nn.Identity()
        self.quantizer = DFaceQuantizer(config)
        self.decoding_maps = DFacePositionMaps(config) if mapped else nn.Identity()
        self.action_projection = DFaceActionProjection(config.code_dim, config.hidden_size)
        self.token_position_bias = None if config.reference_compat else DFaceTokenPositionBias(config)
        self.decoder = DFaceTransformer(config, config.num_decoder_layers, axis="space", cross_attention=True)
        head = DFacePixelHead if config.decoder_head == "pixels" else DFaceWarpHead
        self.decoder_head = head(config)
        self.context = DFaceContext(config) if config.context_codebook_size else None
        self.post_init()

    @property
    def quantizers(self) -> list[DFaceQuantizer]:
        """That of the action tokens and, with a second codebook, that of the context."""
        return [self.quantizer] + ([] if self.context is None else [self.context.quantizer])

    def encode(self, onset: torch.Tensor, apex: torch.Tensor) -> torch.Tensor:
        """Tokenise pairs of aligned crops.

        Args:
            onset: (batch, 3, height, width), RGB in [0, 1], face aligned as in `dface_hf.faces.alignment`.
            apex: The same for the apex frame, in the onset's alignment.

        Returns:
            action_ids (batch, 16) int64, in raster order of the 4x4 grid; 0 means "nothing moves here".

        Raises:
            ValueError: If the shapes differ or are not (batch, channels, image_size, image_size).
        """
        return self.quantizer.nearest(self.action_vectors(torch.stack([onset, apex], dim=1)))

    def encode_context(self, onset: torch.Tensor, apex: torch.Tensor) -> torch.Tensor:
        """Name what is not facial action in pairs of aligned crops, as `encode` names the action.

        Returns:
            context_ids (batch, num_context_tokens) int64; 0 means "nothing but the action".

        Raises:
            ValueError: If the model has no second codebook, or the frames do not fit.
        """
        self._check_context()
        return self.context.quantizer.nearest(self.context_vectors(torch.stack([onset, apex], dim=1)))

    def decode(
        self, onset: torch.Tensor, action_ids: torch.Tensor, context_ids: torch.Tensor | None = None
    ) -> DFaceDecoderOutput:
        """Redraw the apex of a face from its onset frame and tokens, which may come from another face.

        Args:
            onset: (batch, 3, height, width), RGB in [0, 1].
            action_ids: (batch, 16) int64 in [0, codebook_size).
            context_ids: (batch, num_context_tokens) int64 of the second codebook; by default code 0, the
                action alone.

        Returns:
            [`DFaceDecoderOutput`] with `.reconstruction` (batch, 3, height, width), about in [0, 1].

        Raises:
            ValueError: If an id lies outside the codebook or the shapes do not fit, or there are context ids
                but no second codebook.
        """
        self.check_frames(onset[:, None], count=1)
        check_ids("action_ids", action_ids, self.config.num_action_tokens, self.config.codebook_size)
        codes = None
        if context_ids is not None:
            self._check_context()
            sizes = self.config.num_context_tokens, self.config.context_codebook_size
            check_ids("context_ids", context_ids, *sizes)
            codes = self.context.quantizer.codes()[context_ids]
        return self._decode_features(onset, self.action_features(action_ids), codes)

    def action_features(self, action_ids: torch.Tensor) -> torch.Tensor:
        """Return what decoder and classifier read of tokens (batch, 16): (batch, 16, hidden_size)."""
        return self._project(self.quantizer.codes()[action_ids])

    def null_action_ids(self, onset: torch.Tensor | None = None) -> torch.Tensor:
        """Return the tokens (16,) of a still face: of `onset` (3, height, width), or of a plain mid-grey
        frame."""
        size = self.config.image_size
        if onset is None:
            onset = torch.full(
                (self.config.num_channels, size, size), 0.5, device=self.device, dtype=self.dtype
            )
        return self.encode(onset[None], onset[None])[0]

    def action_vectors(self, pixel_values: torch.Tensor, **kwargs) -> torch.Tensor:
        """Encode pairs (batch, 2, 3, height, width) to scaled vectors (batch, 16, code_dim) before
        quantisation."""
        return self.quantizer.scale(self._difference(self._encode(pixel_values, **kwargs)))

    def context_vectors(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode pairs (batch, 2, 3, height, width) to scaled vectors (batch, num_context_tokens, code_dim)
        before the second codebook."""
        return self.context.vectors(self._encode(pixel_values))

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        return_loss: bool = True,
        token_order: torch.LongTensor | None = None,
        context_shown: torch.BoolTensor | None = None,
        context_taught: torch.BoolTensor | None = None,
        **kwargs,
    ) -> DFaceTokenizerOutput:
        """Encode, quantise and redraw pairs.

        Args:
            pixel_values: (batch, 2, 3, height, width): onset and apex, RGB in [0, 1].
            return_loss: Whether to compare the reconstruction with the apex.
            token_order: (batch,) decode pair i with the tokens of pair `token_order[i]`, for pairs in which
                different faces do the same; each with its own by default. The context is always the pair's
                own.
            context_shown: (batch,) with a second codebook, the pairs that are decoded with their context; the
                others with its code 0. All by default.
            context_taught: (batch,) the pairs that the second codebook learns from; all by default.

        Returns:
            [`DFaceTokenizerOutput`].
        """
        states = self._encode(pixel_values, **kwargs)
        track = self.training and self.quantizer.mode != "hard"
        vectors = self.quantizer.scale(self._difference(states), track)
        quantised, ids = self.quantizer(vectors)
        context = {} if self.context is None else self.context(states, track, context_taught)
        onset, apex = pixel_values.unbind(dim=1)
        shown = quantised if token_order is None else quantised[token_order]
        beside = context.get("context_codes")
        if beside is not None and context_shown is not None:
            beside = beside * context_shown[:, None, None]
        decoded = self._decode_features(onset, self._project(shown), beside, **kwargs)
        return DFaceTokenizerOutput(
            loss=self.reconstruction_loss(decoded.reconstruction, onset, apex) if return_loss else None,
            reconstruction=decoded.reconstruction,
            action_ids=ids,
            perplexity=perplexity(ids, self.config.codebook_size),
            action_vectors=vectors,
            action_codes=quantised,
            flow=decoded.flow,
            **context,
        )

    def reconstruction_loss(
        self, reconstruction: torch.Tensor, onset: torch.Tensor, apex: torch.Tensor
    ) -> torch.Tensor:
        """Return the squared error against the apex in the onset's brightness, weighted as configured."""
        onset, apex = onset.float(), apex.float()
        if self.config.match_brightness:
            apex = match_brightness(apex, *image_moments(onset))
        error = (reconstruction.float() - apex).pow(2).mean(dim=1)  # (batch, height, width)
        change = (apex - onset).pow(2).mean(dim=1)
        if self.config.motion_weight:
            motion = change.sqrt()
            weight = 1 + self.config.motion_weight * motion / (motion.mean(dim=(1, 2), keepdim=True) + 1e-2)
            weight = weight / weight.mean(dim=(1, 2), keepdim=True)
            error, change = error * weight, change * weight
        error = error.mean(dim=(1, 2))
        if self.config.normalize_loss:
            error = error / (change.mean(dim=(1, 2)) + NOISE_FLOOR)
        return error.mean()

    def _encode(self, pixel_values: torch.Tensor, **kwargs) -> torch.Tensor:
        """The states of both frames (batch, 2, patches, hidden_size)."""
        self.check_frames(pixel_values)
        pixel_values = pixel_values.float()
        if self.config.match_brightness:
            mean, std = (moment.mean(dim=1, keepdim=True) for moment in image_moments(pixel_values))
            pixel_values = match_brightness(pixel_values, mean, std)
        states = self._embed(pixel_values)
        states = self.spatial_encoder(states, position_bias=self.position_bias(), **kwargs)
        return self.temporal_encoder(states, **kwargs)

    def _difference(self, states: torch.Tensor) -> torch.Tensor:
        """The encoded apex minus the encoded onset (batch, 16, code_dim), unscaled."""
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(self.reduction.projection.weight.dtype)
            return self.encoding_maps(self.reduction(states[:, 1]) - self.reduction(states[:, 0]))

    def _embed(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """What the encoder sees of a pair (batch, 2, patches, hidden_size): looks, motion, or both."""
        if not self.config.motion_channels:
            return self.patch_embeddings(pixel_values)
        onset, apex = pixel_values.unbind(dim=1)
        motion = self.config.motion_gain * (apex - onset) / 2
        if self.config.motion_levels:
            motion = torch.cat([motion, local_motion(onset, apex, self.config.motion_levels)], dim=1)
        # Opposite signs in the two frames keep what follows symmetric: swapping them negates the action.
        patches = to_patches(torch.stack([-motion, motion], dim=1), self.config.patch_size)
        states = self.motion_projection(patches.to(self.motion_projection.weight.dtype))
        return states + self.patch_embeddings(pixel_values) if self.config.appearance else states

    def _project(self, codes: torch.Tensor) -> torch.Tensor:
        if self.config.reference_compat:
            # Published quirk: (batch * tokens, code_dim) is reshaped to (batch, code_dim, tokens), then
            # transposed.
            codes = codes.flatten(1).unflatten(1, (self.config.code_dim, -1)).transpose(1, 2)
        codes = self.decoding_maps(codes)
        return self.action_projection(codes.to(self.action_projection.weight.dtype))

    def _decode_features(
        self,
        onset: torch.Tensor,
        features: torch.Tensor,
        context_codes: torch.Tensor | None = None,
        **kwargs,
    ) -> DFaceDecoderOutput:
        # Detached: the decoder may not shape the embedding, which belongs to the encoder.
        queries = self.patch_embeddings(onset[:, None]).detach()
        nearness = None if self.token_position_bias is None else self.token_position_bias()
        if self.context is not None:
            beside = self.context.features(context_codes, len(onset)).to(features.dtype)
            features = torch.cat([features, beside], dim=1)
            nearness = F.pad(nearness, (0, beside.shape[1]))  # the context is as near to every patch
        states = self.decoder(queries, features, self.position_bias(), nearness, **kwargs)[:, 0]
        return self.decoder_head(states, onset)

    def check_frames(self, frames: torch.Tensor, count: int = 2) -> None:
        """Refuse frames that are not (batch, count, channels, image_size, image_size)."""
        expected = (self.config.num_channels, self.config.image_size, self.config.image_size)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != (count, *expected):
            raise ValueError(
                f"frames of shape {tuple(frames.shape)} do not fit this model: it takes "
                f"(batch, 2, {', '.join(map(str, expected))}), RGB in [0, 1]; the image processor makes them"
            )

    def _check_context(self) -> None:
        if self.context is None:
            raise ValueError("this model has no second codebook (context_codebook_size=0)")


def check_ids(name: str, ids: torch.Tensor, count: int, size: int) -> None:
    """Refuse ids (batch, count) of another shape, or outside [0, size)."""
    if ids.shape[1:] != (count,):
        raise ValueError(f"{name} of shape {tuple(ids.shape)} do not fit: (batch, {count})")
    # While a graph is traced or a function mapped over folds (vmap), no value can be looked at.
    hidden = torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(ids)
    if not hidden and bool(((ids < 0) | (ids >= size)).any()):
        raise ValueError(f"{name} hold values outside the codebook: they must be 0 to {size - 1}")


__all__ = [
    "DFaceDecoderOutput",
    "DFaceTokenizerModel",
    "DFaceTokenizerOutput",
    "DFaceTokenizerPreTrainedModel",
]

"""D-FACE tokenizer: an onset/apex pair of aligned face crops becomes 16 discrete facial-action tokens, and
back.

From "From Pixels to Semantics" (ICLR 2026), section 3: the *difference* of the two encoded frames is
quantised, so a token says what moved; the decoder redraws the apex from the onset frame and the tokens alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .layers_dface import (
    DFaceLayerNorm,
    DFacePositionMaps,
    DFaceRelativePositionBias,
    DFaceTokenizerAttention,
    DFaceTokenPositionBias,
    DFaceTransformer,
)
from .motion_dface import local_motion
from .quantization_dface import DFaceQuantizer, perplexity

# Mean squared difference that sensor noise alone (sigma about 2 grey levels) leaves between two frames.
NOISE_FLOOR = 1e-4
# What an output of 1 of the warp head means: a flow of 1 % of the half-width (0.32 px at 64 px), and 10 % of
# the grey scale. As small as the motions looked for, or one optimiser step would shake the picture by more.
FLOW_SCALE = 0.01
RESIDUAL_SCALE = 0.1


@dataclass
class DFaceTokenizerOutput(ModelOutput):
    """Output of [`DFaceTokenizerModel`].

    Args:
        loss (`torch.FloatTensor`, scalar): Reconstruction loss against the apex frame.
        reconstruction (`torch.FloatTensor`, (batch, 3, height, width)): The apex as decoded from onset and
            tokens.
        action_ids (`torch.LongTensor`, (batch, 16)): Code of each cell of the 4x4 token grid, in raster
            order.
        perplexity (`torch.FloatTensor`, scalar): exp(entropy) of the codes used in this batch.
        action_vectors (`torch.FloatTensor`, (batch, 16, code_dim)): The scaled vectors before quantisation.
        action_codes (`torch.FloatTensor`, (batch, 16, code_dim)): What was decoded: codewords, or in training
            the vectors with the noise that stands for quantisation.
        flow (`torch.FloatTensor`, (batch, 2, height, width)): Backward flow in pixels, with the warp head
            only.
    """

    loss: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    action_ids: torch.LongTensor | None = None
    perplexity: torch.FloatTensor | None = None
    action_vectors: torch.FloatTensor | None = None
    action_codes: torch.FloatTensor | None = None
    flow: torch.FloatTensor | None = None


@dataclass
class DFaceDecoderOutput(ModelOutput):
    """What `decode` returns: `reconstruction` (batch, 3, height, width), and `flow` in pixels with the warp
    head."""

    reconstruction: torch.FloatTensor | None = None
    flow: torch.FloatTensor | None = None


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


class DFacePixelHead(nn.Module):
    """The paper's head: Linear from each patch state to its pixels."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.patch_size, self.grid_size = config.patch_size, config.grid_size
        self.projection = nn.Linear(config.hidden_size, config.num_channels * config.patch_size**2)

    def forward(self, states: torch.Tensor, onset: torch.Tensor) -> DFaceDecoderOutput:
        """Map patch states (batch, patches, hidden_size) to an image; the onset frame is not used."""
        pixels = self.projection(states.to(self.projection.weight.dtype))
        return DFaceDecoderOutput(from_patches(pixels, self.patch_size, self.grid_size).to(onset.dtype))


class DFaceWarpHead(nn.Module):
    """Backward flow, and a residual where the flow cannot explain the apex, applied to the onset frame."""

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.patch_size, self.grid_size = config.patch_size, config.grid_size
        self.channels = config.num_channels
        self.flow_size = max(
            1, config.patch_size // 4
        )  # flow is smooth: a few vectors a patch, then bilinear
        self.flow_projection = nn.Linear(config.hidden_size, 2 * self.flow_size**2)
        self.residual_projection = nn.Linear(
            config.hidden_size, (config.num_channels + 1) * config.patch_size**2
        )

    def forward(self, states: torch.Tensor, onset: torch.Tensor) -> DFaceDecoderOutput:
        """Map patch states (batch, patches, hidden_size) and the onset (batch, 3, h, w) to the apex."""
        height, states = onset.shape[-1], states.to(self.flow_projection.weight.dtype)
        coarse = (
            from_patches(self.flow_projection(states).float(), self.flow_size, self.grid_size) * FLOW_SCALE
        )
        flow = F.interpolate(coarse, size=onset.shape[-2:], mode="bilinear", align_corners=False)
        warped = F.grid_sample(
            onset.float(), self._pixel_grid(flow), mode="bilinear", padding_mode="border", align_corners=False
        )
        residual = from_patches(self.residual_projection(states), self.patch_size, self.grid_size).float()
        # The gate starts nearly closed, so that motion is explained by the flow first.
        gate = (residual[:, self.channels :] - 2.0).sigmoid()
        image = warped + gate * RESIDUAL_SCALE * residual[:, : self.channels]
        return DFaceDecoderOutput(image.to(onset.dtype), (flow * height / 2).to(onset.dtype))

    def _pixel_grid(self, flow: torch.Tensor) -> torch.Tensor:
        """Sampling positions (batch, height, width, 2) of each pixel centre in [-1, 1], displaced by the
        flow."""
        size = flow.shape[-1]
        centre = (torch.arange(size, device=flow.device, dtype=flow.dtype) * 2 + 1) / size - 1
        rows, columns = torch.meshgrid(centre, centre, indexing="ij")
        return torch.stack([columns, rows], dim=-1) + flow.permute(0, 2, 3, 1)


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
    _keep_in_fp32_modules_strict = ["reduction", "encoding_maps", "quantizer"]
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
        elif isinstance(module, DFacePositionMaps):
            init.copy_(module.weight, torch.eye(module.weight.shape[-1]).expand_as(module.weight))
        elif isinstance(module, DFaceTokenPositionBias):
            init.constant_(module.slope, 2.0)
        elif isinstance(module, nn.Linear):
            # A std of 0.02 would drown the tokens in the position embeddings at these widths.
            init.kaiming_uniform_(module.weight, a=5**0.5)
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
    >>> onset = torch.rand(1, 3, 64, 64)
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
        self.action_projection = nn.Linear(config.code_dim, config.hidden_size)
        self.token_position_bias = None if config.reference_compat else DFaceTokenPositionBias(config)
        self.decoder = DFaceTransformer(config, config.num_decoder_layers, axis="space", cross_attention=True)
        head = DFacePixelHead if config.decoder_head == "pixels" else DFaceWarpHead
        self.decoder_head = head(config)
        self.post_init()

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

    def decode(self, onset: torch.Tensor, action_ids: torch.Tensor) -> DFaceDecoderOutput:
        """Redraw the apex of a face from its onset frame and tokens, which may come from another face.

        Args:
            onset: (batch, 3, height, width), RGB in [0, 1].
            action_ids: (batch, 16) int64 in [0, codebook_size).

        Returns:
            [`DFaceDecoderOutput`] with `.reconstruction` (batch, 3, height, width), about in [0, 1].

        Raises:
            ValueError: If an id lies outside the codebook or the shapes do not fit.
        """
        self._check_frames(onset[:, None])
        self._check_action_ids(action_ids)
        return self._decode_features(onset, self.action_features(action_ids))

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
        return self.quantizer.scale(self._difference(pixel_values, **kwargs))

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        return_loss: bool = True,
        token_order: torch.LongTensor | None = None,
        **kwargs,
    ) -> DFaceTokenizerOutput:
        """Encode, quantise and redraw pairs.

        Args:
            pixel_values: (batch, 2, 3, height, width): onset and apex, RGB in [0, 1].
            return_loss: Whether to compare the reconstruction with the apex.
            token_order: (batch,) decode pair i with the tokens of pair `token_order[i]`, for pairs in which
                different faces do the same; each with its own by default.

        Returns:
            [`DFaceTokenizerOutput`].
        """
        difference = self._difference(pixel_values, **kwargs)
        track = self.training and self.quantizer.mode != "hard"
        vectors = self.quantizer.scale(difference, track)
        quantised, ids = self.quantizer(vectors)
        onset, apex = pixel_values.unbind(dim=1)
        shown = quantised if token_order is None else quantised[token_order]
        decoded = self._decode_features(onset, self._project(shown), **kwargs)
        return DFaceTokenizerOutput(
            loss=self.reconstruction_loss(decoded.reconstruction, onset, apex) if return_loss else None,
            reconstruction=decoded.reconstruction,
            action_ids=ids,
            perplexity=perplexity(ids, self.config.codebook_size),
            action_vectors=vectors,
            action_codes=quantised,
            flow=decoded.flow,
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

    def _difference(self, pixel_values: torch.Tensor, **kwargs) -> torch.Tensor:
        """The encoded apex minus the encoded onset (batch, 16, code_dim), unscaled."""
        self._check_frames(pixel_values)
        pixel_values = pixel_values.float()
        if self.config.match_brightness:
            mean, std = (moment.mean(dim=1, keepdim=True) for moment in image_moments(pixel_values))
            pixel_values = match_brightness(pixel_values, mean, std)
        states = self._embed(pixel_values)
        states = self.spatial_encoder(states, position_bias=self.position_bias(), **kwargs)
        states = self.temporal_encoder(states, **kwargs)
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

    def _decode_features(self, onset: torch.Tensor, features: torch.Tensor, **kwargs) -> DFaceDecoderOutput:
        # Detached: the decoder may not shape the embedding, which belongs to the encoder.
        queries = self.patch_embeddings(onset[:, None]).detach()
        nearness = None if self.token_position_bias is None else self.token_position_bias()
        states = self.decoder(queries, features, self.position_bias(), nearness, **kwargs)[:, 0]
        return self.decoder_head(states, onset)

    def _check_frames(self, frames: torch.Tensor) -> None:
        expected = (self.config.num_channels, self.config.image_size, self.config.image_size)
        if frames.ndim != 5 or tuple(frames.shape[2:]) != expected:
            raise ValueError(
                f"frames of shape {tuple(frames.shape)} do not fit this model: it takes "
                f"(batch, 2, {', '.join(map(str, expected))}), RGB in [0, 1]; the image processor makes them"
            )

    def _check_action_ids(self, action_ids: torch.Tensor) -> None:
        size = self.config.codebook_size
        if action_ids.shape[1:] != (self.config.num_action_tokens,):
            raise ValueError(
                f"action_ids of shape {tuple(action_ids.shape)} do not fit: "
                f"(batch, {self.config.num_action_tokens})"
            )
        if not torch.compiler.is_compiling() and bool(((action_ids < 0) | (action_ids >= size)).any()):
            raise ValueError(f"action_ids hold values outside the codebook: they must be 0 to {size - 1}")


__all__ = [
    "DFaceDecoderOutput",
    "DFaceTokenizerModel",
    "DFaceTokenizerOutput",
    "DFaceTokenizerPreTrainedModel",
]

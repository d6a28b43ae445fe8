"""The two ways of drawing the apex from the decoder's patch states: its pixels, or a warp of the onset."""

import torch
import torch.nn.functional as F
from torch import nn

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .outputs_dface import DFaceDecoderOutput
from .patches_dface import from_patches

# What an output of 1 of the warp head means: a flow of 1 % of the half-width (0.32 px at 64 px), and 10 % of
# the grey scale. As small as the motions looked for, or one optimiser step would shake the picture by more.
FLOW_SCALE = 0.01
RESIDUAL_SCALE = 0.1


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
        # Flow and light are smooth: a few values a patch, then bilinear. A residual by the pixel is no better
        # on training pairs, and on faces unlike them its patches show as noise with square edges.
        self.cells = max(1, config.patch_size // 4)
        self.flow_projection = nn.Linear(config.hidden_size, 2 * self.cells**2)
        self.residual_projection = nn.Linear(config.hidden_size, (self.channels + 1) * self.cells**2)

    def forward(self, states: torch.Tensor, onset: torch.Tensor) -> DFaceDecoderOutput:
        """Map patch states (batch, patches, hidden_size) and the onset (batch, 3, h, w) to the apex."""
        states = states.to(self.flow_projection.weight.dtype)
        coarse = from_patches(self.flow_projection(states).float(), self.cells, self.grid_size)
        flow = self._at_full_size(coarse * FLOW_SCALE, onset)
        warped = F.grid_sample(
            onset.float(), self._pixel_grid(flow), mode="bilinear", padding_mode="border", align_corners=False
        )
        light = from_patches(self.residual_projection(states).float(), self.cells, self.grid_size)
        # The gate starts nearly closed, so that motion is explained by the flow first.
        gate = (light[:, self.channels :] - 2.0).sigmoid()
        residual = self._at_full_size(gate * RESIDUAL_SCALE * light[:, : self.channels], onset)
        image = (warped + residual).to(onset.dtype)
        return DFaceDecoderOutput(image, (flow * onset.shape[-1] / 2).to(onset.dtype))

    @staticmethod
    def _at_full_size(cells: torch.Tensor, onset: torch.Tensor) -> torch.Tensor:
        return F.interpolate(cells, size=onset.shape[-2:], mode="bilinear", align_corners=False)

    def _pixel_grid(self, flow: torch.Tensor) -> torch.Tensor:
        """Sampling positions (batch, height, width, 2) of each pixel centre in [-1, 1], displaced by the
        flow."""
        size = flow.shape[-1]
        centre = (torch.arange(size, device=flow.device, dtype=flow.dtype) * 2 + 1) / size - 1
        rows, columns = torch.meshgrid(centre, centre, indexing="ij")
        return torch.stack([columns, rows], dim=-1) + flow.permute(0, 2, 3, 1)


__all__ = ["DFacePixelHead", "DFaceWarpHead"]

"""The motion that tokens decode to on a face.

It is forward (where skin goes; minus the decoder's backward flow, which is the same to first order), x to the
right and y down, in pixels of a 128 px crop, on a grid of `GRID` x `GRID`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from dface_hf.faces import optical_flow
from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis.nuisances import REFERENCE_SIZE

from .unit_reading import GRID

BATCH = 50


def null_ids(tokenizer: DFaceTokenizerModel, onsets: torch.Tensor) -> torch.Tensor:
    """Tokens (n, P) of the same faces at rest: code 0, except for the published implementation, whose rest
    differs from face to face."""
    if tokenizer.config.reference_compat:
        return tokenizer.encode(onsets, onsets)
    count = tokenizer.config.num_action_tokens
    return torch.zeros(len(onsets), count, dtype=torch.long, device=onsets.device)


class MotionReader:
    """Reads motion off a tokenizer's decoder: its flow, or with the pixel head the optical flow between its
    pictures."""

    def __init__(self, tokenizer: DFaceTokenizerModel):
        self.tokenizer = tokenizer
        self.measured = tokenizer.config.decoder_head == "pixels"
        self.scale = REFERENCE_SIZE / tokenizer.config.image_size

    def draw(self, onsets: torch.Tensor, ids: torch.Tensor, faces: torch.Tensor | None = None) -> np.ndarray:
        """What the decoder says of tokens.

        Args:
            onsets: (m, 3, S, S) RGB in [0, 1].
            ids: (n, P) tokens.
            faces: (n,) the row of `onsets` that each is decoded on; its own row by default.

        Returns:
            Motion (n, 2, GRID, GRID), or with the pixel head pictures (n, S, S, 3) uint8.
        """
        faces = torch.arange(len(ids)) if faces is None else faces.cpu()
        return np.concatenate([self._drawn(*part) for part in self._batches(onsets, ids, faces)])

    def between(self, still: np.ndarray, acting: np.ndarray) -> np.ndarray:
        """Motion (n, 2, GRID, GRID) that one drawing has beyond another."""
        if not self.measured:
            return acting - still
        flows = np.stack([optical_flow(*pair) for pair in zip(still, acting, strict=True)])
        return self._pooled(torch.from_numpy(flows).permute(0, 3, 1, 2))

    def _batches(
        self, onsets: torch.Tensor, ids: torch.Tensor, faces: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, ...]]:
        device = self.tokenizer.device
        for rows, part in zip(faces.split(BATCH), ids.split(BATCH), strict=True):
            yield onsets[rows].to(device), part.to(device)

    def _drawn(self, onsets: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
        decoded = self.tokenizer.decode(onsets, ids)
        if not self.measured:
            return self._pooled(-decoded.flow.float())
        pictures = decoded.reconstruction.float().clamp(0, 1).permute(0, 2, 3, 1)
        return (pictures * 255 + 0.5).byte().cpu().numpy()

    def _pooled(self, flow: torch.Tensor) -> np.ndarray:
        return (F.adaptive_avg_pool2d(flow, GRID) * self.scale).cpu().numpy()


__all__ = ["MotionReader", "null_ids"]

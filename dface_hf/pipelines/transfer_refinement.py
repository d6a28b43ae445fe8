"""A transferred motion, corrected until the tokenizer reads in the result what it read in the source."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from dface_hf.faces.moving import face_fade
from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis.rendering import look

NODES = 8  # of the correction along a side: smooth, a node each 16 px of 128
RATE = 0.04 / 64  # change of a node in the first steps, aligned units: .04 px of 128
HOLD = 6.0  # weight of the correction's mean square, px of 128, beside the distance of the vectors over 40
AT_ONCE = 16  # faces in memory


def refined(
    tokenizer: DFaceTokenizerModel, onsets: torch.Tensor, flow: torch.Tensor, aim: torch.Tensor, steps: int
) -> torch.Tensor:
    """Correct motions by gradient steps, so that the moved faces are encoded as the source was.

    What a token means differs a little from face to face, and so does what the decoder makes of it. The loop
    moves each face, encodes the pair and follows the gradient of the squared distance to the vectors of the
    source, with respect to a smooth field that is added to the motion inside the face.

    Args:
        tokenizer: Of any head; its encoder is what counts.
        onsets: (faces, 3, S, S) RGB in [0, 1].
        flow: (faces, S, S, 2) backward flow in aligned units (half a crop is 1).
        aim: (16, code_dim) scaled vectors of the source before quantisation; zero where nothing is to move.
        steps: Of Adam; two are enough, with more the motion fits the encoder and not the face.

    Returns:
        (faces, S, S, 2) float32 flow.
    """
    if steps == 0:
        return flow
    parts = zip(onsets.split(AT_ONCE), flow.split(AT_ONCE), strict=True)
    return torch.cat([_refined(tokenizer, *part, aim, steps) for part in parts])


def _refined(tokenizer, onsets, flow, aim, steps) -> torch.Tensor:
    inside, centres = _inside(onsets.shape[-1], flow), _centres(onsets.shape[-1], flow)
    nodes = torch.zeros(len(onsets), 2, NODES, NODES, dtype=flow.dtype, device=flow.device)
    nodes.requires_grad_()
    optimiser = torch.optim.Adam([nodes], lr=RATE, betas=(0.8, 0.99))
    for _ in range(steps):
        with torch.enable_grad():
            apex = look(onsets.float(), centres + flow + _field(nodes, inside))
            vectors = tokenizer.action_vectors(torch.stack([onsets.float(), apex], dim=1))
            loss = (vectors - aim).square().sum() / 40 + HOLD * (nodes * 64).square().mean((1, 2, 3)).sum()
            (nodes.grad,) = torch.autograd.grad(loss, [nodes])
        optimiser.step()
    return flow + _field(nodes.detach(), inside)


def _field(nodes: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(faces, S, S, 2) from (faces, 2, NODES, NODES)."""
    return F.interpolate(nodes, size=inside.shape[:2], mode="bicubic").permute(0, 2, 3, 1) * inside


def _centres(size: int, like: torch.Tensor) -> torch.Tensor:
    """(S, S, 2) aligned coordinates of the pixels."""
    side = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * 2 / size - 1
    return torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)


def _inside(size: int, like: torch.Tensor) -> torch.Tensor:
    """(S, S, 1) share of each pixel in the motion of the face."""
    fade = face_fade(_centres(size, like).cpu().numpy()).astype(np.float32)
    return torch.from_numpy(fade).to(like.device)[..., None]


__all__ = ["refined"]

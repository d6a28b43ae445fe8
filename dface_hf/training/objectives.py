"""What a tokenizer is asked for beyond the apex frame: true motion, known actions, agreement, full use.

Each is a function of the whole batch: in a distributed run its sums go over the rows of all processes, and
the mean of the processes' gradients is the gradient of the whole.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dface_hf.models.dface.ranks_dface import mean_over_ranks

# Motion below this many px of a 64 crop counts as noise in the relative error of the flow.
MOTION_FLOOR = 0.1
# An action unit acts in about one pair of seven: its presence weighs that much more than its absence.
PRESENCE_WEIGHT = 4.0


def flow_loss(flow: torch.Tensor, truth: torch.Tensor, cells: int = 4) -> torch.Tensor:
    """Error of a flow relative to the motion of its part of the face: small actions count beside large ones.

    Args:
        flow: (batch, 2, height, width) predicted, px.
        truth: (batch, 2, height, width), px of the same crop; coarser is enough.
        cells: Parts along one side; each is judged by its root mean squared error.

    Returns:
        Scalar: 0 for the truth, 1 for predicting that nothing moves.
    """
    floor = (MOTION_FLOOR * flow.shape[-1] / 64) ** 2
    flow = F.adaptive_avg_pool2d(flow.float(), truth.shape[-2:])
    error = F.adaptive_avg_pool2d((flow - truth).pow(2).sum(dim=1, keepdim=True), cells)
    energy = F.adaptive_avg_pool2d(truth.pow(2).sum(dim=1, keepdim=True), cells)
    share = (energy / (energy + floor)).sqrt()
    return (error / (energy + floor) + 1e-4).sqrt().mean() / mean_over_ranks(share.mean()).clamp_min(1e-2)


def agreement_loss(vectors: torch.Tensor) -> torch.Tensor:
    """Squared distance between the vectors of twins, relative to their length.

    Args:
        vectors: (batch, tokens, code_dim); pair i + batch / 2 does what pair i does.
    """
    first, second = vectors.float().chunk(2)
    difference, energy = (first - second).pow(2).sum(), first.pow(2).sum() + second.pow(2).sum()
    return mean_over_ranks(difference) / mean_over_ranks(energy).clamp_min(1e-6)


def still_loss(vectors: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """Mean squared vector of the pairs in which nothing acts; 0 where there is none.

    Args:
        vectors: (batch, tokens, code_dim).
        still: (batch,) bool.
    """
    squares = (vectors.float().pow(2).mean(dim=(1, 2)) * still).sum()
    return mean_over_ranks(squares) / mean_over_ranks(still.float().sum()).clamp_min(1e-6)


def quiet_loss(vectors: torch.Tensor, truth: torch.Tensor, floor: float) -> torch.Tensor:
    """Squared length of the vectors of cells that do not move: a token should speak of its own cell.

    Args:
        vectors: (batch, tokens, code_dim), tokens in raster order of a square grid.
        truth: (batch, 2, height, width) true motion, px of the crop.
        floor: Root mean squared motion of a cell, px of the crop, from which on it is let alone; below, a
            cell counts the more the stiller it is.

    Returns:
        Scalar, the mean over the share of stillness, on all processes.
    """
    cells = math.isqrt(vectors.shape[1])
    energy = F.adaptive_avg_pool2d(truth.float().pow(2).sum(dim=1, keepdim=True), cells).sqrt().flatten(1)
    share = (1 - energy / floor).clamp_min(0)
    total = mean_over_ranks((share * vectors.float().pow(2).mean(dim=-1)).mean())
    return total / mean_over_ranks(share.mean()).clamp_min(1e-3)


def usage_loss(vectors: torch.Tensor, codes: torch.Tensor, temperature: float = 0.5) -> torch.Tensor:
    """How far the use of the codes is from even, with soft assignments so that it has a gradient.

    Args:
        vectors: (batch, tokens, code_dim) before quantisation.
        codes: (codebook_size, code_dim).
        temperature: Of the assignment, in squared lengths.

    Returns:
        Scalar: 0 where all codes are used alike, 1 where a single one is.
    """
    distance = torch.cdist(vectors.float().flatten(0, 1), codes.float()).pow(2)
    share = mean_over_ranks((-distance / temperature).softmax(dim=-1).mean(dim=0))
    return 1 + (share * share.clamp_min(1e-8).log()).sum() / math.log(len(codes))


class ActionReader(nn.Module):
    """Read from the tokens which action fields act, by one linear map; used in training only.

    Args:
        num_features: Tokens times code dimension.
        num_actions: Action fields.
    """

    def __init__(self, num_features: int, num_actions: int):
        super().__init__()
        self.projection = nn.Linear(num_features, num_actions)

    def forward(self, codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of presence, from codes (batch, tokens, code_dim) and weights (batch, actions)."""
        logits = self.projection(codes.float().flatten(1))
        weight = logits.new_tensor(PRESENCE_WEIGHT)
        return F.binary_cross_entropy_with_logits(logits, (weights > 0).float(), pos_weight=weight)

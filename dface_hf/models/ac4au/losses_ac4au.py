"""The losses of AC4AU: a focal loss weighted by each unit's rarity, and an angular margin for subjects."""

import math

import torch
import torch.nn.functional as F


def positive_rates(labels: torch.Tensor) -> torch.Tensor:
    """Share of clips that show each unit, as `AC4AUConfig.positive_rates` wants it.

    Args:
        labels: (clips, units) of 0 and 1, of the training clips only.

    Returns:
        (units,) float64. A unit that no clip or every clip shows counts as if one more clip did not: a rate
        of 0 or 1 would take one side of its loss away.
    """
    count = len(labels)
    return labels.double().mean(dim=0).clamp(1 / (count + 1), count / (count + 1))


def focal_loss(
    logits: torch.Tensor, labels: torch.Tensor, rates: torch.Tensor | float = 0.5, exponent: float = 2.0
) -> torch.Tensor:
    """Focal loss of action units, summed over units, averaged over clips (paper, L_AU).

    Of unit k with probability p, label y and positive rate a:
    -(1 - a) (1 - p)^2 y log p - a p^2 (1 - y) log(1 - p).

    Args:
        logits: (batch, units).
        labels: (batch, units) of 0 and 1.
        rates: (units,) share of positives in the training clips.
        exponent: 2 in the paper; with 0 and rates of 0.5 this is half the binary cross-entropy.
    """
    logits, labels = logits.float(), labels.float()
    shown = (1 - rates) * torch.sigmoid(-logits).pow(exponent) * labels * F.logsigmoid(logits)
    absent = rates * torch.sigmoid(logits).pow(exponent) * (1 - labels) * F.logsigmoid(-logits)
    return -(shown + absent).sum(dim=-1).mean()


def binary_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, summed over units, averaged over clips: the paper's ablation of `focal_loss`."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return loss.sum(dim=-1).mean()


def angular_margin_logits(
    cosines: torch.Tensor, subject_ids: torch.Tensor, scale: float = 32.0, margin: float = 0.5
) -> torch.Tensor:
    """Add a margin to the angle of the true subject (ArcFace, Deng et al., CVPR 2019).

    Args:
        cosines: (batch, subjects) in [-1, 1].
        subject_ids: (batch,) columns of the true subjects.
        scale: What all cosines are multiplied by.
        margin: Radians added to the true angle. Where the sum would pass pi, and the cosine rise again, it
            goes on falling as cos - margin x sin(margin).

    Returns:
        (batch, subjects) float32 logits for a cross-entropy.
    """
    cosines = cosines.float().clamp(-1 + 1e-6, 1 - 1e-6)
    sines = (1 - cosines.square()).sqrt()
    moved = cosines * math.cos(margin) - sines * math.sin(margin)
    falling = cosines - margin * math.sin(margin)
    moved = torch.where(cosines > math.cos(math.pi - margin), moved, falling)
    true = F.one_hot(subject_ids, cosines.shape[-1]).bool()
    return scale * torch.where(true, moved, cosines)


def subject_loss(
    constant: torch.Tensor,
    weight: torch.Tensor,
    subject_ids: torch.Tensor,
    scale: float = 32.0,
    margin: float = 0.5,
) -> torch.Tensor:
    """Angular-margin loss that tells subjects apart by the constant part of their features (paper, L_DC).

    Args:
        constant: (batch, hidden_size) constant part of each clip.
        weight: (subjects, hidden_size) a direction for each subject.
        subject_ids: (batch,) rows of `weight`; -1 for a clip without a subject, which counts nothing.
        scale: See `angular_margin_logits`.
        margin: See `angular_margin_logits`.
    """
    known = subject_ids >= 0
    cosines = F.linear(F.normalize(constant.float(), dim=-1), F.normalize(weight.float(), dim=-1))
    logits = angular_margin_logits(cosines, subject_ids.clamp_min(0), scale, margin)
    losses = F.cross_entropy(logits, subject_ids.clamp_min(0), reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)


__all__ = ["angular_margin_logits", "binary_loss", "focal_loss", "positive_rates", "subject_loss"]

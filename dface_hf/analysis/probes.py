"""Linear probes: which action units can be read from a representation of an onset/apex pair."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class ProbeResult:
    """Result of a probe.

    Attributes:
        f1: Binary F1 of each action unit on the test pairs.
        macro_f1: Their mean.
    """

    f1: dict[int, float]
    macro_f1: float


def action_unit_probe(
    train: np.ndarray,
    train_units: np.ndarray,
    test: np.ndarray,
    test_units: np.ndarray,
    units: tuple[int, ...],
) -> ProbeResult:
    """Fit one class-balanced logistic regression a unit on standardised features.

    Features are always scaled and classes balanced: an unscaled probe makes frame differences look far weaker
    than they are.

    Args:
        train: (n, d) features of the training pairs.
        train_units: (n, units) multi-hot.
        test: (m, d) features of pairs of other identities.
        test_units: (m, units) multi-hot.
        units: FACS number of each column.

    Returns:
        [`ProbeResult`]; a unit that never occurs in `test_units` counts 0.
    """
    scores = {}
    for column, unit in enumerate(units):
        probe = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", C=0.1, max_iter=300)
        )
        probe.fit(train, train_units[:, column] > 0)
        scores[unit] = float(f1_score(test_units[:, column] > 0, probe.predict(test), zero_division=0))
    return ProbeResult(scores, float(np.mean(list(scores.values()))))


def one_hot_tokens(action_ids: torch.Tensor, codebook_size: int) -> np.ndarray:
    """Return tokens (n, 16) as indicator features (n, 16 * codebook_size)."""
    return F.one_hot(action_ids, codebook_size).flatten(1).numpy().astype(np.float32)


def pooled_difference(onset: torch.Tensor, apex: torch.Tensor) -> np.ndarray:
    """Return the grey difference of (n, 3, height, width) frames, averaged over 2x2 pixels: (n, height *
    width / 4)."""
    return F.avg_pool2d((apex - onset).mean(dim=1, keepdim=True), 2).flatten(1).numpy()

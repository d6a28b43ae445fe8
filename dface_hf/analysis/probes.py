"""Linear probes: what can be read from a representation of an onset/apex pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from dface_hf.data.pair_clips import PairClips
from dface_hf.metrics import au_scores

STRENGTHS = (0.001, 0.01, 0.1)

# Farneback's method, for motion of 0.5 to 6 px on a noisy crop of 128 px: of windows of 5 to 31 px, 1 to 3
# levels and crops of 64 and 128 px, these let a probe read action units best, on faces of either origin.
FARNEBACK = dict(pyr_scale=0.5, levels=3, winsize=9, iterations=3, poly_n=5, poly_sigma=1.1, flags=0)


@dataclass(frozen=True)
class ProbeResult:
    """Result of a probe.

    Attributes:
        f1: Binary F1 of each action unit on the test pairs.
        macro_f1: Their mean.
    """

    f1: dict[int, float]
    macro_f1: float


class ActionUnitProbe:
    """One class-balanced logistic regression a unit on standardised features.

    Features are always scaled and classes balanced: an unscaled probe makes frame differences look far weaker
    than they are.

    Args:
        units: FACS number of each column.
        strength: Inverse weight of the penalty (scikit-learn's ``C``).
    """

    def __init__(self, units: Sequence[int], strength: float = 0.1):
        self.units, self.strength = tuple(units), strength
        self._models: list[Pipeline] = []

    def fit(self, features: np.ndarray, units: np.ndarray) -> ActionUnitProbe:
        """Fit on features (n, d) and multi-hot units (n, units)."""
        one = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", C=self.strength, max_iter=300)
        )
        self._models = [clone(one).fit(features, column > 0) for column in units.T]
        return self

    def score(self, features: np.ndarray, units: np.ndarray) -> ProbeResult:
        """F1 on other pairs; a unit that never occurs there counts 0."""
        predicted = np.stack([model.predict(features) for model in self._models], axis=1)
        return unit_scores(predicted, units, self.units)


def unit_scores(predicted: np.ndarray, truth: np.ndarray, units: Sequence[int]) -> ProbeResult:
    """F1 of predicted units (n, units) against the true ones."""
    scores = au_scores(truth, predicted, units)
    return ProbeResult(scores["per_unit"], scores["f1"])


def action_unit_probe(
    train: np.ndarray,
    train_units: np.ndarray,
    test: np.ndarray,
    test_units: np.ndarray,
    units: Sequence[int],
) -> ProbeResult:
    """Fit an [`ActionUnitProbe`] on pairs and score it on pairs of other identities."""
    return ActionUnitProbe(units).fit(train, train_units).score(test, test_units)


def tuned_probe(
    features: np.ndarray, units: np.ndarray, groups: np.ndarray, names: Sequence[int]
) -> ActionUnitProbe:
    """A probe whose strength is the best of `STRENGTHS` on a fifth of the identities, then fitted on all.

    Args:
        features: (n, d).
        units: (n, units) multi-hot.
        groups: (n,) identity of each pair.
        names: FACS number of each column.
    """
    held_out = groups % 5 == 0

    def quality(strength: float) -> float:
        probe = ActionUnitProbe(names, strength).fit(features[~held_out], units[~held_out])
        return probe.score(features[held_out], units[held_out]).macro_f1

    return ActionUnitProbe(names, max(STRENGTHS, key=quality)).fit(features, units)


def subject_probe(features: np.ndarray, identity: np.ndarray) -> tuple[float, float]:
    """How well the face can be told from features (n, d), whatever it does.

    Fitted on every other pair of each face, scored on the rest.

    Returns:
        Accuracy and the share of the most frequent face, which is what chance gives.
    """
    order = np.argsort(identity, kind="stable")
    fitted, unseen = order[::2], order[1::2]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    probe.fit(features[fitted], identity[fitted])
    chance = np.bincount(identity[unseen]).max() / len(unseen)
    return float(probe.score(features[unseen], identity[unseen])), float(chance)


def one_hot_tokens(action_ids: torch.Tensor, codebook_size: int) -> np.ndarray:
    """Return tokens (n, 16) as indicator features (n, 16 * codebook_size)."""
    return F.one_hot(action_ids, codebook_size).flatten(1).numpy().astype(np.float32)


def pooled_difference(onset: torch.Tensor, apex: torch.Tensor) -> np.ndarray:
    """Return the grey difference of (n, 3, height, width) frames, averaged over 2x2 pixels: (n, height *
    width / 4)."""
    return F.avg_pool2d((apex - onset).mean(dim=1, keepdim=True), 2).flatten(1).numpy()


def difference_of(clips: PairClips, side: int = 64) -> np.ndarray:
    """`pooled_difference` of clips resized to a side: (n, side**2 / 4)."""
    return np.concatenate([pooled_difference(*frames.unbind(1)) for frames in clips.pixel_values(side)])


def flow_of(clips: PairClips, side: int | None = None, grid: int = 16) -> np.ndarray:
    """Farneback flow of clips, averaged over a grid.

    Args:
        clips: The pairs.
        side: Shrink the crops to this many pixels first.
        grid: Cells along one side.

    Returns:
        (n, 2 * grid**2) float32, pixels of the (shrunk) crop.
    """
    rows, side = [], side or clips.onset.shape[1]
    pairs = zip(clips.onset, clips.apex, strict=True)
    for pair in tqdm(pairs, total=len(clips), desc="flow", unit="pair", leave=False):
        grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair)
        small = (cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in grey)
        flow = cv2.calcOpticalFlowFarneback(*small, None, **FARNEBACK)
        rows.append(cv2.resize(flow, (grid, grid), interpolation=cv2.INTER_AREA).ravel())
    return np.stack(rows)

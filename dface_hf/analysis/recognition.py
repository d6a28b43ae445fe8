"""Emotion classes read from a representation by a support vector machine, each subject held out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from dface_hf.data.pair_clips import resized
from dface_hf.data.protocols import Fold, inner_folds
from dface_hf.metrics import recognition_scores
from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis import warp_backward

from .tokens import Representation, quantised


def leave_subjects_out(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Unweighted F1 and recall, pooled over the folds, of a class-balanced RBF-SVM on scaled features.

    Args:
        features: (n, ...).
        labels: (n,) class numbers.
        subjects: (n,) who is seen.

    Returns:
        ``uf1`` and ``uar`` (See et al., MEGC 2019, section II).
    """
    flat = features.reshape(len(features), -1).astype(np.float32)
    predicted = cross_val_predict(support_vectors(), flat, labels, groups=subjects, cv=LeaveOneGroupOut())
    classes = np.unique(labels)
    numbered = (np.searchsorted(classes, values) for values in (labels, predicted))
    scores = recognition_scores(*numbered, len(classes))
    return {name: scores[name] for name in ("uf1", "uar")}


@dataclass(frozen=True, eq=False)
class NestedPrediction:
    """What estimators say of clips whose subjects had no part in anything, not even in choosing settings.

    Attributes:
        decision: (n, classes) float64 decision values.
        chosen: Name of the setting that each fold took.
        inner: (folds, settings) UF1 of each setting within the training part of each fold.
    """

    decision: np.ndarray
    chosen: tuple[str, ...]
    inner: np.ndarray


def nested_choice(
    settings: Mapping[str, np.ndarray],
    labels: np.ndarray,
    folds: Sequence[Fold],
    corpora: Sequence[str],
    subjects: Sequence[str],
    k: int = 5,
) -> NestedPrediction:
    """Choose among settings inside each fold, then predict its test clips with the choice.

    Every fold splits its training subjects into k parts, takes the setting with the best UF1 over them, and
    fits an RBF-SVM (`leave_subjects_out`) with this setting to all of its training clips.

    Args:
        settings: Name -> features (n, ...) as this setting gives them.
        labels: (n,) class numbers from 0.
        folds: Outer folds, such as `leave_one_subject_out`.
        corpora, subjects: (n,) of each clip.
        k: Inner folds.
    """
    flat = {name: x.reshape(len(x), -1).astype(np.float32) for name, x in settings.items()}
    decision, chosen, inner = np.zeros((len(labels), labels.max() + 1)), [], []
    for fold in tqdm(folds, desc="nested choice", unit="fold", leave=False):
        within = inner_folds(fold, corpora, subjects, k)
        # One setting leaves nothing to choose.
        scores = [_uf1_within(x, labels, within) if len(flat) > 1 else np.nan for x in flat.values()]
        best = list(flat)[int(np.nanargmax(scores))] if len(flat) > 1 else next(iter(flat))
        fitted = support_vectors().fit(flat[best][fold.train], labels[fold.train])
        decision[fold.test] = fitted.decision_function(flat[best][fold.test])
        chosen.append(best)
        inner.append(scores)
    return NestedPrediction(decision, tuple(chosen), np.array(inner))


def support_vectors() -> Pipeline:
    """A class-balanced RBF-SVM on scaled features, unfitted."""
    return make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced"))


def _uf1_within(features: np.ndarray, labels: np.ndarray, folds: Sequence[Fold]) -> float:
    predicted = np.full(len(labels), -1)
    for fold in folds:
        fitted = support_vectors().fit(features[fold.train], labels[fold.train])
        predicted[fold.test] = fitted.predict(features[fold.test])
    seen = predicted >= 0
    return recognition_scores(labels[seen], predicted[seen], int(labels.max()) + 1)["uf1"]


@torch.no_grad()
def animated(
    tokenizer: DFaceTokenizerModel, motion: torch.Tensor, faces: torch.Tensor, peaks: Sequence[float]
) -> Iterator[Representation]:
    """What a tokenizer says of motion that faces are made to carry out.

    Args:
        tokenizer: In evaluation mode.
        motion: (n, 2, size, size) forward motion of 1 px, in crop half-widths, as of `FlowImages.motion`.
        faces: (m, 3, side, side) in [0, 1].
        peaks: Motion to be shown, px of the crop.

    Yields:
        For each face, for each peak: the representation of n pairs.
    """
    size, shows = motion.shape[-1], [(face, peak) for face in faces for peak in peaks]
    for face, peak in tqdm(shows, desc="animating faces", unit="show", leave=False):
        onset = F.interpolate(face[None], (size, size), mode="bilinear", antialias=True)
        onset = onset.expand(len(motion), -1, -1, -1)
        apex = F.grid_sample(onset, warp_backward(motion * peak), padding_mode="border", align_corners=False)
        frames = (torch.stack([onset, apex], dim=1).clamp(0, 1) * 255 + 0.5).byte()
        batches = (resized(part, tokenizer.config.image_size) for part in frames.split(64))
        yield quantised(tokenizer, [tokenizer.action_vectors(part.to(tokenizer.device)) for part in batches])


def animated_features(
    tokenizer: DFaceTokenizerModel, motion: torch.Tensor, faces: torch.Tensor, peaks: Sequence[float]
) -> dict[str, np.ndarray]:
    """The features of [`Representation`], each (n, d), of `animated`, averaged over faces and peaks."""
    total: dict[str, np.ndarray] = {}
    for shown in animated(tokenizer, motion, faces, peaks):
        for name, values in shown.features.items():
            total[name] = total.get(name, 0) + values / (len(faces) * len(peaks))
    return total

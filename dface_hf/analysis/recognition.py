"""Emotion classes read from a representation by a support vector machine, each subject held out in turn."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from dface_hf.data.pair_clips import resized
from dface_hf.metrics import recognition_scores
from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis import warp_backward

from .tokens import quantised


def leave_subjects_out(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Unweighted F1 and recall, pooled over the folds, of a class-balanced RBF-SVM on scaled features.

    Args:
        features: (n, ...).
        labels: (n,) class numbers.
        subjects: (n,) who is seen.

    Returns:
        ``uf1`` and ``uar`` (See et al., MEGC 2019, section II).
    """
    machine = make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced"))
    flat = features.reshape(len(features), -1).astype(np.float32)
    predicted = cross_val_predict(machine, flat, labels, groups=subjects, cv=LeaveOneGroupOut())
    classes = np.unique(labels)
    numbered = (np.searchsorted(classes, values) for values in (labels, predicted))
    scores = recognition_scores(*numbered, len(classes))
    return {name: scores[name] for name in ("uf1", "uar")}


@torch.no_grad()
def animated_features(
    tokenizer: DFaceTokenizerModel, motion: torch.Tensor, faces: torch.Tensor, peaks: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """What a tokenizer says of motion that faces are made to carry out, averaged over faces and amplitudes.

    Args:
        tokenizer: In evaluation mode.
        motion: (n, 2, size, size) forward motion with a longest vector of 1 px, in crop half-widths.
        faces: (m, 3, side, side) in [0, 1].
        peaks: Longest vectors to be shown, px of the crop.

    Returns:
        The features of [`Representation`], each (n, d).
    """
    size, shows = motion.shape[-1], [(face, peak) for face in faces for peak in peaks]
    total: dict[str, np.ndarray] = {}
    for face, peak in tqdm(shows, desc="animating faces", unit="face", leave=False):
        onset = F.interpolate(face[None], (size, size), mode="bilinear", antialias=True)
        onset = onset.expand(len(motion), -1, -1, -1)
        apex = F.grid_sample(onset, warp_backward(motion * peak), padding_mode="border", align_corners=False)
        frames = (torch.stack([onset, apex], dim=1).clamp(0, 1) * 255 + 0.5).byte()
        batches = (resized(part, tokenizer.config.image_size) for part in frames.split(64))
        vectors = [tokenizer.action_vectors(part.to(tokenizer.device)) for part in batches]
        for name, values in quantised(tokenizer, vectors).features.items():
            total[name] = total.get(name, 0) + values / len(shows)
    return total

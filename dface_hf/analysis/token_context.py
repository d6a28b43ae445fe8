"""What the second codebook of a tokenizer says: the drift of the head and, it is hoped, no action."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from dface_hf.data import pretraining_pairs
from dface_hf.data.pair_clips import PairClips
from dface_hf.data.tokenising import batches
from dface_hf.models import DFaceTokenizerModel

from .probes import one_hot_tokens


@torch.no_grad()
def context_features(tokenizer: DFaceTokenizerModel, frames: Iterable[torch.Tensor]) -> np.ndarray:
    """Batches of pairs (b, 2, 3, height, width) as indicators of their context codes, for a probe.

    Returns:
        (n, num_context_tokens * context_codebook_size) float32.

    Raises:
        ValueError: The tokenizer has no second codebook.
    """
    ids = [tokenizer.encode_context(*pair.to(tokenizer.device).unbind(1)).cpu() for pair in frames]
    return one_hot_tokens(torch.cat(ids), tokenizer.config.context_codebook_size)


def context_of(tokenizer: DFaceTokenizerModel, clips: PairClips) -> np.ndarray:
    """`context_features` of clips, resized to what the tokenizer takes."""
    return context_features(tokenizer, clips.pixel_values(tokenizer.config.image_size))


def drift_read_out(
    tokenizer: DFaceTokenizerModel, faces: torch.Tensor, pairs: int = 2048, seed: int = 0
) -> tuple[float, float]:
    """How well the drift of the head is read from the context codes of pairs in which nothing acts.

    The pairs have what stabilisation leaves of the head's motion, as in pretraining: there it is known.

    Args:
        tokenizer: With a second codebook, in evaluation mode.
        faces: (n, 3, side, side) aligned faces in [0, 1], none of those trained on.
        pairs: How many are drawn; half of them fit the read-out, the others judge it.
        seed: Of the pairs.

    Returns:
        R2 of the shift across and of that up and down (`linear_read_out`).
    """
    size = tokenizer.config.image_size
    drawn = list(batches(pretraining_pairs(size, seed, identities=faces, still_share=1.0), pairs))
    frames = (torch.stack([batch.onset, batch.apex], dim=1) for batch in drawn)
    shift = torch.cat([batch.camera[:, :2] for batch in drawn]).numpy()
    across, along = linear_read_out(context_features(tokenizer, frames), shift)
    return float(across), float(along)


def linear_read_out(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How well numbers can be read from features (n, d) by a linear map.

    Fitted on every other row, scored on the rest.

    Args:
        features: (n, d).
        targets: (n, t).

    Returns:
        (t,) R2 of each target: 1 is perfect, 0 no better than its mean.
    """
    probe = LinearRegression().fit(features[::2], targets[::2])
    return r2_score(targets[1::2], probe.predict(features[1::2]), multioutput="raw_values")

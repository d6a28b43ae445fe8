"""How much of who is seen is left in what a model says of a clip: a probe of its constant and changing part.

The decomposer of AC4AU (a Fourier transform over time) splits the features of a clip's frames into what stays
and what changes; the face should be in the first and not in the second. The same is asked of the tokens of
D-FACE, which should hold the action alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from dface_hf.data.pair_clips import resized
from dface_hf.models import DFaceTokenizerModel, split_frequencies

from .probes import subject_probe

AT_ONCE = 8  # clips whose pairs are encoded together


def identity_leak(states: ArrayLike, subjects: ArrayLike) -> dict[str, float]:
    """How well subjects are told apart by what changes over time and by what stays.

    Args:
        states: (n, T, ...) features of n clips over T frames.
        subjects: (n,) names or numbers; a subject must be seen in two clips or more.

    Returns:
        Accuracy of a linear probe ([`subject_probe`]) on the changing part (`AC`: its root mean square over
        time, which no order of frames matters to) and on the constant part (`DC`), and `chance`.

    Raises:
        ValueError: Fewer than two subjects, or one with a single clip.
    """
    names, identity, counts = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} subject: telling subjects apart needs two or more")
    if counts.min() < 2:
        raise ValueError(f"subject {names[counts.argmin()]} is seen in one clip; two or more are needed")
    changing, constant = split_frequencies(torch.as_tensor(np.asarray(states)).float().flatten(2))
    rms = changing.square().mean(dim=1).sqrt()
    found = {name: subject_probe(x.numpy(), identity) for name, x in (("AC", rms), ("DC", constant))}
    return {name: accuracy for name, (accuracy, _) in found.items()} | {"chance": found["DC"][1]}


@torch.no_grad()
def token_states(tokenizer: DFaceTokenizerModel, frames: np.ndarray) -> dict[str, np.ndarray]:
    """What a tokenizer makes of each frame of a clip, paired with the clip's first frame as the onset.

    Args:
        tokenizer: In evaluation mode.
        frames: (n, T, size, size, 3) uint8 RGB aligned crops, such as `UnitClips.frames`.

    Returns:
        "patches": (n, T, hidden_size) mean patch embedding of the frame alone, as the decoder sees it;
        "vectors": (n, T, 16 * code_dim) action vectors before the codebook; "tokens": the same of the
        codebook's entries.
    """
    rows: dict[str, list[np.ndarray]] = {"patches": [], "vectors": [], "tokens": []}
    for start in range(0, len(frames), AT_ONCE):
        some = torch.from_numpy(np.ascontiguousarray(frames[start : start + AT_ONCE])).permute(0, 1, 4, 2, 3)
        clips = resized(some, tokenizer.config.image_size).to(tokenizer.device)
        pairs = torch.stack([clips[:, :1].expand_as(clips), clips], dim=2)
        vectors = tokenizer.action_vectors(pairs.flatten(0, 1))
        codes = tokenizer.quantizer.codes()[tokenizer.quantizer.nearest(vectors)]
        read = (tokenizer.patch_embeddings(clips).mean(dim=2), vectors, codes)
        for row, states in zip(rows.values(), read, strict=True):
            row.append(states.reshape(*clips.shape[:2], -1).float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in rows.items()}


__all__ = ["identity_leak", "token_states"]

"""Clips and streams as tokens of a trained tokenizer: what heads and probes are fitted on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tqdm import tqdm

from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis import PairBatch, PairSampler

from .pair_clips import PairClips

BATCH = 64


def batches(stream: PairSampler, clips: int) -> Iterator[PairBatch]:
    """The first `clips` pairs of a stream, rounded up to whole batches."""
    for step in range(-(-clips // BATCH)):
        yield stream.sample(BATCH, step)


@torch.no_grad()
def tokenise(
    tokenizer: DFaceTokenizerModel, stream: PairSampler, clips: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (n, 16) and labels (n,) of labelled pairs."""
    ids, labels = [], []
    for batch in batches(stream, clips):
        ids.append(tokenizer.encode(batch.onset.to(tokenizer.device), batch.apex.to(tokenizer.device)).cpu())
        labels.append(batch.label)
    return torch.cat(ids), torch.cat(labels)


@torch.no_grad()
def tokenise_clips(tokenizer: DFaceTokenizerModel, clips: PairClips) -> torch.Tensor:
    """Return the tokens (n, 16) of n pairs, resized to what the tokenizer takes."""
    frames = tqdm(clips.pixel_values(tokenizer.config.image_size), desc="tokenising", leave=False)
    return torch.cat([tokenizer.encode(*pair.to(tokenizer.device).unbind(1)).cpu() for pair in frames])

"""What the tokens of a tokenizer say: reconstruction, codebook use, stillness, action units."""

from collections.abc import Iterator

import numpy as np
import torch

from dface_hf.models import DFaceTokenizerModel
from dface_hf.models.dface.quantization_dface import perplexity
from dface_hf.synthesis import PairBatch, PairSampler

from .probes import action_unit_probe, one_hot_tokens, pooled_difference

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
def evaluate_tokenizer(
    tokenizer: DFaceTokenizerModel,
    train: PairSampler,
    test: PairSampler,
    clips: tuple[int, int] = (2000, 1000),
) -> dict:
    """Measure a tokenizer on pairs of identities it has not seen.

    Args:
        tokenizer: In evaluation mode.
        train: Pairs that the probes are fitted on.
        test: Pairs of other identities.
        clips: How many of each.

    Returns:
        Mean absolute errors of reconstruction and of copying the onset (moving pairs), perplexity, share of
        code 0 in still and moving pairs, and the probes' F1 per action unit from tokens and from the frame
        difference.
    """
    sets = [_read(tokenizer, stream, count) for stream, count in zip((train, test), clips, strict=True)]
    fitted, unseen = sets
    still = unseen["units"].sum(axis=1) == 0
    ids = torch.from_numpy(unseen["ids"])
    size = tokenizer.config.codebook_size
    tokens, difference = (
        action_unit_probe(fitted[key], fitted["units"], unseen[key], unseen["units"], test.units)
        for key in ("one_hot", "difference")
    )
    return {
        "reconstruction_l1": float(unseen["error"][~still].mean()),
        "copy_l1": float(unseen["copy_error"][~still].mean()),
        "perplexity": float(perplexity(ids, size)),
        "codes_used": int(ids.unique().numel()),
        "null_share_still": float((unseen["ids"][still] == 0).mean()),
        "null_share_moving": float((unseen["ids"][~still] == 0).mean()),
        "probe_f1_tokens": tokens.macro_f1,
        "probe_f1_frame_difference": difference.macro_f1,
        "probe_f1_per_unit": {str(unit): round(f1, 3) for unit, f1 in tokens.f1.items()},
        "clips": list(clips),
    }


def _read(tokenizer: DFaceTokenizerModel, stream: PairSampler, clips: int) -> dict[str, np.ndarray]:
    """Everything that the measurements need of the first pairs of a stream."""
    rows: dict[str, list] = {
        key: [] for key in ("ids", "units", "one_hot", "difference", "error", "copy_error")
    }
    for batch in batches(stream, clips):
        output = tokenizer(torch.stack([batch.onset, batch.apex], dim=1).to(tokenizer.device))
        ids = output.action_ids.cpu()
        rows["ids"].append(ids.numpy())
        rows["units"].append(batch.units.numpy())
        rows["one_hot"].append(one_hot_tokens(ids, tokenizer.config.codebook_size))
        rows["difference"].append(pooled_difference(batch.onset, batch.apex))
        rows["error"].append((output.reconstruction.cpu() - batch.apex).abs().mean(dim=(1, 2, 3)).numpy())
        rows["copy_error"].append((batch.onset - batch.apex).abs().mean(dim=(1, 2, 3)).numpy())
    return {key: np.concatenate(parts)[:clips] for key, parts in rows.items()}

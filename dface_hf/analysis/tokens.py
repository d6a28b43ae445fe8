"""What the tokens of a tokenizer say: reconstruction, codebook use, stillness, action units."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from dface_hf.data.pair_clips import PairClips
from dface_hf.data.tokenising import batches
from dface_hf.models import DFaceTokenizerModel
from dface_hf.models.dface.quantization_dface import perplexity
from dface_hf.synthesis import PairSampler

from .probes import action_unit_probe, one_hot_tokens, pooled_difference


@dataclass(frozen=True)
class Representation:
    """What a tokenizer says of n pairs.

    Attributes:
        vectors: (n, 16, code_dim) float32, scaled, before the codebook.
        codes: (n, 16, code_dim) float32, the codebook's entry of each token.
        ids: (n, 16) int64 tokens.
        codebook_size: Entries of the codebook.
    """

    vectors: np.ndarray
    codes: np.ndarray
    ids: np.ndarray
    codebook_size: int

    VIEWS = ("vectors before the codebook", "code vectors", "tokens, one-hot")

    @property
    def features(self) -> dict[str, np.ndarray]:
        """The three `VIEWS` for a probe, each (n, d)."""
        count, one_hot = len(self.ids), one_hot_tokens(torch.from_numpy(self.ids), self.codebook_size)
        views = self.vectors.reshape(count, -1), self.codes.reshape(count, -1), one_hot
        return dict(zip(self.VIEWS, views, strict=True))


@torch.no_grad()
def represent(tokenizer: DFaceTokenizerModel, clips: PairClips, title: str = "pairs") -> Representation:
    """Encode clips, resized to what the tokenizer takes."""
    frames = tqdm(
        clips.pixel_values(tokenizer.config.image_size), desc=f"encoding {title}", unit="batch", leave=False
    )
    return quantised(tokenizer, [tokenizer.action_vectors(f.to(tokenizer.device)) for f in frames])


def quantised(tokenizer: DFaceTokenizerModel, vectors: list[torch.Tensor]) -> Representation:
    """What a tokenizer makes of batches of its own scaled vectors (b, 16, code_dim)."""
    found = torch.cat(vectors)
    ids, codes = tokenizer.quantizer.nearest(found), tokenizer.quantizer.codes()
    arrays = (x.detach().float().cpu().numpy() for x in (found, codes[ids]))
    return Representation(*arrays, ids.cpu().numpy(), len(codes))


def codebook_use(ids: np.ndarray, codebook_size: int) -> dict[str, float]:
    """How tokens (n, 16) use the codebook, code 0 ("nothing moves here") left out.

    Returns:
        Perplexity of the non-null tokens (at most ``codebook_size - 1``), number of codes never used, and the
        share of code 0.
    """
    counts = np.bincount(ids.ravel(), minlength=codebook_size)[1:]
    moving = torch.from_numpy(ids[ids > 0] - 1)
    return {
        "perplexity": float(perplexity(moving, codebook_size - 1)) if len(moving) else 0.0,
        "dead_codes": int((counts == 0).sum()),
        "null_share": float((ids == 0).mean()),
    }


def token_agreement(first: np.ndarray, second: np.ndarray, codebook_size: int) -> dict[str, float]:
    """How far two faces that do the same get the same tokens.

    Cells that are null on both faces do not count: stillness is easy to agree on.

    Args:
        first: (n, 16) tokens of n actions on one face each.
        second: (n, 16) tokens of the same actions on another face each.
        codebook_size: Entries of the codebook.

    Returns:
        Share of equal tokens for the same action and for two different actions (all of them), and the first
        corrected for the second: 1 is perfect, 0 is chance.
    """
    n = len(first)
    a, b = (np.eye(codebook_size)[ids].sum(axis=0) for ids in (first, second))  # (16, codes) counts
    alike, moves = first == second, (first > 0) | (second > 0)
    same = (alike & moves).sum() / max(moves.sum(), 1)
    equal = (a * b)[:, 1:].sum() - (alike & moves).sum()
    pairs = (n * n - a[:, 0] * b[:, 0]).sum() - moves.sum()
    different = equal / max(pairs, 1)
    corrected = (same - different) / max(1 - different, 1e-9)
    return {"same": float(same), "different": float(different), "corrected": float(corrected)}


@torch.no_grad()
def reconstruction(tokenizer: DFaceTokenizerModel, clips: PairClips, seed: int = 0) -> dict[str, float]:
    """How well the apex is redrawn from the onset and the tokens.

    Args:
        tokenizer: In evaluation mode.
        clips: Pairs of at least two identities.
        seed: Draws whose tokens each pair is given instead of its own.

    Returns:
        Mean absolute error relative to copying the onset (``l1``), mean squared error likewise (``squared``),
        and the share of pairs whose own tokens give a smaller absolute error than the tokens of a pair of
        another identity (``own_better``).
    """
    ids = represent(tokenizer, clips, "videos").ids
    others = torch.from_numpy(ids[_of_other_identities(clips.identity, seed)])
    rows, start = [], 0
    for frames in tqdm(clips.pixel_values(tokenizer.config.image_size), desc="decoding", leave=False):
        onset, apex = frames.to(tokenizer.device).unbind(1)
        own, other = (torch.as_tensor(x)[start : start + len(onset)].to(onset.device) for x in (ids, others))
        drawn = [tokenizer.decode(onset, tokens).reconstruction for tokens in (own, other)]
        errors = [(image.float() - apex).flatten(1) for image in (onset, *drawn)]
        rows.append(torch.stack([e.abs().mean(1) for e in errors] + [e.square().mean(1) for e in errors]))
        start += len(onset)
    copy, own, other, copy2, own2, _ = torch.cat(rows, dim=1).cpu().double()
    return {
        "l1": float(own.mean() / copy.mean()),
        "squared": float(own2.mean() / copy2.mean()),
        "own_better": float((own < other).double().mean()),
    }


def _of_other_identities(identity: np.ndarray, seed: int) -> np.ndarray:
    """For each pair the index of one of another identity, at random."""
    generator = np.random.default_rng(seed)
    return np.array([generator.choice(np.flatnonzero(identity != own)) for own in identity])


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
        small = (F.adaptive_avg_pool2d(frame, 64) for frame in (batch.onset, batch.apex))
        rows["difference"].append(pooled_difference(*small))
        rows["error"].append((output.reconstruction.cpu() - batch.apex).abs().mean(dim=(1, 2, 3)).numpy())
        rows["copy_error"].append((batch.onset - batch.apex).abs().mean(dim=(1, 2, 3)).numpy())
    return {key: np.concatenate(parts)[:clips] for key, parts in rows.items()}

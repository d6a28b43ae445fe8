"""What the tokens of many synthetic pairs go with: how often each is used, and the units it stands for.

The pairs are those of the benchmark (`data.benchmark_pairs`: units, nuisances, stabilisation), on procedural
faces of their own, with motion of 0.5 to 6 px of 128.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from dface_hf.data.benchmark_pairs import AMPLITUDES, FACE_SIZE, NUISANCES, PAIRS, SIZE, UNITS
from dface_hf.data.pair_clips import BATCH, EvenPairs, stabilised
from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis import procedural_faces
from dface_hf.synthesis.seeds import seed_of

from .probes import ActionUnitProbe, one_hot_tokens

RANGE = (AMPLITUDES["micro"][0], AMPLITUDES["macro"][1])
FACES = 128
KEPT = 3000
"""Pairs whose onset frames are kept, to decode on: 150 MB of 128 px crops."""
LEAST = 20
"""A token is judged by what it goes with when it occurs in so many pairs."""
SURE = 3.09
"""Normal quantile of 99.9 %: of 3,000 lifts that are 1 in truth, 3 pass."""
SHUFFLES = 5
STRENGTH = 0.01  # of the probes: the middle of what `tuned_probe` tries


@dataclass(frozen=True)
class TokenisedPairs:
    """Tokens of n pairs whose action is known.

    Attributes:
        ids: (n, P) int64.
        units: (n, U) uint8, multi-hot over `names`.
        identity: (n,) int64, which face.
        onset: (m, 3, S, S) uint8 onset frames of the first m pairs.
        names: FACS number of each column of `units`.
    """

    ids: np.ndarray
    units: np.ndarray
    identity: np.ndarray
    onset: np.ndarray
    names: tuple[int, ...] = UNITS

    def __len__(self) -> int:
        return len(self.ids)

    def frames(self, rows: np.ndarray) -> torch.Tensor:
        """Onset frames (len(rows), 3, S, S) float32 in [0, 1]."""
        return torch.from_numpy(self.onset[rows]).float() / 255


@torch.no_grad()
def tokenised_pairs(tokenizer: DFaceTokenizerModel, count: int = 4000, seed: int = 0) -> TokenisedPairs:
    """Render pairs and encode them.

    Args:
        tokenizer: In evaluation mode.
        count: How many.
        seed: Equal seeds give equal pairs.
    """
    faces = min(FACES, max(4, count // 8))
    bank = procedural_faces(faces, FACE_SIZE, seed_of("atlas pairs", seed), oversample=1)
    options = PAIRS | {"nuisances": NUISANCES, "amplitude": RANGE, "seed": seed_of("atlas stream", seed)}
    stream, size, parts, kept = EvenPairs(SIZE, None, bank, **options), tokenizer.config.image_size, [], 0
    for step in tqdm(range(-(-count // BATCH)), desc="encoding pairs", unit="batch", leave=False):
        clips = stabilised(stream.sample(min(BATCH, count - step * BATCH), step))
        frames = next(clips.pixel_values(size, len(clips))).to(tokenizer.device)
        ids = tokenizer.encode(*frames.unbind(1)).cpu().numpy()
        onset = (frames[: max(0, KEPT - kept), 0] * 255 + 0.5).byte().cpu().numpy()
        kept += len(onset)
        parts.append((ids, clips.units, clips.identity, onset))
    return TokenisedPairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def usage(ids: np.ndarray, codebook_size: int) -> np.ndarray:
    """How often each token occurs in pairs (n, P): counts (P, codebook_size)."""
    return np.stack([np.bincount(column, minlength=codebook_size) for column in ids.T])


def unit_lift(
    ids: np.ndarray, units: np.ndarray, codebook_size: int, least: int = LEAST
) -> tuple[np.ndarray, np.ndarray]:
    """How much likelier each unit is in pairs that carry a token.

    Args:
        ids: (n, P) tokens.
        units: (n, U) multi-hot.
        codebook_size: Number of codes K.
        least: Tokens that occur less often are not judged.

    Returns:
        P(unit | token) / P(unit), and what it is at least with 99.9 % confidence (Wilson's interval of the
        first probability), both (P, K, U); NaN where the token is too rare or the unit never occurs.
    """
    one_hot = np.eye(codebook_size)[ids]  # (n, P, K)
    count = one_hot.sum(axis=0)[..., None]
    together = np.einsum("npk,nu->pku", one_hot, units.astype(float))
    base = units.mean(axis=0)
    judged = (count >= least) & (base > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = together / count
        low = _wilson_low(share, count)
        return tuple(np.where(judged, value / base, np.nan) for value in (share, low))


def _wilson_low(share: np.ndarray, count: np.ndarray, z: float = SURE) -> np.ndarray:
    """Lower end of Wilson's score interval (1927)."""
    spread = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (share + z * z / (2 * count) - spread) / (1 + z * z / count)


def unit_information(
    ids: np.ndarray, units: np.ndarray, codebook_size: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Bits that one token of a pair tells of each unit, drawn from the pair at random.

    What tables of this size show of unrelated units (mean of 5 shuffles of the pairs) is taken off.

    Args:
        ids: (n, P) tokens.
        units: (n, U) multi-hot.
        codebook_size: Number of codes.
        seed: Of the shuffles.

    Returns:
        `by_position` (P, U): bits when it is the token of this position; `placed` (U,): their mean, bits of
        a token whose position is known, I(unit; code | position); `unplaced` (U,): bits of the code alone,
        I(unit; code); `entropy` (U,): bits there are to tell.
    """
    generator = np.random.default_rng(seed)
    found = _information(ids, units, codebook_size)
    orders = [generator.permutation(len(ids)) for _ in range(SHUFFLES)]
    chance = [_information(ids, units[order], codebook_size) for order in orders]
    by_position, unplaced = (
        found[part] - np.mean([one[part] for one in chance], axis=0) for part in range(2)
    )
    rate = units.mean(axis=0)
    return {
        "by_position": by_position,
        "placed": by_position.mean(axis=0),
        "unplaced": unplaced,
        "entropy": _entropy(np.stack([rate, 1 - rate])),
    }


def _information(ids: np.ndarray, units: np.ndarray, codes: int) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information of each unit with the code at each position (P, U), and at any position (U,)."""
    one_hot = np.eye(codes)[ids]
    acting = np.stack([units > 0, units == 0]).astype(float)
    joint = np.einsum("npk,anu->apku", one_hot, acting) / len(ids)
    placed = _entropy(joint.sum(2)) + _entropy(joint.sum(0).swapaxes(0, 1)) - _flat_entropy(joint)
    pooled = joint.mean(axis=1, keepdims=True)
    free = _entropy(pooled.sum(2)) + _entropy(pooled.sum(0).swapaxes(0, 1)) - _flat_entropy(pooled)
    return placed, free[0]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Bits, along the first axis."""
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=0)


def _flat_entropy(joint: np.ndarray) -> np.ndarray:
    """Bits of (2, P, K, U) tables: (P, U)."""
    return _entropy(joint.swapaxes(1, 2).reshape(-1, joint.shape[1], joint.shape[3]))


def probe_views(pairs: TokenisedPairs, codebook_size: int) -> dict[str, float]:
    """Mean F1 of the units that a linear probe reads, with and without the tokens' positions.

    Fitted on three quarters of the faces, tested on the others.

    Returns:
        F1 from `tokens` (one-hot by position), `bag` (how often each code occurs, wherever), `places` (which
        positions are not code 0, whatever the code), and of predicting every unit always (`all_ones`).
    """
    one_hot = one_hot_tokens(torch.from_numpy(pairs.ids), codebook_size)
    bag = one_hot.reshape(len(pairs), -1, codebook_size).sum(axis=1)
    views = {"tokens": one_hot, "bag": bag, "places": (pairs.ids > 0).astype(np.float32)}
    test = pairs.identity % 4 == 0
    usable = np.array([0 < column.sum() < len(column) for column in pairs.units[~test].T])
    names, units = [n for n, u in zip(pairs.names, usable, strict=True) if u], pairs.units[:, usable]
    if not names or not test.any():
        return {name: 0.0 for name in (*views, "all_ones")}
    scores = {name: _probe(view, units, test, names) for name, view in views.items()}
    rate = units[test].mean(axis=0)
    return scores | {"all_ones": float((2 * rate / (1 + rate)).mean())}


def _probe(view: np.ndarray, units: np.ndarray, test: np.ndarray, names: Sequence[int]) -> float:
    probe = ActionUnitProbe(names, STRENGTH).fit(view[~test], units[~test])
    return float(probe.score(view[test], units[test]).macro_f1)

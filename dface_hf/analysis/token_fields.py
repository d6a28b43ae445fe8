"""What single tokens move: mean fields of motion over faces, alone and in the company of other tokens.

*Alone*: one token among null tokens, decoded on many faces. *In company*: what a token adds to the others of
a real pair, that is, the motion that is gone when it alone is made null. A decoder need not add tokens up,
so the two may differ; both are measured.
Motion is as `decoded_motion` tells it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from dface_hf.models import DFaceTokenizerModel

from .decoded_motion import MotionReader, null_ids
from .token_pairs import TokenisedPairs
from .unit_reading import GRID

PAIRS = 200
"""Pairs that `additivity` looks at."""
MOVING = 0.25
"""The moving region of a field: where it is longer than this share of its longest vector."""
STILL = 1e-3
"""A field whose longest vector is below this, in px, moves nothing."""
FAINT = 0.25
"""A field is faint when its longest vector is below this share of the median token's."""


@dataclass(frozen=True)
class TokenFields:
    """Mean motion of every token (P positions, K codes).

    Attributes:
        motion: (P, K, 2, GRID, GRID) float32 px of 128; 0 for the null code and where there is no example.
        consistency: (P, K) in [-1, 1], mean cosine of the field on one face with the mean field of the
            others, in the moving region; NaN with fewer than two examples, or where nothing moves.
        other_faces: (P, K) cosine between the mean fields of two halves of the faces: how far fields can be
            told at all; NaN likewise.
        examples: (P, K) int, faces that the mean was taken over.
    """

    motion: np.ndarray
    consistency: np.ndarray
    other_faces: np.ndarray
    examples: np.ndarray

    @classmethod
    def empty(cls, positions: int, codes: int) -> TokenFields:
        """Fields of no example."""
        unknown = (np.full((positions, codes), np.nan, np.float32) for _ in range(2))
        motion = np.zeros((positions, codes, 2, GRID, GRID), np.float32)
        return cls(motion, *unknown, np.zeros((positions, codes), np.int64))

    def put(self, position: int, code: int, fields: np.ndarray) -> None:
        """Fill in a token from its fields (n, 2, GRID, GRID) on n faces."""
        self.motion[position, code] = fields.mean(axis=0)
        self.examples[position, code] = len(fields)
        self.consistency[position, code] = consistency(fields)
        if len(fields) > 1:
            halves = fields[::2].mean(axis=0), fields[1::2].mean(axis=0)
            self.other_faces[position, code] = _cosine(*(half.ravel() for half in halves))

    @property
    def length(self) -> np.ndarray:
        """(P, K, GRID, GRID) px, how far skin goes."""
        return np.linalg.norm(self.motion, axis=2)

    @property
    def peak(self) -> np.ndarray:
        """(P, K) px, the longest vector."""
        return self.length.max(axis=(2, 3))

    def faint(self, least: int = 1) -> float:
        """Length in px below which a field is faint, judged by tokens with so many examples."""
        peaks = self.peak[(self.examples >= least) & (self.peak > STILL)]
        return max(STILL, FAINT * float(np.median(peaks))) if len(peaks) else STILL


def consistency(fields: np.ndarray) -> float:
    """Mean cosine of each field (n, 2, h, w) with the mean of the others, in the moving region.

    Returns:
        A number in [-1, 1]; NaN for fewer than two fields, or when nothing moves.
    """
    if len(fields) < 2:
        return float("nan")
    total = fields.sum(axis=0)
    length = np.linalg.norm(total, axis=0)
    if length.max() < STILL * len(fields):
        return float("nan")
    moving = length >= MOVING * length.max()
    cosines = [_cosine(f[:, moving].ravel(), (total - f)[:, moving].ravel()) for f in fields]
    return float(np.mean(cosines))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else float("nan")


@torch.no_grad()
def fields_alone(tokenizer: DFaceTokenizerModel, faces: torch.Tensor) -> TokenFields:
    """Each token decoded by itself, all others null, on every face.

    Args:
        tokenizer: In evaluation mode; P positions and K codes.
        faces: (n, 3, S, S) RGB in [0, 1], aligned crops of the tokenizer's size.
    """
    reader, null = MotionReader(tokenizer), tokenizer.null_action_ids()
    rest = null_ids(tokenizer, faces.to(tokenizer.device))
    still = reader.draw(faces, rest)
    found = TokenFields.empty(len(null), tokenizer.config.codebook_size)
    tokens = [(p, c) for p in range(len(null)) for c in range(found.motion.shape[1]) if c != null[p]]
    for position, code in tqdm(tokens, desc="decoding tokens alone", unit="token", leave=False):
        ids = rest.clone()
        ids[:, position] = code
        acting = reader.draw(faces, ids)
        found.put(position, code, reader.between(still, acting))
    return found


@torch.no_grad()
def fields_in_company(
    tokenizer: DFaceTokenizerModel, pairs: TokenisedPairs, most: int = 20, seed: int = 0
) -> TokenFields:
    """What each token adds to the other tokens of pairs in which it occurs.

    Args:
        tokenizer: In evaluation mode; P positions and K codes.
        pairs: Pairs that keep their onset frames.
        most: Examples of each token at most, drawn at random.
        seed: Draws them.
    """
    reader, null = MotionReader(tokenizer), tokenizer.null_action_ids().cpu()
    found = TokenFields.empty(len(null), tokenizer.config.codebook_size)
    rows = _examples(pairs.ids[: len(pairs.onset)], null.numpy(), found.motion.shape[1], most, seed)
    for (position, code), chosen in tqdm(rows, desc="decoding tokens in company", unit="token", leave=False):
        ids, onsets = torch.from_numpy(pairs.ids[chosen]), pairs.frames(chosen)
        without = ids.clone()
        without[:, position] = null_ids(tokenizer, onsets.to(tokenizer.device)).cpu()[:, position]
        drawn = (reader.draw(onsets, some) for some in (without, ids))
        found.put(position, code, reader.between(*drawn))
    return found


def _examples(
    ids: np.ndarray, null: np.ndarray, codes: int, most: int, seed: int
) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Pairs to look at for every token that occurs."""
    generator, rows = np.random.default_rng(seed), []
    for position in range(ids.shape[1]):
        for code in range(codes):
            where = np.flatnonzero(ids[:, position] == code)
            if code != null[position] and len(where):
                rows.append(((position, code), generator.permutation(where)[:most]))
    return rows


@torch.no_grad()
def additivity(tokenizer: DFaceTokenizerModel, pairs: TokenisedPairs, alone: TokenFields) -> dict[str, float]:
    """How far the decoded motion of whole pairs is the sum of its tokens' fields alone.

    Returns:
        `cosine` (mean over pairs), `gain` (what the sums are to be multiplied by, least squares over all
        pairs) and `r2` (explained with that gain).
    """
    reader = MotionReader(tokenizer)
    rows = np.arange(min(len(pairs.onset), PAIRS))
    ids, onsets = torch.from_numpy(pairs.ids[rows]), pairs.frames(rows)
    rest = null_ids(tokenizer, onsets.to(tokenizer.device))
    drawn = (reader.draw(onsets, some) for some in (rest, ids))
    whole = reader.between(*drawn).reshape(len(rows), -1)
    parts = alone.motion[np.arange(ids.shape[1]), pairs.ids[rows]].sum(axis=1).reshape(len(rows), -1)
    power = float((parts * parts).sum())
    gain = float((whole * parts).sum()) / power if power else 0.0
    rest = float(((whole - gain * parts) ** 2).sum() / max(float((whole * whole).sum()), 1e-12))
    cosines = [_cosine(*pair) for pair in zip(whole, parts, strict=True)]
    known = [value for value in cosines if np.isfinite(value)]
    return {"cosine": float(np.mean(known)) if known else 0.0, "gain": gain, "r2": 1 - rest}

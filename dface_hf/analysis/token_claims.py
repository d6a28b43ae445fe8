"""Two questions about tokens, answered from measured fields and from pairs whose action is known.

1. Does a code mean different things at different positions?
2. Do tokens control both the upper and the lower face?

Each answer is a sentence chosen by the numbers it quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .face_regions import region_shares
from .style import token_grid_side
from .token_fields import STILL, TokenFields
from .unit_reading import GRID

UPPER_UNITS = (1, 2, 4, 5, 6, 7)
"""FACS upper-face units among those of the pairs: brows, lids and cheek raiser."""
BOTH = 0.2
"""A token moves both halves when each has at least this share of its energy."""


def shifted(fields: np.ndarray, down: int, right: int) -> np.ndarray:
    """Fields (..., h, w) moved by whole pixels; what comes in at the border is 0."""
    height, width = fields.shape[-2:]
    out = np.zeros_like(fields)
    rows, columns = (slice(max(0, k), size + min(0, k)) for k, size in ((down, height), (right, width)))
    from_rows, from_columns = (
        slice(max(0, -k), size + min(0, -k)) for k, size in ((down, height), (right, width))
    )
    out[..., rows, columns] = fields[..., from_rows, from_columns]
    return out


def code_similarity(fields: TokenFields, least: int = 1) -> dict[str, float | int | None]:
    """How alike the fields of tokens are, by what the tokens share: mean cosines over pairs of tokens.

    Args:
        fields: Mean fields of P positions and K codes.
        least: Tokens with fewer examples are left out, and those whose field is faint.

    Returns:
        `same_code` (one code at two positions), `same_code_moved` (the same, the field of one moved into the
        cell of the other, both cut to what overlaps), `other_code_moved` (two codes at two positions,
        likewise), `same_position` (two codes at one position), `nothing_shared` (two codes, two positions),
        `other_faces` (one token, two halves of the faces: as alike as fields can be here) and the number of
        `tokens`. None where there is no such pair.
    """
    moves = (fields.examples >= least) & (fields.peak > fields.faint(least))
    positions, codes = np.nonzero(moves)
    flat = _unit(fields.motion[moves])
    plain = flat @ flat.T
    moved = _moved_cosines(fields.motion[moves], positions, len(moves))
    upper = np.triu(np.ones_like(plain, bool), 1)
    code, place = (np.equal.outer(x, x) for x in (codes, positions))
    every = ~np.eye(len(plain), dtype=bool)
    twins = fields.other_faces[moves]
    return {
        "same_code": _mean(plain[upper & code & ~place]),
        "same_code_moved": _mean(moved[every & code & ~place]),
        "other_code_moved": _mean(moved[every & ~code & ~place]),
        "same_position": _mean(plain[upper & ~code & place]),
        "nothing_shared": _mean(plain[upper & ~code & ~place]),
        "other_faces": _mean(twins[np.isfinite(twins)]),
        "tokens": int(moves.sum()),
    }


def _moved_cosines(motion: np.ndarray, positions: np.ndarray, count: int) -> np.ndarray:
    """(n, n) cosine of field i, moved into the cell of field j, with field j where the two overlap."""
    side = token_grid_side(count)
    cell, cosines = GRID // side, np.zeros((len(motion), len(motion)), np.float32)
    whole = np.ones((1, 1, GRID, GRID), np.float32)
    for start in range(count):
        for end in range(count):
            first, second = positions == start, positions == end
            step = cell * (end // side - start // side), cell * (end % side - start % side)
            seen = shifted(whole, *step)
            moved = _unit(shifted(motion[first], *step))
            cosines[np.ix_(first, second)] = moved @ _unit(motion[second] * seen).T
    return cosines


def _unit(fields: np.ndarray) -> np.ndarray:
    flat = fields.reshape(len(fields), 2 * GRID * GRID)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def energy_shares(fields: TokenFields) -> dict[str, np.ndarray]:
    """Where each token moves: shares of the energy (squared length) of its field.

    Returns:
        (P, K) each, NaN where nothing moves: `upper` (the crop's upper half, down to the root of the nose),
        `own_cell` (its cell of the token grid) and `around` (its cell and the up to eight next to it); and
        `regions` (P, K, regions), of `FACE_REGIONS`.
    """
    power = fields.length**2
    still = fields.peak <= STILL
    total = np.where(still, np.nan, power.sum(axis=(2, 3)))
    return {
        "upper": power[:, :, : GRID // 2].sum(axis=(2, 3)) / total,
        "own_cell": np.stack([power[p][:, cell].sum(-1) for p, cell in _cells(len(power), 0)]) / total,
        "around": np.stack([power[p][:, cell].sum(-1) for p, cell in _cells(len(power), 1)]) / total,
        "regions": np.where(still[..., None], np.nan, region_shares(fields.motion)),
    }


def _cells(count: int, margin: int) -> list[tuple[int, np.ndarray]]:
    """Each position and the mask (GRID, GRID) of its cell, grown by so many cells."""
    side = token_grid_side(count)
    cell = np.arange(GRID) * side // GRID
    row, column = np.meshgrid(cell, cell, indexing="ij")
    inside = (np.maximum(abs(row - p // side), abs(column - p % side)) <= margin for p in range(count))
    return list(enumerate(inside))


def locality(fields: TokenFields, counts: np.ndarray, least: int = 1) -> dict[str, Any]:
    """How local tokens act, and whether one moves both halves of the face; tokens weighted by their use.

    Args:
        fields: Mean fields.
        counts: (P, K) how often each token occurs.
        least: Tokens with fewer examples are left out.

    Returns:
        Weighted mean shares `own_cell`, `around`, `upper_of_upper` (share of the upper half in the motion of
        tokens of the grid's upper rows) and `upper_of_lower`; `moves_both` (weighted share of tokens that
        have at least `BOTH` of their energy in either half) and `both_beside_middle` (how many of those stand
        in rows next to the middle); `own_cell_area` and `around_area`, the shares that motion spread evenly
        would have; `faint`, the weighted share of tokens with a faint field, which count nowhere else; and
        lists (P,) `by_position` of the first two and `upper`.
    """
    shares, side = energy_shares(fields), token_grid_side(len(counts))
    judged, faint = fields.examples >= least, fields.peak <= fields.faint(least)
    weight = np.where(judged & ~faint, counts, 0).astype(float)
    row = np.arange(side * side) // side
    beside, up = abs(row - (side - 1) / 2) < 1, row < side / 2
    both = (np.minimum(shares["upper"], 1 - shares["upper"]) >= BOTH).astype(float)
    middle = np.broadcast_to(beside[:, None], both.shape).astype(float)
    by_position = {
        name: [_weighted(*one) for one in zip(shares[name], weight, strict=True)]
        for name in ("own_cell", "around", "upper")
    }
    return {
        "own_cell": _weighted(shares["own_cell"], weight),
        "own_cell_area": float(np.mean([mask.mean() for _, mask in _cells(len(counts), 0)])),
        "around": _weighted(shares["around"], weight),
        "around_area": float(np.mean([mask.mean() for _, mask in _cells(len(counts), 1)])),
        "upper_of_upper": _weighted(shares["upper"][up], weight[up]),
        "upper_of_lower": _weighted(shares["upper"][~up], weight[~up]),
        "moves_both": _weighted(both, weight),
        "both_beside_middle": _weighted(middle, weight * both),
        "faint": _weighted(faint.astype(float), np.where(judged, counts, 0)),
        "by_position": by_position,
    }


def _weighted(values: np.ndarray, weight: np.ndarray) -> float | None:
    total = weight.sum()
    return float(np.where(weight > 0, values * weight, 0).sum() / total) if total else None


def unit_halves(by_position: np.ndarray, names: Sequence[int]) -> dict[str, float | None]:
    """Where in the grid upper-face and lower-face units are told.

    Args:
        by_position: (P, U) bits, from `unit_information`.
        names: FACS number of each column.

    Returns:
        Share of the bits about upper-face units that tokens of the grid's upper rows carry, and of those
        about lower-face units that its lower rows carry.
    """
    side, bits = token_grid_side(len(by_position)), np.maximum(by_position, 0)
    rows = np.arange(side * side) // side < side / 2
    upper = np.isin(names, UPPER_UNITS)
    parts = (
        (bits[rows][:, upper].sum(), bits[:, upper].sum()),
        (bits[~rows][:, ~upper].sum(), bits[:, ~upper].sum()),
    )
    shares = [float(part / whole) if whole > 0 else None for part, whole in parts]
    return {"upper_units_in_upper_rows": shares[0], "lower_units_in_lower_rows": shares[1]}


def verdict_positions(similar: dict, placed: float, unplaced: float, probes: dict[str, float]) -> list[str]:
    """Sentences that answer the first question.

    Args:
        similar: `code_similarity`, of tokens in company where there are such.
        placed: Mean bits of a token of known position about a unit.
        unplaced: The same of the code alone.
        probes: `probe_views`.

    "Yes" needs both measures: half of the bits lost without the position, and .05 of the probe's F1.
    """
    moved, chance = similar["same_code_moved"], similar["other_code_moved"]
    if moved is None or chance is None or placed <= 0:
        return ["Too few tokens move or occur to say whether a code means different things by position."]
    most = similar["other_faces"] if similar["other_faces"] is not None else 1.0
    alike = (moved - chance) / max(most - chance, 1e-9)
    word = _graded(
        alike, (0.75, "the same"), (0.4, "similar"), (0.15, "partly similar"), (-np.inf, "another")
    )
    kept, loss = max(unplaced, 0) / placed, probes["tokens"] - probes["bag"]
    needed = min(1 - kept, 10 * loss) if loss > 0 else 0.0
    answer = _graded(
        needed,
        (0.5, "Yes: it takes the position"),
        (0.2, "In part: the position helps"),
        (-np.inf, "No: it hardly takes the position"),
    )
    return [
        f"{answer} to know what a code says about action units. The code alone tells {kept:.0%} of what a "
        f"placed token tells about a unit, and a linear probe reads units with a mean F1 of "
        f"{probes['bag']:.2f} from the bag of codes, {probes['tokens']:.2f} from tokens "
        f"({probes['places']:.2f} from where anything moves, {probes['all_ones']:.2f} from nothing).",
        f"The gesture is {word}: moved into the other cell, the fields of one code at two positions "
        f"have a cosine of {moved:.2f}, those of two codes {chance:.2f}, those of one token on other faces "
        f"{most:.2f}.",
    ]


def _graded(value: float, *steps: tuple[float, str]) -> str:
    """The word of the first step that a value reaches."""
    return next(word for least, word in steps if value >= least)


def verdict_halves(local: dict, units: dict) -> list[str]:
    """Sentences that answer the second question, from `locality` and `unit_halves`."""
    if local["moves_both"] is None:
        return ["No token moves anything, so none controls either half of the face."]
    both, around, beside = local["moves_both"], local["around"], local["both_beside_middle"]
    told = f"; {beside:.0%} of these stand next to the middle" if beside is not None else ""
    answer = _graded(both, (0.7, "Yes"), (0.3, "Many do"), (0.1, "A few do"), (-np.inf, "No"))
    sentences = [
        f"{answer}: {both:.0%} of the tokens in use move both halves ({BOTH:.0%} of the motion energy or "
        f"more in each{told}). {around:.0%} of the energy stays in a token's own cell and those next to it "
        f"({local['around_area']:.0%} of the area), {local['own_cell']:.0%} in the cell itself "
        f"({local['own_cell_area']:.0%})."
    ]
    shares = units["upper_units_in_upper_rows"], units["lower_units_in_lower_rows"]
    if None not in shares:
        sentences.append(
            f"Together they control both: {shares[0]:.0%} of what tokens tell about upper-face units stands "
            f"in the grid's upper rows, {shares[1]:.0%} about lower-face units in its lower rows."
        )
    return sentences

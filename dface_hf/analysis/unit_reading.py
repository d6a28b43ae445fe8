"""Action units read from a motion field of the aligned crop: the same fields that synthesis adds up, taken
apart again.

A motion is explained as a sum of the fields of `dface_hf.synthesis.fields`, left and right separately, none
of them negative (least squares, Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23), plus
any similarity, which is what stabilisation leaves of the head's motion. It reads where skin goes, not its
texture, and nothing is trained. Sides are the PERSON's, as in FACS: the person's left is the right half of
the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from dface_hf.synthesis import load_fields
from dface_hf.synthesis.nuisances import REFERENCE_SIZE

READ_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 25, 26)
"""Units whose fields can be told apart. AU16 is most of AU25, AU27 is AU26 further on, and AU18, 22, 23, 24
and 28 are told from each other by the relief of the lips rather than by where they go."""

SIDES = ("left", "right")
"""Order of the last axis of amplitudes: the person's."""

FLOOR = 0.1
"""Amplitude that a reading of noise-free motion, such as decoded tokens, has to reach, px of a 128 crop."""

FLOW_FLOOR = 0.4
"""The same for optical flow (DIS) of a stabilised pair: 19 of 20 noisy pairs of a still face stay below."""

CLEAR = 0.3
"""Share of a measured motion that action units have to explain. 97 % of noisy synthetic pairs of 0.5 to 2 px
do; real faces that turn or are covered reached .15 to .26, smiles .75 to .82, speech .3."""

SHARE = 0.4
"""Amplitude that a reading has to reach, of the strongest in the same face. Least squares spreads what no
field explains over many; on unseen faces mean F1 is best between .36 and .45, for true, measured and decoded
motion, micro and macro."""

OVAL = (0.0, -0.02, 0.87, 1.08)
"""Centre and half-axes of what is read, [-1, 1]: the face with some room. Hair and background move on their
own; a tighter oval cannot tell the jaw's motion from the head's."""

GRID = 32


def read_units(flow: ArrayLike, units: Sequence[int] = READ_UNITS) -> NDArray[np.float64]:
    """How strongly each action unit takes part in a motion.

    Args:
        flow: (..., H, W, 2) forward motion (dx, dy), y down, of the skin seen at each pixel of the aligned
            crop, in px of this crop; H = W, 32 or more. Optical flow from onset to apex (method "dis"), or
            the decoder's flow, which is backward: give it negated (at these lengths the two differ little),
            less that of the null tokens.
        units: FACS numbers that may explain it, among those that have a field. Each needs to differ from the
            others: see `READ_UNITS`.

    Returns:
        (..., units, 2) amplitudes of the person's left and right side, 0 or more: the largest motion of a
        point of skin by this unit alone, in px of a 128 px crop. Units without sides have twice the same.

    Raises:
        ValueError: The flow is not (..., H, H, 2), not finite, or a unit has no field.
    """
    flow = _checked(flow)
    weights = _weights(flow, tuple(units))[0]
    return weights[:, _columns(tuple(units))[2]].reshape(*flow.shape[:-3], len(units), 2)


def explained_share(flow: ArrayLike, units: Sequence[int] = READ_UNITS) -> NDArray[np.float64]:
    """How much of a motion, the head's part taken out, is action units: (...) in [0, 1].

    Args:
        flow: (..., H, W, 2) as for `read_units`.
        units: FACS numbers that may explain it.

    Raises:
        ValueError: As `read_units`.
    """
    flow = _checked(flow)
    weights, motion = _weights(flow, tuple(units))
    rest = motion - weights @ _columns(tuple(units))[0].T
    power = np.maximum((motion**2).sum(axis=1), 1e-12)
    return np.clip(1 - (rest**2).sum(axis=1) / power, 0, 1).reshape(flow.shape[:-3])


def _checked(flow: ArrayLike) -> NDArray[np.float32]:
    flow = np.asarray(flow, np.float32)
    if flow.ndim < 3 or flow.shape[-1] != 2 or flow.shape[-2] != flow.shape[-3] or flow.shape[-2] < GRID:
        raise ValueError(f"flow has the shape {flow.shape}; expected (..., H, H, 2) with H at least {GRID}")
    if not np.isfinite(flow).all():
        raise ValueError("the flow holds NaN or infinite values; leave such frames out")
    return flow


def _weights(flow: NDArray[np.float32], units: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    """Amplitude (n, K) of each field in flow (..., H, H, 2), and the weighted motion (n, 2 * GRID**2)."""
    fields, factor, _ = _columns(units)
    motion = _apart_from_head(_on_grid(flow.reshape(-1, *flow.shape[-3:])).T).T
    motion = motion * (REFERENCE_SIZE / flow.shape[-2])
    # Solved by the triangular factor of the normal equations: 30 rows instead of 2048.
    targets = np.linalg.solve(factor.T, (motion @ fields).T).T
    weights = np.array([nnls(factor, target)[0] for target in targets])
    return weights.reshape(len(motion), len(factor)), motion


def active_sides(amplitudes: ArrayLike, floor: float = FLOOR, share: float = SHARE) -> NDArray[np.bool_]:
    """Which readings stand out of the noise: (..., units, 2) for amplitudes (..., units, 2).

    Args:
        amplitudes: What `read_units` returns.
        floor: Smallest amplitude, px of a 128 px crop.
        share: Smallest amplitude relative to the strongest of the same face.
    """
    amplitudes = np.asarray(amplitudes, float)
    return amplitudes >= np.maximum(floor, share * amplitudes.max(axis=(-2, -1), keepdims=True))


def name_amplitudes(
    amplitudes: ArrayLike, units: Sequence[int] = READ_UNITS, floor: float = FLOOR, digits: int = 3
) -> dict[str, dict[str, float]]:
    """The active units of one face in plain numbers, the strongest first.

    Args:
        amplitudes: (units, 2) of `read_units`.
        units: FACS numbers of the rows.
        floor: Smallest amplitude that counts, px of a 128 px crop.
        digits: What numbers are rounded to.

    Returns:
        ``{"AU12": {"left": px, "right": px}, ...}``; both sides of a unit of which one is active.
    """
    amplitudes = np.asarray(amplitudes, float)
    kept = np.flatnonzero(active_sides(amplitudes, floor).any(axis=-1))
    order = sorted(kept, key=lambda row: -amplitudes[row].max())
    return {
        f"AU{units[row]}": {
            side: round(float(value), digits) for side, value in zip(SIDES, amplitudes[row], strict=True)
        }
        for row in order
    }


def motion_agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Cosine of two motions (2, GRID, GRID) over the face, the head's part taken out; 0 where one rests."""
    motions = np.stack([np.asarray(motion, float).ravel() for motion in (first, second)], axis=1)
    one, other = _apart_from_head(motions).T
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return round(float(one @ other) / size, 3) if size > 1e-9 else 0.0


@lru_cache(maxsize=8)
def _columns(units: tuple[int, ...]) -> tuple[NDArray, NDArray, NDArray]:
    """Weighted fields of 1 px as columns (2 * GRID**2, K), the triangular factor (K, K) of their Gram matrix,
    and where each unit's left and right field is among them (units, 2)."""
    fields = load_fields(GRID)
    if missing := sorted(set(units) - set(fields.units)):
        raise ValueError(f"no motion field for action unit {missing[0]}; known: {sorted(set(fields.units))}")
    rows = [k for k, unit in enumerate(fields.units) if unit in units]
    places = {(fields.units[k], fields.sides[k]): number for number, k in enumerate(rows)}
    columns = fields.displacement[rows].flatten(1).double() * (REFERENCE_SIZE / 2)
    columns = _apart_from_head((columns / fields.peak[rows, None]).T.numpy())
    gram = columns.T @ columns
    ridge = 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
    place = [[places.get((unit, side), places.get((unit, "both"))) for side in SIDES] for unit in units]
    return columns, np.linalg.cholesky(gram + ridge).T, np.array(place)


def _apart_from_head(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns (2 * GRID**2, n) weighted by the face, less the similarity that is in them."""
    weights, head = _face()
    weighted = columns * weights[:, None]
    return weighted - head @ (head.T @ weighted)


@lru_cache(maxsize=1)
def _face() -> tuple[NDArray, NDArray]:
    """Root of each component's weight (2 * GRID**2,), soft at the border, and an orthonormal basis
    (2 * GRID**2, 4) of all weighted similarities."""
    axis = (np.arange(GRID) + 0.5) * 2 / GRID - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot((x - OVAL[0]) / OVAL[2], (y - OVAL[1]) / OVAL[3])
    weights = np.tile(np.sqrt(1 / (1 + np.exp((radius - 1) / 0.035))).ravel(), 2)
    one, zero = np.ones_like(x), np.zeros_like(x)
    moves = [np.stack(move).ravel() for move in ((one, zero), (zero, one), (x, y), (-y, x))]
    return weights, np.linalg.qr(np.stack(moves, axis=1) * weights[:, None])[0]


def _on_grid(flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Flow (n, H, H, 2) averaged over the cells of the grid: (n, 2 * GRID**2), channels first."""
    small = [cv2.resize(one, (GRID, GRID), interpolation=cv2.INTER_AREA) for one in flow]
    return np.array(small, float).reshape(len(flow), -1, 2).transpose(0, 2, 1).reshape(len(flow), -1)

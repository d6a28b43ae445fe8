"""Why an event got its label: what the face does in FACS words, the tokens that matter, what they move.

The action units are read from the optical flow of the pair (`unit_reading`), not from tokens. A token matters
by deletion: how much the label's log-odds (its score against all others) fall when this token alone becomes
the null token; attention weights are not used, for they are nearly even. What a token moves is decoded: the
motion of all tokens minus the motion without it. Where `agreement` is low, the tokens say something else than
the face does, and so may the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dface_hf.actions import get_action_unit
from dface_hf.faces import optical_flow
from dface_hf.models import DFaceForVideoClassification, DFaceTokenizerModel
from dface_hf.synthesis.nuisances import REFERENCE_SIZE

from .decoded_motion import MotionReader, null_ids
from .face_regions import main_region
from .unit_reading import (
    CLEAR,
    FLOW_FLOOR,
    GRID,
    SIDES,
    explained_share,
    motion_agreement,
    name_amplitudes,
    read_units,
)

NO_UNIT = "no clear action unit"
BATCH = 512
"""Rows of tokens that go through the classifier at once."""
PX = GRID / REFERENCE_SIZE
"""Pixels of the grid in a pixel of a 128 px crop."""
ONE_SIDE = 0.3
"""A unit counts as one-sided when the weaker side has less than this share of the stronger."""
UNEVEN = 0.6
"""A side counts as stronger when the other has less than this share of it."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Of one event.

    Attributes:
        tokens: Those that are not null, the weightiest first: `position` (raster order), `code`, `weight`
            (fall of the label's log-odds without it, nats; negative where it speaks for another label),
            `region` (of `FACE_REGIONS`, where it moves most; None where it moves nothing, or unknown).
        action_units: Active units, the strongest first: ``{"AU12": {"left": px, "right": px}}``, largest
            motion in px of a 128 px crop, of the person's sides.
        sentence: The units in words.
        agreement: Cosine, over the face, of the motion that the tokens decode to with the optical flow; None
            when the decoder tells no motion.
        motion: (2, GRID, GRID) forward motion (dx, dy) that the tokens decode to, px of a 128 px crop (tokens
            keep a motion's pattern better than its length); None likewise.
        saliency: (GRID, GRID) in [0, 1], where the tokens that speak for the label move; None likewise.
    """

    tokens: list[dict[str, Any]]
    action_units: dict[str, dict[str, float]]
    sentence: str
    agreement: float | None = None
    motion: NDArray[np.float32] | None = None
    saliency: NDArray[np.float32] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """What goes into JSON: tokens, action_units, sentence and agreement."""
        names = ("tokens", "action_units", "sentence", "agreement")
        return {name: getattr(self, name) for name in names}


@torch.no_grad()
def explain(
    model: DFaceForVideoClassification,
    onsets: torch.Tensor,
    action_ids: torch.Tensor,
    labels: torch.Tensor,
    flows: NDArray[np.float32],
) -> list[Explanation]:
    """Explain the labels of events.

    Args:
        model: In evaluation mode, on the device of the tensors.
        onsets: (events, 3, S, S) aligned onset crops, RGB in [0, 1], as the model takes them.
        action_ids: (events, P) their tokens.
        labels: (events,) int64 classes to explain.
        flows: (events, 2, GRID, GRID) `measured_motion` of the pairs.

    Returns:
        One explanation an event. Where the decoder has no flow (``decoder_head="pixels"``), what tokens move
        is not known; their weights and the units are.
    """
    null = null_ids(model.dface.tokenizer, onsets)
    weights = token_weights(model, action_ids, labels, null).cpu().numpy()
    moving, codes = (action_ids != null).cpu().numpy(), action_ids.tolist()
    units = _detected_units(np.moveaxis(flows, 1, -1) * PX)
    sentences = [facs_sentence(one) for one in units]
    if model.config.tokenizer_config.decoder_head == "pixels":
        tokens = (_tokens(*row, None) for row in zip(codes, weights, moving, strict=True))
        return [Explanation(*row) for row in zip(tokens, units, sentences, strict=True)]
    whole, parts = token_motions(model.dface.tokenizer, onsets, action_ids, null)
    tokens = [_tokens(*row) for row in zip(codes, weights, moving, parts, strict=True)]
    agreements = [motion_agreement(*pair) for pair in zip(whole, flows, strict=True)]
    pictures = [saliency_of(*row) for row in zip(weights, parts, strict=True)]
    rows = zip(tokens, units, sentences, agreements, whole, pictures, strict=True)
    return [Explanation(*row) for row in rows]


def _detected_units(flows: NDArray) -> list[dict[str, dict[str, float]]]:
    """Active units of optical flows (n, GRID, GRID, 2); none where action units do not explain the motion."""
    clear = explained_share(flows) >= CLEAR
    rows = zip(read_units(flows), clear, strict=True)
    return [name_amplitudes(one, floor=FLOW_FLOOR) if known else {} for one, known in rows]


def measured_motion(pairs: Iterable[tuple[NDArray, NDArray]]) -> NDArray[np.float32]:
    """Optical flow (n, 2, GRID, GRID) of aligned pairs, px of a 128 px crop.

    Args:
        pairs: Onset and apex, each (S, S, 3) RGB, uint8, of S = 128 or so: smaller ones show too little.
    """
    flows = [np.zeros((0, GRID, GRID, 2), np.float32)]
    for onset, apex in pairs:
        flow = cv2.resize(optical_flow(onset, apex, "dis"), (GRID, GRID), interpolation=cv2.INTER_AREA)
        flows.append(flow[None] * (REFERENCE_SIZE / len(onset)))
    return np.moveaxis(np.concatenate(flows), -1, 1)


@torch.no_grad()
def token_weights(
    model: DFaceForVideoClassification, action_ids: torch.Tensor, labels: torch.Tensor, null: torch.Tensor
) -> torch.Tensor:
    """How much each token counts for a label: the fall of the label's log-odds when it alone becomes null.

    Args:
        model: In evaluation mode.
        action_ids: (n, P) tokens.
        labels: (n,) classes.
        null: (n, P) tokens at rest.

    Returns:
        (n, P) float32 in nats, 0 for tokens at rest.
    """
    count = action_ids.shape[1]
    without = action_ids[:, None].repeat(1, count + 1, 1)  # the last row keeps all tokens
    each = torch.arange(count, device=action_ids.device)
    without[:, each, each] = null
    scores = label_scores(model, without.flatten(0, 1), labels.repeat_interleave(count + 1))
    scores = scores.unflatten(0, (-1, count + 1))
    return scores[:, -1:] - scores[:, :-1]


@torch.no_grad()
def label_scores(
    model: DFaceForVideoClassification, action_ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Log-odds (n,) that tokens (n, P) give the labels (n,): unlike the score itself, they tell how far a
    label is ahead of the others even where its score is nearly 1."""
    logits = torch.cat([model(action_ids=part).logits.float() for part in action_ids.split(BATCH)])
    own = F.one_hot(labels, logits.shape[-1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=-1)


@torch.no_grad()
def token_motions(
    tokenizer: DFaceTokenizerModel, onsets: torch.Tensor, action_ids: torch.Tensor, null: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What tokens move on their face, together and each: decoded with all, minus decoded without it.

    Args:
        tokenizer: With a warp head.
        onsets: (n, 3, S, S) RGB in [0, 1].
        action_ids, null: (n, P) tokens, and those at rest.

    Returns:
        (n, 2, GRID, GRID) of all tokens, beyond what those at rest draw, and (n, P, 2, GRID, GRID) of each:
        as `decoded_motion` tells it.
    """
    n, count = action_ids.shape
    event, position = torch.nonzero(action_ids != null, as_tuple=True)
    without = action_ids[event]
    without[torch.arange(len(event), device=event.device), position] = null[event, position]
    ids = torch.cat([action_ids, null, without])
    faces = torch.cat([torch.arange(n, device=event.device).repeat(2), event])
    reader = MotionReader(tokenizer)
    whole, rest, fewer = np.split(reader.draw(onsets, ids, faces), (n, 2 * n))
    event, position = event.cpu().numpy(), position.cpu().numpy()
    parts = np.zeros((n, count, 2, GRID, GRID), np.float32)
    parts[event, position] = reader.between(fewer, whole[event])
    return reader.between(rest, whole), parts


def saliency_of(weights: NDArray, parts: NDArray) -> NDArray[np.float32]:
    """Where tokens move that speak for the label: (GRID, GRID) in [0, 1].

    Args:
        weights: (P,) of the tokens; those that speak against the label do not count.
        parts: (P, 2, GRID, GRID) motion of each.
    """
    total = np.einsum("p,pyx->yx", np.maximum(weights, 0), np.linalg.norm(parts, axis=1))
    return (total / max(float(total.max()), 1e-12)).astype(np.float32)


def facs_sentence(units: Mapping[str, Mapping[str, float]]) -> str:
    """Action units in the words of FACS: "inner brow raiser and lip corner puller, left stronger".

    Args:
        units: Amplitudes of the person's left and right side, in the order in which they are to be told.

    Returns:
        A phrase without a full stop; `NO_UNIT` for none. A remark on sides that holds for all units stands at
        the end, others stand behind their unit in brackets.
    """
    if not units:
        return NO_UNIT
    names = [get_action_unit(int(unit.removeprefix("AU"))).name for unit in units]
    sides = [_side(amplitudes) for amplitudes in units.values()]
    if len(set(sides)) == 1:
        return _listed(names) + (f", {sides[0]}" if sides[0] else "")
    return _listed([f"{name} ({side})" if side else name for name, side in zip(names, sides, strict=True)])


def _side(amplitudes: Mapping[str, float]) -> str:
    strong, weak = sorted(SIDES, key=lambda side: -amplitudes[side])
    share = amplitudes[weak] / max(amplitudes[strong], 1e-12)
    return f"{strong} only" if share < ONE_SIDE else f"{strong} stronger" if share < UNEVEN else ""


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _tokens(
    codes: Sequence[int], weights: NDArray, moving: NDArray, parts: NDArray | None
) -> list[dict[str, Any]]:
    order = sorted(np.flatnonzero(moving).tolist(), key=lambda position: -weights[position])
    return [
        {
            "position": position,
            "code": codes[position],
            "weight": round(float(weights[position]), 4),
            "region": None if parts is None else main_region(parts[position]),
        }
        for position in order
    ]


__all__ = [
    "NO_UNIT",
    "Explanation",
    "explain",
    "facs_sentence",
    "label_scores",
    "measured_motion",
    "saliency_of",
    "token_motions",
    "token_weights",
]

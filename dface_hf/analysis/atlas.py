"""The atlas of a tokenizer: for each position and code what it moves, how often it is used, what it means.

Fields are measured in `token_fields`, use and meaning in `token_pairs`, and what follows from both in
`token_claims`; here they are put together and written out.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dface_hf.models import DFaceTokenizerModel
from dface_hf.synthesis.nuisances import REFERENCE_SIZE

from .atlas_page import render_page
from .atlas_plots import plot_poster
from .face_regions import FACE_REGIONS
from .layout import save_figure
from .style import token_grid_side
from .token_claims import (
    code_similarity,
    energy_shares,
    locality,
    unit_halves,
    verdict_halves,
    verdict_positions,
)
from .token_fields import TokenFields, additivity, fields_alone, fields_in_company
from .token_pairs import (
    LEAST,
    TokenisedPairs,
    probe_views,
    tokenised_pairs,
    unit_information,
    unit_lift,
    usage,
)
from .tokens import codebook_use
from .unit_reading import GRID, name_amplitudes, read_units

FILES = ("atlas.json", "atlas.npz", "poster.png", "index.html")
LEAST_COMPANY = 5
"""Examples that a field in company needs to count in the answers."""
MAIN_REGION = 0.15
"""A region is named when it has at least this share of a token's motion."""


@dataclass(frozen=True)
class Atlas:
    """What was found.

    Attributes:
        document: All statistics, as they are written to `atlas.json`.
        alone: Fields of tokens by themselves.
        company: Fields of tokens among the others of a pair.
    """

    document: dict[str, Any]
    alone: TokenFields
    company: TokenFields


def build_atlas(
    tokenizer: DFaceTokenizerModel,
    faces: torch.Tensor,
    about: dict[str, Any] | None = None,
    pairs: int = 4000,
    company: int = 20,
    seed: int = 0,
) -> Atlas:
    """Measure an atlas.

    Args:
        tokenizer: In evaluation mode.
        faces: (n, 3, S, S) RGB in [0, 1], aligned crops of the tokenizer's size that it has not seen.
        about: Facts for the head of the document, such as the name of the model and where faces come from.
        pairs: Synthetic pairs for use and meaning.
        company: Examples of each token in company, at most.
        seed: Of pairs and draws.

    Raises:
        ValueError: Faces of another shape, or no pairs.
    """
    if faces.ndim != 4 or len(faces) < 1 or faces.shape[-1] != tokenizer.config.image_size:
        size = tokenizer.config.image_size
        raise ValueError(
            f"faces of shape {tuple(faces.shape)}; expected (n, 3, {size}, {size}), n at least 1"
        )
    if pairs < 1:
        raise ValueError(f"pairs is {pairs}; at least 1 is needed (4000 by default)")
    seen = tokenised_pairs(tokenizer, pairs, seed)
    fields = fields_alone(tokenizer, faces), fields_in_company(tokenizer, seen, company, seed)
    head = dict(about or {}) | {"faces": len(faces), "pairs": len(seen), "seed": seed}
    added = additivity(tokenizer, seen, fields[0])
    return assemble(tokenizer, seen, *fields, head | {"sum_of_tokens": added})


def assemble(
    tokenizer: DFaceTokenizerModel,
    pairs: TokenisedPairs,
    alone: TokenFields,
    company: TokenFields,
    head: dict[str, Any],
) -> Atlas:
    """The document of what was measured."""
    size = tokenizer.config.codebook_size
    null = tokenizer.null_action_ids().tolist()
    counts = usage(pairs.ids, size)
    bits = unit_information(pairs.ids, pairs.units, size)
    head = head | {
        "motion": "optical flow between decoded pictures" if not _warps(tokenizer) else "the decoder's flow",
        "unit_of_length": "px of a 128 px crop",
        "codebook_size": size,
        "null_action_ids": null,
        "least_pairs": LEAST,
        "faint": {"alone": alone.faint(), "in_company": company.faint(LEAST_COMPANY)},
        "use": codebook_use(pairs.ids, size),
    }
    document = head | {
        "questions": _questions(pairs, alone, company, counts, bits, size),
        "units": _units(pairs, bits),
        "positions": _positions(pairs, counts, null, bits["by_position"]),
        "tokens": (tokens := _tokens(pairs, alone, company, counts, null)),
        "units_two_ways": two_ways(tokens),
    }
    return Atlas(_plain(document), alone, company)


def _warps(tokenizer: DFaceTokenizerModel) -> bool:
    return tokenizer.config.decoder_head == "warp"


def _questions(
    pairs: TokenisedPairs,
    alone: TokenFields,
    company: TokenFields,
    counts: np.ndarray,
    bits: dict[str, np.ndarray],
    codebook_size: int,
) -> dict[str, Any]:
    similar = code_similarity(alone), code_similarity(company, LEAST_COMPANY)
    local = locality(alone, counts), locality(company, counts, LEAST_COMPANY)
    shown, acts = (
        two[1] if two[1][key] is not None else two[0]
        for two, key in ((similar, "same_code_moved"), (local, "moves_both"))
    )
    probes, halves = probe_views(pairs, codebook_size), unit_halves(bits["by_position"], pairs.names)
    placed, unplaced = float(bits["placed"].mean()), float(bits["unplaced"].mean())
    return {
        "does_a_code_mean_different_things_at_different_positions": {
            "verdict": verdict_positions(shown, placed, unplaced, probes),
            "cosines_alone": similar[0],
            "cosines_in_company": similar[1],
            "bits_of_a_token": {
                "with_position": placed,
                "without_position": unplaced,
                "to_tell": float(bits["entropy"].mean()),
            },
            "probe_f1": probes,
        },
        "do_tokens_control_upper_and_lower_face": {
            "verdict": verdict_halves(acts, halves),
            "alone": local[0],
            "in_company": local[1],
            "unit_bits": halves,
        },
    }


def _units(pairs: TokenisedPairs, bits: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        f"AU{name}": {
            "pairs": int(pairs.units[:, k].sum()),
            "bits_with_position": bits["placed"][k],
            "bits_without_position": bits["unplaced"][k],
            "bits_to_tell": bits["entropy"][k],
        }
        for k, name in enumerate(pairs.names)
    }


def _positions(
    pairs: TokenisedPairs, counts: np.ndarray, null: list[int], bits: np.ndarray
) -> list[dict[str, Any]]:
    side, rows = token_grid_side(len(counts)), []
    for position, used in enumerate(counts):
        moving = np.delete(used, null[position])
        share = moving[moving > 0] / max(moving.sum(), 1)
        rows.append(
            {
                "position": position,
                "row": position // side,
                "column": position % side,
                "moves": moving.sum() / len(pairs),
                "codes_used": int((moving > 0).sum()),
                "perplexity": float(2 ** -(share * np.log2(share)).sum()) if len(share) else 0.0,
                "bits": {f"AU{name}": bits[position, k] for k, name in enumerate(pairs.names)},
            }
        )
    return rows


def _tokens(
    pairs: TokenisedPairs, alone: TokenFields, company: TokenFields, counts: np.ndarray, null: list[int]
) -> list[dict[str, Any]]:
    """A record of each token but the null ones."""
    shares = energy_shares(alone), energy_shares(company)
    read = read_units(company.motion.transpose(0, 1, 3, 4, 2) * (GRID / REFERENCE_SIZE))
    lift = unit_lift(pairs.ids, pairs.units, counts.shape[1])
    return [
        {
            "position": p,
            "code": c,
            "pairs": int(counts[p, c]),
            "share": counts[p, c] / len(pairs),
            "alone": _field(alone, shares[0], p, c),
            "in_company": _field(company, shares[1], p, c) if company.examples[p, c] else None,
            "reads_as": name_amplitudes(read[p, c]),
            "goes_with": _goes_with(lift, pairs.names, p, c),
        }
        for p, c in np.ndindex(counts.shape)
        if c != null[p]
    ]


def _field(fields: TokenFields, shares: dict[str, np.ndarray], position: int, code: int) -> dict[str, Any]:
    at = position, code
    regions = dict(zip(FACE_REGIONS, shares["regions"][at], strict=True))
    named = sorted((name for name, share in regions.items() if share >= MAIN_REGION), key=regions.get)
    return {
        "examples": fields.examples[at],
        "peak": fields.peak[at],
        "consistency": fields.consistency[at],
        "upper": shares["upper"][at],
        "own_cell": shares["own_cell"][at],
        "around": shares["around"][at],
        "regions": {name: regions[name] for name in reversed(named)},
    }


def _goes_with(
    lift: tuple[np.ndarray, np.ndarray], names: tuple[int, ...], position: int, code: int
) -> dict[str, Any]:
    """Units that are surely likelier with this token, the surest first."""
    raised, low = (values[position, code] for values in lift)
    order = sorted(np.flatnonzero(low > 1), key=lambda k: -low[k])
    return {f"AU{names[k]}": {"lift": raised[k], "at_least": low[k]} for k in order}


def two_ways(tokens: list[dict[str, Any]]) -> dict[str, float | int]:
    """Whether the two ways of saying what a token means agree.

    Args:
        tokens: Records with `reads_as` (units read from what the token adds to a face) and `goes_with` (units
            of the pairs it occurs in).

    Returns:
        How many `tokens` have both; in which share of them the strongest unit read is one that goes with the
        token (`agree`); and the same for what is read from the other tokens (`chance`).
    """
    told = [(next(iter(t["reads_as"])), t["goes_with"]) for t in tokens if t["reads_as"] and t["goes_with"]]
    hits = np.array([[read in goes for read, _ in told] for _, goes in told], float)
    hits = hits.reshape(len(told), len(told))
    others = ~np.eye(len(told), dtype=bool)
    agree, chance = (float(x.mean()) if x.size else 0.0 for x in (np.diag(hits), hits[others]))
    return {"tokens": len(told), "agree": agree, "chance": chance}


def _plain(value: Any) -> Any:
    """Plain Python values for JSON: numbers of four digits, None for what is not known."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def check_folder(folder: str | os.PathLike) -> Path:
    """Refuse a folder that could not be written, before minutes of work are spent on it; make it.

    Raises:
        ValueError: It is a file, or holds other things than an atlas.
        OSError: It cannot be made or written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; give a folder for the atlas")
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES and path.name[0] != ".")
    if others:
        raise ValueError(f"{folder}: the folder holds {others[0]}; give a new folder, or that of an atlas")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder}: the folder cannot be written; choose another")
    return folder


def write_atlas(folder: str | os.PathLike, atlas: Atlas) -> Path:
    """Write `atlas.json`, `atlas.npz` (the mean fields), `poster.png` and `index.html`.

    All are made under temporary names first, so that an older atlas in the folder is replaced as a whole.

    Returns:
        Path of the page.
    """
    folder = check_folder(folder)
    partial = {name: folder / f".{os.getpid()}.partial.{name}" for name in FILES}
    document = json.dumps(atlas.document, indent=1, allow_nan=False) + "\n"
    try:
        partial["atlas.json"].write_text(document, encoding="utf-8")
        fields = {"alone": atlas.alone.motion, "in_company": atlas.company.motion}
        np.savez_compressed(partial["atlas.npz"], **{k: v.astype(np.float16) for k, v in fields.items()})
        _write_poster(partial["poster.png"], atlas)
        page = render_page(atlas.document, atlas.alone, atlas.company)
        partial["index.html"].write_text(page, encoding="utf-8")
        for name, path in partial.items():
            os.replace(path, folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    return folder / "index.html"


def _write_poster(path: Path, atlas: Atlas) -> None:
    """In 26 steps of each colour, which can hardly be seen and halve the bytes."""
    save_figure(plot_poster(atlas.document, atlas.alone, atlas.company), path, dpi=100)
    with Image.open(path) as picture:
        few = picture.convert("RGB").point([round(round(value / 10.2) * 10.2) for value in range(256)] * 3)
    few.save(path, optimize=True)

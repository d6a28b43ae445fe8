"""The atlas as one web page to browse: data and script inside, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import json
import zlib
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from .face_outline import face_outline
from .style import elide, token_grid_side
from .token_fields import TokenFields
from .unit_reading import GRID


def render_page(document: dict[str, Any], alone: TokenFields, company: TokenFields) -> str:
    """The page of an atlas.

    Args:
        document: That of the atlas.
        alone: Its fields of single tokens.
        company: Its fields of tokens among others.

    Returns:
        HTML of less than 3 MB for 16 positions and 32 codes.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("atlas_page.html.j2").read_text(encoding="utf-8")
    questions = document["questions"]
    return environment.from_string(source).render(
        title=f"Token atlas of {elide(document.get('model', 'a tokenizer'), 80, middle=True)}",
        about=document,
        first=questions["does_a_code_mean_different_things_at_different_positions"],
        second=questions["do_tokens_control_upper_and_lower_face"],
        side=token_grid_side(len(document["positions"])),
        data=_script_data(document, alone, company),
    )


def _script_data(document: dict[str, Any], alone: TokenFields, company: TokenFields) -> str:
    """JSON for the script; "<" is escaped, so that no text can end the element it stands in."""
    shape = document["positions"], document["codebook_size"]
    data = {
        "side": token_grid_side(len(shape[0])),
        "codes": shape[1],
        "grid": GRID,
        "tokens": document["tokens"],
        "positions": document["positions"],
        "units": list(document["units"]),
        "pairs": document["pairs"],
        "faint": document["faint"],
        "outline": [np.round(line, 3).tolist() for line in face_outline()],
        "fields": {"alone": _packed(alone), "in_company": _packed(company)},
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _packed(fields: TokenFields) -> str:
    """Fields as base64 of deflated bytes (P, K, 2, GRID, GRID), each field's longest component as 127."""
    full = np.abs(fields.motion).max(axis=(2, 3, 4), keepdims=True)
    scaled = np.rint(127 * fields.motion / np.maximum(full, 1e-9)).astype(np.int8)
    return base64.b64encode(zlib.compress(scaled.tobytes(), 9)).decode("ascii")

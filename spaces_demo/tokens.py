"""Tokens as visitors write them: sixteen codes, row by row, from forehead to chin."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from dface_hf.analysis.face_regions import FACE_REGIONS

from .engine import classifier
from .limits import refuse


def read_tokens(text: str | None) -> list[int]:
    """Sixteen codes from numbers separated by spaces or commas; nothing at all is the null action.

    Raises:
        gr.Error: Another count, or a code that the codebook does not have.
    """
    config = classifier().config.tokenizer_config
    count, size = config.num_action_tokens, config.codebook_size
    parts = re.findall(r"[^\s,;\[\]]+", text or "")
    if not parts:
        return [0] * count
    if len(parts) != count or not all(part.isascii() and part.isdigit() for part in parts):
        raise refuse(f"Tokens are {count} whole numbers from 0 to {size - 1}, such as 0 0 5 12 …")
    ids = [int(part) for part in parts]
    if max(ids) >= size:
        raise refuse(f"There is no code {max(ids)}; codes go from 0 (nothing moves) to {size - 1}.")
    return ids


def codebook_size() -> int:
    """Codes there are, the null code among them."""
    return classifier().config.tokenizer_config.codebook_size


def write_tokens(ids: Sequence[int]) -> str:
    """The codes as one line."""
    return " ".join(map(str, ids))


def place(position: int) -> str:
    """The part of the face next to a position of the 4 x 4 grid; left and right are the person's."""
    row, column = divmod(position, 4)
    x, y = (column + 0.5) / 2 - 1, (row + 0.5) / 2 - 1
    return min(FACE_REGIONS, key=lambda name: math.dist(FACE_REGIONS[name], (x, y)))

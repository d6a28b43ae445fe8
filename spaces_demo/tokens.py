"""Tokens as visitors write them: sixteen codes, row by row, from forehead to chin."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .engine import classifier
from .limits import refuse

# Of the 4 x 4 grid over the aligned face; left and right as in the picture.
ROWS = ("forehead", "brows and eyes", "nose and cheeks", "mouth and chin")
COLUMNS = ("far left", "left", "right", "far right")


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
    """Where a position of the grid lies on the face, such as "brows, left"."""
    return f"{ROWS[position // 4]}, {COLUMNS[position % 4]}"

"""The atlas as one poster: what the most used codes of each position move."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dface_hf.faces.flow import flow_to_rgb

from .face_outline import face_outline
from .layout import add_axes, add_text, new_figure
from .style import INK, PANEL, elide, token_grid_side
from .token_fields import STILL, TokenFields

SHOWN = (2, 3)
"""Rows and columns of codes in each panel."""
THUMB, CAPTION = 1.18, 0.34  # inches
GAP, HEADER, TITLE = 0.22, 1.0, 0.3
NAMED = 2  # units named below a code
REST = 0.04  # of the full length: what moves less is drawn as rest


def plot_poster(document: dict[str, Any], alone: TokenFields, company: TokenFields) -> Figure:
    """Draw the poster.

    Args:
        document: That of an atlas.
        alone: Its fields of single tokens, drawn where a token occurs in no pair.
        company: Its fields of tokens among others.

    Returns:
        A figure with one panel a position, in the grid's order; 16 positions make about 1,620 x 1,560 px at
        100 dpi.
    """
    side = token_grid_side(len(document["positions"]))
    panel = SHOWN[1] * THUMB, SHOWN[0] * (THUMB + CAPTION) + TITLE
    width, height = (side * size + (side + 1) * GAP for size in panel)
    figure = new_figure(height + HEADER, width)
    _header(figure, document)
    for place in document["positions"]:
        left = GAP + place["column"] * (panel[0] + GAP)
        top = HEADER + GAP + place["row"] * (panel[1] + GAP)
        _panel(figure, (left, top), place, _most_used(document, place["position"]), (alone, company))
    return figure


def _most_used(document: dict[str, Any], position: int) -> list[dict[str, Any]]:
    tokens = [token for token in document["tokens"] if token["position"] == position]
    return sorted(tokens, key=lambda token: -token["pairs"])[: SHOWN[0] * SHOWN[1]]


def _header(figure: Figure, document: dict[str, Any]) -> None:
    name = elide(document.get("model", "a tokenizer"), 60, middle=True)
    add_text(figure, GAP, 0.48, f"What the tokens of {name} move", 19, color=INK, weight="bold")
    text = (
        f"The most used codes of each of {len(document['positions'])} positions, where they lie on the face: "
        f"code, share of {document['pairs']} synthetic pairs, action units that go with it."
    )
    add_text(figure, GAP, 0.78, text, 10.5)
    text = (
        "Colour is the direction of the skin's motion, strength its length, each map to its own maximum, "
        "faint ones paler."
    )
    add_text(figure, GAP, 1.0, text, 10.5)
    axes = add_axes(figure, "directions", figure.get_figwidth() - GAP - 0.95, 0.12, 0.95, 0.95)
    line = np.linspace(-1, 1, 200, dtype=np.float32)
    wheel = np.stack(np.meshgrid(line, line), axis=-1)
    wheel[np.hypot(*wheel.transpose(2, 0, 1)) > 1] = 0
    axes.imshow(flow_to_rgb(wheel, 1.0), extent=(-1, 1, 1, -1))
    axes.set(xticks=[], yticks=[])


def _panel(
    figure: Figure,
    corner: tuple[float, float],
    place: dict[str, Any],
    tokens: list[dict[str, Any]],
    fields: tuple[TokenFields, TokenFields],
) -> None:
    left, top = corner
    where = f"row {place['row'] + 1}, column {place['column'] + 1}"
    add_text(figure, left, top + 0.17, where, 10.5, color=INK, weight="bold")
    told = f"{place['moves']:.0%} of pairs, {place['codes_used']} codes"
    add_text(figure, left + SHOWN[1] * THUMB, top + 0.17, told, 9, ha="right")
    for number, token in enumerate(tokens):
        row, column = divmod(number, SHOWN[1])
        x, y = left + column * THUMB, top + TITLE + row * (THUMB + CAPTION)
        name, below = f"position {place['position']}, code {token['code']}", y + THUMB + 0.09
        _field(add_axes(figure, name, x + 0.03, y, THUMB - 0.06, THUMB - 0.06), token, fields)
        add_text(figure, x + 0.03, below, f"{token['code']}", color=INK, weight="bold")
        units = " ".join(unit.removeprefix("AU") for unit in list(token["goes_with"])[:NAMED])
        add_text(figure, x + 0.24, below, f"{token['share']:.0%}", 8)
        add_text(figure, x + THUMB - 0.03, below, f"AU {units}" if units else "", color=INK, ha="right")


def _field(axes: Axes, token: dict[str, Any], fields: tuple[TokenFields, TokenFields]) -> None:
    found = fields[1] if token["in_company"] else fields[0]
    at = token["position"], token["code"]
    if found.peak[at] > STILL:
        full = max(float(found.peak[at]), 2 * found.faint())
        length = found.length[at] / full
        shown = found.motion[at] * np.where(
            length > REST, (1 - REST / np.maximum(length, REST)) / (1 - REST), 0
        )
        picture = flow_to_rgb(shown.transpose(1, 2, 0), full)
        axes.imshow(picture, extent=(-1, 1, 1, -1), interpolation="bicubic")
    for line in face_outline():
        axes.plot(*line.T, color=INK, lw=0.6, alpha=0.55)
    axes.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=PANEL, linewidth=1.2)

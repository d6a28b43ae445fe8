"""The atlas as one poster: what the most used codes of each position move."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dface_hf.faces.flow import flow_to_rgb

from .face_outline import face_outline
from .style import INK, MUTED, PANEL, elide, token_grid_side
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
    figure = Figure(figsize=(width, height + HEADER), facecolor="white")
    canvas = _Canvas(figure)
    _header(canvas, document)
    for place in document["positions"]:
        left = GAP + place["column"] * (panel[0] + GAP)
        top = HEADER + GAP + place["row"] * (panel[1] + GAP)
        _panel(canvas, (left, top), place, _most_used(document, place["position"]), (alone, company))
    return figure


class _Canvas:
    """Places things in inches from the top left corner."""

    def __init__(self, figure: Figure):
        self.figure = figure
        self.width, self.height = figure.get_size_inches()

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        style = {"color": INK, "size": 9, "va": "baseline", "parse_math": False} | style
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def axes(self, x: float, y: float, size: float) -> Axes:
        box = x / self.width, 1 - (y + size) / self.height, size / self.width, size / self.height
        axes = self.figure.add_axes(box)
        axes.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[])
        axes.spines[:].set(color=PANEL, linewidth=1.2)
        return axes


def _most_used(document: dict[str, Any], position: int) -> list[dict[str, Any]]:
    tokens = [token for token in document["tokens"] if token["position"] == position]
    return sorted(tokens, key=lambda token: -token["pairs"])[: SHOWN[0] * SHOWN[1]]


def _header(canvas: _Canvas, document: dict[str, Any]) -> None:
    name = elide(document.get("model", "a tokenizer"), 60, middle=True)
    canvas.text(GAP, 0.48, f"What the tokens of {name} move", size=19, weight="bold")
    text = (
        f"The most used codes of each of {len(document['positions'])} positions, where they lie on the face: "
        f"code, share of {document['pairs']} synthetic pairs, action units that go with it."
    )
    canvas.text(GAP, 0.78, text, size=10.5, color=MUTED)
    text = (
        "Colour is the direction of the skin's motion, strength its length, each map to its own maximum, "
        "faint ones paler."
    )
    canvas.text(GAP, 1.0, text, size=10.5, color=MUTED)
    axes = canvas.axes(canvas.width - GAP - 0.95, 0.12, 0.95)
    line = np.linspace(-1, 1, 200, dtype=np.float32)
    wheel = np.stack(np.meshgrid(line, line), axis=-1)
    wheel[np.hypot(*wheel.transpose(2, 0, 1)) > 1] = 0
    axes.imshow(flow_to_rgb(wheel, 1.0), extent=(-1, 1, 1, -1))
    axes.spines[:].set_visible(False)


def _panel(
    canvas: _Canvas,
    corner: tuple[float, float],
    place: dict[str, Any],
    tokens: list[dict[str, Any]],
    fields: tuple[TokenFields, TokenFields],
) -> None:
    left, top = corner
    where = f"row {place['row'] + 1}, column {place['column'] + 1}"
    canvas.text(left, top + 0.17, where, size=10.5, weight="bold")
    told = f"{place['moves']:.0%} of pairs, {place['codes_used']} codes"
    canvas.text(left + SHOWN[1] * THUMB, top + 0.17, told, ha="right", color=MUTED)
    for number, token in enumerate(tokens):
        row, column = divmod(number, SHOWN[1])
        x, y = left + column * THUMB, top + TITLE + row * (THUMB + CAPTION)
        _field(canvas.axes(x + 0.03, y, THUMB - 0.06), token, fields)
        canvas.text(x + 0.03, y + THUMB + 0.09, f"{token['code']}", weight="bold", size=8.5)
        units = " ".join(unit.removeprefix("AU") for unit in list(token["goes_with"])[:NAMED])
        canvas.text(x + 0.24, y + THUMB + 0.09, f"{token['share']:.0%}", color=MUTED, size=8)
        canvas.text(x + THUMB - 0.03, y + THUMB + 0.09, f"AU {units}" if units else "", ha="right", size=8.5)


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
    axes.set(xlim=(-1, 1), ylim=(1, -1))

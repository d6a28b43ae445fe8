"""Figures laid out in inches from the top left corner, which keeps texts and gaps the same at any size.

They are Figure objects, without pyplot's global state.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dface_hf.whole_files import whole_file

from .style import INK, MUTED, elide

WIDTH, MARGIN = 10.0, 0.4


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty white figure."""
    return Figure(figsize=(width, height), facecolor="white")


def add_axes(figure: Figure, name: str, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame and tick marks; `name` is their label."""
    across, down = figure.get_size_inches()
    place = (left / across, 1 - (top + height) / down, width / across, height / down)
    axes = figure.add_axes(place, label=name)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=MUTED, size=8.5)
    return axes


def add_text(figure: Figure, left: float, top: float, text: str, size: float = 8.5, **style: Any) -> None:
    """Text with its baseline at `top`. Names come from files and models: a dollar sign is a dollar sign."""
    across, down = figure.get_size_inches()
    style = {"color": MUTED, "parse_math": False} | style
    figure.text(left / across, 1 - top / down, text, fontsize=size, **style)


def add_header(figure: Figure, title: str, told: str) -> None:
    """A title and a line of facts at the top left."""
    add_text(figure, MARGIN, 0.42, elide(title, 70, middle=True), 14, color=INK, weight="bold")
    add_text(figure, MARGIN, 0.68, told, 9)


def plain_label(text: str) -> str:
    """A name as label: a dollar sign is a dollar sign, and an underscore in front does not hide it."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 150) -> None:
    """Write a figure; the file appears under its name when it is complete.

    Raises:
        ValueError: A suffix matplotlib cannot write.
        OSError: The folder does not exist or cannot be written.
    """
    path = Path(path)
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ValueError(
            f"{path}: cannot write a {path.suffix or 'suffix-less'} picture; use .png, .pdf or .svg"
        )
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, facecolor="white")

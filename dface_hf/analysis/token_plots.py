"""A figure of the tokens of clips: which class uses which codes, and where on the face something moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .layout import add_axes, add_header, new_figure
from .style import MUTED, PANEL, elide, label_colours, readable_on, rgb, token_grid_side
from .tokens import codebook_use

HEIGHT = 3.6
MOVING = "#20508a"  # a place that moves in every clip


def plot_tokens(
    action_ids: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str],
    codebook_size: int,
    title: str = "tokens",
) -> Figure:
    """Draw how clips use the codebook.

    Args:
        action_ids: (n, 16) tokens.
        labels: (n,) class ids.
        names: Class names by id.
        codebook_size: Entries of the codebook.
        title: Such as the checkpoint that made the tokens.

    Returns:
        A figure with the axes codes (share of each code but 0, by class) and places (share of clips in which
        a cell of the grid is not code 0).

    Raises:
        ValueError: Tokens that fill no square grid, or another number of labels.
    """
    ids, labels = np.asarray(action_ids), np.asarray(labels)
    if ids.ndim != 2 or len(ids) != len(labels):
        raise ValueError(f"{len(labels)} labels for tokens of shape {ids.shape}; expected (n, 16) and (n,)")
    figure = new_figure(HEIGHT)
    use = codebook_use(ids, codebook_size)
    facts = (
        f"{len(ids)} clips",
        f"code 0, nothing moves: {use['null_share']:.0%} of the tokens",
        f"perplexity of the others {use['perplexity']:.1f} of {codebook_size - 1}",
        f"never used: {use['dead_codes']}",
    )
    add_header(figure, title, "   ·   ".join(facts))
    _draw_codes(add_axes(figure, "codes", 0.75, 1.08, 5.6, 2.02), ids, labels, names, codebook_size)
    _draw_places(add_axes(figure, "places", 7.2, 1.08, 2.16, 2.16), ids)
    return figure


def _draw_codes(axes: Axes, ids: np.ndarray, labels: np.ndarray, names: Sequence[str], size: int) -> None:
    """Stacked bars: share of all tokens that are a code, by class of the clip."""
    colours, base = label_colours(names), np.zeros(size - 1)
    for number, name in enumerate(names):
        share = np.bincount(ids[labels == number].ravel(), minlength=size)[1:] / ids.size
        axes.bar(np.arange(1, size), share, 0.8, bottom=base, color=colours[name], label=elide(name, 16))
        base += share
    axes.set(xlim=(0.3, size - 0.3), ylim=(0, max(float(base.max()) * 1.05, 1e-3)), xlabel="code")
    axes.set_ylabel("share of all tokens")
    axes.tick_params(labelsize=8)
    axes.set_xticks(np.arange(1, size, max(1, size // 16)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.2g}%")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, fontsize=8, borderpad=0)


def _draw_places(axes: Axes, ids: np.ndarray) -> None:
    """The grid over the face: the darker, the more clips move there."""
    side = token_grid_side(ids.shape[1])
    moving = (ids > 0).mean(axis=0).reshape(side, side)
    for row in range(side):
        for column in range(side):
            shares = (1 - moving[row, column] * (1 - part / 255) for part in rgb(MOVING))
            shade = "#" + "".join(f"{round(255 * share):02x}" for share in shares)
            axes.fill_between([column, column + 1], row, row + 1, color=shade, lw=0)
            style = {"ha": "center", "va": "center", "size": 9, "color": readable_on(shade)}
            axes.text(column + 0.5, row + 0.5, f"{moving[row, column]:.0%}", **style)
    axes.set(xlim=(0, side), ylim=(side, 0), xticks=[], yticks=[])
    axes.set_title("clips in which a place moves", size=9, color=MUTED)
    axes.spines[:].set(visible=True, color=PANEL)

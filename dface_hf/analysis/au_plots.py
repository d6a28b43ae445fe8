"""A figure of the action units of a corpus: co-occurrence, correlation, imbalance and durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .layout import MARGIN, WIDTH, add_axes, add_header, new_figure, plain_label
from .style import INK, MUTED, PANEL, elide, label_colours, readable_on, rgb

MATRIX = 4.15
LOWER, HEIGHT = 2.35, 9.55
STRONG = 0.6  # a correlation from which on the shade grows no more
LIMIT = 500
"""Milliseconds that a micro-expression lasts at most (Yan et al., "How Fast are the Leaked Facial
Expressions", Journal of Nonverbal Behavior 2013)."""
MISSING = "#ffffff"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f3f4f6", "#7fa3cc", "#20508a"])
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#b2561d", "#f3c9a5", "#f7f7f7", "#a9c6e4", "#20508a"])


def plot_unit_statistics(
    statistics: dict[str, Any], corpora: Sequence[str], durations: ArrayLike, title: str = "action units"
) -> Figure:
    """Draw the statistics of action units.

    Args:
        statistics: As from `unit_statistics`.
        corpora: (n,) corpus of each clip.
        durations: (n,) seconds, NaN where they are not known.
        title: Such as the file that the clips come from.

    Returns:
        A figure with the axes cooccurrence, correlation, imbalance and durations.

    Raises:
        ValueError: Another number of durations than of clips.
    """
    seconds, corpora = np.asarray(durations, float), np.asarray(corpora)
    if not len(seconds) == len(corpora) == statistics["n"]:
        raise ValueError(f"{len(seconds)} durations and {len(corpora)} corpora for {statistics['n']} clips")
    figure = new_figure(HEIGHT)
    add_header(figure, title, _summary(statistics))
    left = WIDTH - MARGIN - MATRIX
    _draw_cooccurrence(add_axes(figure, "cooccurrence", MARGIN + 0.25, 1.3, MATRIX, MATRIX), statistics)
    _draw_correlation(add_axes(figure, "correlation", left, 1.3, MATRIX, MATRIX), statistics)
    colours = label_colours(statistics["corpora"])
    top = 1.3 + MATRIX + 0.75
    axes = add_axes(figure, "imbalance", MARGIN + 0.25, top, MATRIX, LOWER)
    _draw_imbalance(axes, statistics, colours)
    _draw_durations(add_axes(figure, "durations", left, top, MATRIX, LOWER), corpora, seconds, colours)
    place = {"loc": "upper left", "bbox_to_anchor": (0, -0.24), "borderpad": 0, "borderaxespad": 0}
    axes.legend(ncols=6, frameon=False, fontsize=8, **place)
    return figure


def _draw_cooccurrence(axes: Axes, statistics: dict[str, Any]) -> None:
    """Clips with both units; off the diagonal the shade is their share of the rarer unit's clips."""
    both = np.array(statistics["cooccurrence"])
    counts = np.diag(both)
    shares = both / np.maximum(np.minimum(counts[:, None], counts), 1)
    texts = [[str(value) if value else "" for value in row] for row in both]
    colours = [[to_hex(SHADES(float(share))) for share in row] for row in shares]
    for index in range(len(counts)):
        colours[index][index] = PANEL
    _title(axes, "shown together: clips; shade: share of the rarer unit")
    _draw_matrix(axes, statistics["units"], texts, colours)


def _draw_correlation(axes: Axes, statistics: dict[str, Any]) -> None:
    """Pearson correlations; the diagonal, which is 1, stays empty."""
    values = statistics["correlation"]
    texts = [["–" if value is None else _signed(value) for value in row] for row in values]
    colours = [
        [MISSING if value is None else to_hex(_SIGNED(0.5 + value / STRONG / 2)) for value in row]
        for row in values
    ]
    for index in range(len(values)):
        texts[index][index], colours[index][index] = "", PANEL
    _title(axes, "Pearson correlation")
    _draw_matrix(axes, statistics["units"], texts, colours)


def _draw_matrix(axes: Axes, units: Sequence[int], texts: list[list[str]], colours: list[list[str]]) -> None:
    size = float(np.clip(90 / len(units), 3.5, 9))
    shades = np.array([[rgb(colour) for colour in line] for line in colours]) / 255
    axes.pcolormesh(shades, edgecolors="white", lw=0.8)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            style = {"ha": "center", "va": "center", "size": size, "gid": f"cell {row} {column}"}
            axes.text(column + 0.5, row + 0.5, text, color=readable_on(colours[row][column]), **style)
    places = np.arange(len(units)) + 0.5
    axes.set(xlim=(0, len(units)), ylim=(len(units), 0))
    axes.set_xticks(places, units, size=min(8.5, size + 1))
    axes.set_yticks(places, units, size=min(8.5, size + 1))


def _draw_imbalance(axes: Axes, statistics: dict[str, Any], colours: dict[str, str]) -> None:
    """A bar a unit, as tall as there are clips with it, stacked by corpus; above it their share."""
    places, base = np.arange(len(statistics["units"])), np.zeros(len(statistics["units"]))
    size = min(7.5, 110 / len(places))
    for name, counts in statistics["per_corpus"].items():
        axes.bar(places, counts, 0.8, bottom=base, color=colours[name], label=plain_label(elide(name, 14)))
        base += counts
    for place, (count, rate) in enumerate(zip(statistics["counts"], statistics["rates"], strict=True)):
        text = f"{rate:.0%}" if rate >= 0.01 or not count else "<1%"
        axes.text(place, count, text, ha="center", va="bottom", size=size, color=INK)
    _title(axes, "clips with each unit, and their share")
    axes.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.12 * max(1, base.max())))
    axes.set_xticks(places, statistics["units"], size=size + 1)
    axes.set_xlabel("action unit")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(axis="y", labelsize=8)


def _draw_durations(axes: Axes, corpora: np.ndarray, seconds: np.ndarray, colours: dict[str, str]) -> None:
    """How many clips last how long, by corpus; the last bar holds all that last longer."""
    known = np.isfinite(seconds)
    _title(axes, "duration from onset to offset" + (f", {known.sum()} clips" if known.any() else ""))
    if not known.any():
        axes.set(xticks=[], yticks=[])
        style = {"ha": "center", "va": "center", "size": 9, "color": MUTED, "transform": axes.transAxes}
        axes.text(0.5, 0.5, "not known", **style)
        return
    last = max(2 * LIMIT, 50 * np.ceil(1000 * np.percentile(seconds[known], 98) / 50))
    edges = np.linspace(0, last, 21 if last == 2 * LIMIT else 31)
    names = [name for name in colours if (known & (corpora == name)).any()]
    # Just below the edge: what lasts longer belongs to the last bar.
    parts = [np.minimum(1000 * seconds[known & (corpora == name)], last * (1 - 1e-9)) for name in names]
    bars, *_ = axes.hist(parts, edges, stacked=True, rwidth=0.88, color=[colours[name] for name in names])
    axes.axvline(LIMIT, color=INK, lw=1, ls=(0, (4, 3)))
    axes.text(
        LIMIT + last / 80, 0.97, f"{LIMIT} ms", transform=axes.get_xaxis_transform(), size=7.5, va="top"
    )
    longer = bool((1000 * seconds[known] > last).any())
    axes.set_xlabel("milliseconds" + (", the last bar: and longer" if longer else ""))
    axes.set(xlim=(0, last), ylim=(0, 1.15 * np.max(bars)))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(axis="both", labelsize=8)


def _summary(statistics: dict[str, Any]) -> str:
    uncoded = sum(statistics["uncoded"].values())
    facts = [f"{count} clips of {elide(name, 18)}" for name, count in statistics["corpora"].items()]
    if len(facts) > 4:
        facts = [f"{statistics['n']} clips of {len(facts)} corpora"]
    facts.append(f"{statistics['units_per_clip']:.2f} of these units a clip")
    return "   ·   ".join([*facts, *([f"{uncoded} clips without codes left out"] if uncoded else [])])


def _signed(value: float) -> str:
    """.69, -.20, 1.00: short, for a small cell."""
    text = f"{value:.2f}".replace("0.", ".", 1)
    return text.replace("-", "−") if text not in ("-.00", ".00") else "0"


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=9.5, color=INK, pad=6)

"""Figures of what AC4AU makes of clips: gates, energies of what changes and what stays, neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from .ac4au_explanations import UnitReading
from .au_plots import SHADES
from .layout import MARGIN, WIDTH, add_axes, add_header, new_figure
from .style import ACCENT, INK, PANEL, elide, label_colours, readable_on

_HEAT = LinearSegmentedColormap.from_list("heat", ["#14181c", "#7a4a12", ACCENT, "#fff4d6"])
NAMED = 12  # subjects that get a colour and a name of their own


def plot_gates(gates: np.ndarray, names: Sequence[str], title: str = "gates") -> Figure:
    """How much each unit listens to each expert, on average over clips.

    Args:
        gates: (n, K, experts).
        names: Of the K units.
        title: Such as the checkpoint's name.
    """
    mean = gates.mean(axis=0)
    units, experts = mean.shape
    height = 1.35 + 0.42 * units
    figure = new_figure(height)
    even = f"each row sums to 1; an even share is {1 / experts:.3f}   ·   {_clips(len(gates))}"
    add_header(figure, f"{title}: which experts each unit listens to", even)
    axes = add_axes(figure, "gates", 1.0, 1.05, WIDTH - 1.0 - MARGIN, 0.42 * units - 0.1)
    top = max(float(mean.max()), 2 / experts)
    axes.pcolormesh(mean, cmap=SHADES, vmin=0, vmax=top, edgecolors="white", lw=1)
    for row in range(units):
        for column in range(experts):
            value = mean[row, column]
            colour = readable_on(to_hex(SHADES(value / top)))
            text = f"{value:.2f}".replace("0.", ".", 1)
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=8, color=colour)
    axes.set(xlim=(0, experts), ylim=(units, 0))
    axes.set_xticks(np.arange(experts) + 0.5, np.arange(1, experts + 1), size=8.5)
    axes.set_yticks(np.arange(units) + 0.5, names, size=8.5)
    axes.set_xlabel("expert")
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    return figure


def plot_energies(reading: UnitReading, frames: np.ndarray, clip: int, title: str = "energies") -> Figure:
    """Where and when the features change, and where they are strong but stay: one clip, and all on average.

    Args:
        reading: What the model computes of n clips.
        frames: (n, T, size, size, 3) uint8, the clips.
        clip: Index of the one that is shown.
        title: Such as the checkpoint's name.
    """
    count = reading.changing.shape[1]
    apart = 0.2  # inches that set DC off from the frames
    step = (WIDTH - 2 * MARGIN - apart + 0.08) / (count + 1)
    side = step - 0.08
    rows = _rows_of_pictures(reading, frames[clip], clip)
    lower = 0.95 + len(rows) * (side + 0.42)
    figure = new_figure(lower + 2.1)
    told = "AC: changes from frame to frame   ·   DC: the mean of all frames   ·   brighter is stronger"
    add_header(figure, f"{title}: what changes and what stays", told)
    for row, (name, changing, constant) in enumerate(rows):
        top = 0.95 + row * (side + 0.42)
        figure.text(MARGIN / WIDTH, 1 - (top + 0.14) / figure.get_figheight(), name, size=9, color=INK)
        pictures = [*((picture, changing) for picture in changing), (constant, constant)]
        for column, (picture, scale) in enumerate(pictures):
            label = f"row {row} {'mean' if column == count else column}"
            left = MARGIN + column * step + apart * (column == count)
            axes = add_axes(figure, label, left, top + 0.24, side, side)
            _picture(axes, picture, float(np.max(scale)))
    _draw_course(
        add_axes(figure, "course", MARGIN + 0.5, lower + 0.55, WIDTH - 2 * MARGIN - 0.6, 1.1), reading, clip
    )
    return figure


def plot_units(plane: np.ndarray, shown: np.ndarray, names: Sequence[str], title: str = "AC") -> Figure:
    """Clips placed by what changes in them, one panel a unit with the clips that show it marked.

    Args:
        plane: (n, 2) places.
        shown: (n, K) of 0 and 1.
        names: Of the K units.
        title: Such as the checkpoint's name.
    """
    rows = -(-len(names) // 4)
    step = (WIDTH - 2 * MARGIN + 0.15) / 4
    figure = new_figure(1.0 + rows * (step + 0.25))
    told = (
        f"t-SNE of AC, the changing part of the features   ·   {_clips(len(plane))}, near ones change alike"
    )
    add_header(figure, f"{title}: clips by what changes, and the units that they show", told)
    for unit, name in enumerate(names):
        left, top = MARGIN + unit % 4 * step, 1.0 + unit // 4 * (step + 0.25)
        axes = add_axes(figure, name, left, top, step - 0.15, step - 0.15)
        has = shown[:, unit] > 0
        axes.scatter(*plane[~has].T, s=7, color="#cdd3d8", lw=0)
        axes.scatter(*plane[has].T, s=13, color="#20508a", lw=0)
        axes.set_title(f"{name}   {has.sum()} of {len(plane)}", loc="left", size=8.5, color=INK, pad=4)
        _bare(axes, plane)
    return figure


def plot_subjects(plane: np.ndarray, subjects: Sequence[str], title: str = "DC") -> Figure:
    """Clips placed by what stays in them, coloured by who is seen; the twelve with most clips are named.

    Args:
        plane: (n, 2) places.
        subjects: Name of the subject of each clip.
        title: Such as the checkpoint's name.
    """
    figure = new_figure(6.6)
    people = Counter(subjects)
    named = [name for name, _ in people.most_common(NAMED)]
    rest = len(people) - len(named)
    told = f"t-SNE of DC, the mean of the features   ·   {_clips(len(plane))} of {len(people)} subjects"
    add_header(figure, f"{title}: clips by what stays, and who they show", told)
    axes = add_axes(figure, "subjects", MARGIN, 1.0, 5.4, 5.4)
    names, colours = np.asarray(subjects), label_colours(named)
    others = ~np.isin(names, named)
    axes.scatter(*plane[others].T, s=16, color="#cdd3d8", lw=0)
    handles = [
        axes.scatter(*plane[names == name].T, s=26, color=colours[name], marker=marker, lw=0)
        for name, marker in zip(named, ("o", "s", "^", "D") * 3, strict=False)
    ]
    _bare(axes, plane)
    labels = [f"\u200b{elide(name, 30, middle=True)}   {people[name]}".replace("$", r"\$") for name in named]
    place = {"loc": "upper left", "bbox_to_anchor": (1.04, 1.0), "frameon": False, "fontsize": 8.5}
    note = f"subject and clips; {rest} more in grey" if rest else "subject and clips"
    axes.legend(handles, labels, title=note, title_fontsize=8.5, alignment="left", **place)
    return figure


def _rows_of_pictures(reading: UnitReading, frames: np.ndarray, clip: int) -> list[tuple]:
    """Title, a picture for each frame, and one for what stays; the last row only where there are others."""
    rows = [
        ("one clip, its frames and their mean", frames, frames.mean(axis=0).astype(np.uint8)),
        ("AC and DC of this clip", reading.changing_map[clip], reading.constant_map[clip]),
    ]
    if len(reading) > 1:
        title = f"AC and DC, mean of {_clips(len(reading))}"
        rows.append((title, reading.changing_map.mean(axis=0), reading.constant_map.mean(axis=0)))
    return rows


def _picture(axes: Axes, picture: np.ndarray, top: float) -> None:
    """A frame, or a map of energies with the scale of its row."""
    style = {} if picture.ndim == 3 else {"cmap": _HEAT, "vmin": 0, "vmax": max(top, 1e-9)}
    axes.imshow(picture, interpolation="bilinear" if picture.ndim == 2 else None, **style)
    axes.set(xticks=[], yticks=[])


def _draw_course(axes: Axes, reading: UnitReading, clip: int) -> None:
    """Energy of AC in each frame: the clip, and the middle 80 % of all."""
    energy = 100 * reading.energy
    steps = np.arange(energy.shape[1])
    low, median, high = np.percentile(energy, (10, 50, 90), axis=0)
    axes.fill_between(steps, low, high, color="#dfe6ee", lw=0, label="80 % of the clips")
    axes.plot(steps, median, color="#20508a", lw=1.6, label="median")
    axes.plot(steps, energy[clip], color=INK, lw=1.2, ls=(0, (4, 2)), label="the clip above")
    axes.set(xlim=(0, len(steps) - 1), ylim=(0, 1.1 * max(high.max(), energy[clip].max(), 1e-6)))
    axes.set_title("energy of AC in each frame, % of that of DC", loc="left", size=9, color=INK, pad=5)
    axes.set_xlabel("frame, the first is the onset")
    axes.tick_params(labelsize=8)
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1.01), "borderpad": 0, "borderaxespad": 0.3}
    axes.legend(ncols=3, frameon=False, fontsize=8, **place)


def _bare(axes: Axes, plane: np.ndarray) -> None:
    """A map without scales, which t-SNE does not have."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    room = 0.06 * (high - low) + 1e-3
    axes.set(xticks=[], yticks=[], xlim=(low[0] - room[0], high[0] + room[0]))
    axes.set(ylim=(low[1] - room[1], high[1] + room[1]), facecolor=PANEL)


def _clips(count: int) -> str:
    return f"{count} clip" if count == 1 else f"{count} clips"


__all__ = ["plot_energies", "plot_gates", "plot_subjects", "plot_units"]

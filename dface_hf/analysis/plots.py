"""Figures of a result: one event in detail, or a whole clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from .layout import MARGIN, WIDTH, add_axes, add_text, new_figure
from .pictures import crop_pair, explanation_picture, magnify, motion_picture
from .style import (
    ACCENT,
    INK,
    MUTED,
    PANEL,
    attention_strength,
    check_event,
    describe_stabilisation,
    elide,
    keyframe_seconds,
    label_colours,
    result_labels,
    token_grid_side,
)

__all__ = ["magnify", "plot_clip", "plot_event"]

GAP = 0.2
PICTURE = (WIDTH - 2 * MARGIN - 3 * GAP) / 4
FACTOR = 10
MAX_PANELS = 8
PANEL_HEIGHT = 1.46
LANES = 3


def plot_event(event: Mapping[str, Any], onset_image: NDArray, apex_image: NDArray) -> Figure:
    """One event: its two frames, what changed between them, its tokens, scores and similarities.

    Args:
        event: An event of a clip result: onset, apex, offset, label, scores, action_ids, attention; and, if
            known, the times in seconds, similarities, confidence, stabilisation, explanation with
            decoded_motion and saliency.
        onset_image: (S, S, 3) uint8 RGB, aligned crop.
        apex_image: the same shape, stabilised on the onset.

    Returns:
        A figure with axes labelled onset, apex, difference, motion, tokens, explanation (where the event has
        one), scores and similarities.

    Raises:
        ValueError: The event or the crops cannot be drawn; the message names what is wrong.
    """
    check_event(event)
    onset_image, apex_image = crop_pair(onset_image, apex_image)
    similarities = event.get("similarities") or {}
    rows = [len(event["scores"]), len(similarities)]
    rows = sum(max(count, 4) for count in rows) if _explained(event) else max(rows)
    lower = max(PICTURE, 0.17 * rows + (0.4 if _explained(event) else 0))
    figure = new_figure(4.25 + lower)
    _header(figure, event)
    _pictures(figure, event, onset_image, apex_image)
    _lower_row(figure, event, onset_image, similarities, lower)
    note = describe_stabilisation(event.get("stabilisation"))
    if note:
        add_text(figure, MARGIN, 3.98 + lower, elide(f"stabilisation: {note}", 150), 7.5)
    return figure


def plot_clip(
    result: Mapping[str, Any], score: ArrayLike | None = None, threshold: float | None = None
) -> Figure:
    """A whole clip: score curve and events over time, and a small panel for each event that has crops.

    Args:
        result: A clip result. Events with `onset_image` and `apex_image` get a panel, the first 8 of them.
        score: (T,) one value a frame, non-negative; gaps (NaN) stay gaps. `result["score"]` when not given.
        threshold: What peaks of the score had to pass; `result["threshold"]` when not given.

    Returns:
        A figure with the axes timeline and, for each panel k, onset k, apex k, difference k, explanation k
        (where the event has one) and tokens k.

    Raises:
        ValueError: The result cannot be drawn; the message names the event.
    """
    events = list(result.get("events", ()))
    for number, event in enumerate(events, 1):
        check_event(event, number)
    score = result.get("score") if score is None else score
    threshold = result.get("threshold") if threshold is None else threshold
    numbered = [(n, e) for n, e in enumerate(events, 1) if e.get("onset_image") is not None]
    rows = (min(len(numbered), MAX_PANELS) + 1) // 2
    timeline = 1.7 if score is not None else 0.75
    figure = new_figure(1.75 + timeline + PANEL_HEIGHT * rows + (0.25 if len(numbered) > MAX_PANELS else 0))
    _clip_header(figure, result, events)
    _timeline(figure, result, score, threshold, timeline)
    _panels(figure, result, numbered, 1.75 + timeline)
    return figure


def _axes(figure: Figure, *place: Any) -> Axes:
    """As `add_axes`, without ticks."""
    axes = add_axes(figure, *place)
    axes.set(xticks=[], yticks=[])
    return axes


def _swatch(figure: Figure, left: float, top: float, side: float, colour: str) -> None:
    height = figure.get_figheight()
    corner = (left / WIDTH, 1 - top / height)
    figure.add_artist(Rectangle(corner, side / WIDTH, side / height, color=colour, lw=0))


def _header(figure: Figure, event: Mapping[str, Any]) -> None:
    label = event["label"]
    colour = label_colours([*event["scores"], label])[label]
    _swatch(figure, MARGIN, 0.53, 0.2, colour)
    title = f"{elide(label, 48)}  {event['scores'][label]:.0%}"
    add_text(figure, MARGIN + 0.32, 0.52, title, 16, color=INK, weight="bold")
    add_text(figure, MARGIN, 0.77, _times(event))
    if event.get("explanation"):
        add_text(figure, MARGIN, 0.95, elide(event["explanation"]["sentence"], 130), 9, color=INK)


def _explained(event: Mapping[str, Any]) -> bool:
    """Whether there is motion of tokens to be drawn."""
    return event.get("decoded_motion") is not None


def _times(event: Mapping[str, Any]) -> str:
    parts = []
    for key in ("onset", "apex", "offset"):
        seconds = event.get(f"{key}_s")
        parts.append(f"{key} frame {event[key]}" + ("" if seconds is None else f" ({seconds:.3f} s)"))
    if event.get("confidence") is not None:
        parts.append(f"confidence {event['confidence']:.2f}")
    return "   ·   ".join(parts)


def _pictures(figure: Figure, event: Mapping[str, Any], onset: NDArray, apex: NDArray) -> None:
    motion, times, longest = motion_picture(onset, apex)
    images = {
        "onset": (onset, "onset", ""),
        "apex": (apex, "apex", "stabilised on the onset" if event.get("stabilisation") else ""),
        "difference": (magnify(onset, apex, FACTOR), f"difference × {FACTOR}", "amber +, blue −"),
        "motion": (motion, "motion", f"arrows × {times}, longest {longest:.2f} px"),
    }
    for index, (name, (image, title, note)) in enumerate(images.items()):
        left = MARGIN + index * (PICTURE + GAP)
        add_text(figure, left, 1.18, title, 9.5, color=INK)
        add_text(figure, left + PICTURE, 1.18, note, 7, ha="right")
        _show(_axes(figure, name, left, 1.25, PICTURE, PICTURE), image)


def _show(axes: Axes, image: NDArray) -> None:
    axes.imshow(image, interpolation="bilinear", extent=(0, 1, 1, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0))


def _lower_row(
    figure: Figure, event: Mapping[str, Any], onset: NDArray, similarities: Mapping, height: float
) -> None:
    top = 3.75
    add_text(figure, MARGIN, top - 0.07, "action tokens", 9.5, color=INK)
    add_text(figure, MARGIN + PICTURE, top - 0.07, "fill and %: attention", 7, ha="right")
    draw_tokens(_axes(figure, "tokens", MARGIN, top, PICTURE, PICTURE), event, onset)
    left = MARGIN + PICTURE + 0.35
    column = (WIDTH - MARGIN - left - 0.35) / 2
    places = [(left, top, column, height), (left + column + 0.35, top, column, height)]
    if _explained(event):
        left = MARGIN + PICTURE + GAP
        _explanation(figure, event, onset, left, top)
        left, half = left + PICTURE + 0.35, (height - 0.4) / 2
        places = [(left, y, WIDTH - MARGIN - left, half) for y in (top, top + half + 0.4)]
    _score_bars(figure, event, similarities, places)


def _explanation(figure: Figure, event: Mapping[str, Any], onset: NDArray, left: float, top: float) -> None:
    """The motion that the tokens decode to, over where those that matter move."""
    picture, times = explanation_picture(onset, event["decoded_motion"], event["saliency"])
    add_text(figure, left, top - 0.07, f"decoded motion × {times}", 9.5, color=INK)
    add_text(figure, left + PICTURE, top - 0.07, "amber: why", 7, ha="right")
    _show(_axes(figure, "explanation", left, top, PICTURE, PICTURE), picture)


def _score_bars(
    figure: Figure, event: Mapping[str, Any], similarities: Mapping, places: Sequence[tuple]
) -> None:
    colours = label_colours([*event["scores"], event["label"]])
    for name, values, place in zip(
        ("scores", "similarities"), (event["scores"], similarities), places, strict=True
    ):
        left, top, width, height = place
        title = "scores" if name == "scores" else "similarity to descriptions"
        add_text(figure, left, top - 0.07, title, 9.5, color=INK)
        if name == "similarities":
            add_text(figure, left + width, top - 0.07, "cosine", 7, ha="right")
        axes = _axes(figure, name, left + 1.3, top + 0.02, width - 1.3 - 0.42, height - 0.04)
        best = event["label"] if name == "scores" else max(values, key=values.get, default=None)
        least = 4 if _explained(event) else 6  # few classes: bars stay slim and start at the top
        _bars(axes, values, {best: colours.get(best, INK)}, name == "scores", least)


def draw_tokens(axes: Axes, event: Mapping[str, Any], onset: NDArray, compact: bool = False) -> None:
    """The token grid over the dimmed onset crop, raster order; attention is the fill of each cell.

    Args:
        axes: Where to draw; x and y run from 0 to 1, y down.
        event: Holds `action_ids` and as many `attention` weights.
        onset: (S, S, 3) uint8 RGB.
        compact: Leave the percentages out.
    """
    side = token_grid_side(len(event["action_ids"]))
    grey = onset @ np.array([0.299, 0.587, 0.114]) / 255
    axes.imshow(0.32 * grey, cmap="gray", vmin=0, vmax=1, interpolation="bilinear", extent=(0, 1, 1, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0))
    size = (7.5 if compact else 14) * 4 / side
    strengths = attention_strength(event["attention"])
    for k, (code, weight) in enumerate(zip(event["action_ids"], event["attention"], strict=True)):
        row, column = divmod(k, side)
        corner, cell = ((column + 0.03) / side, (row + 0.03) / side), 0.94 / side
        faint = (1, 1, 1, 0.16) if code == 0 else (1, 1, 1, 0.45)
        axes.add_patch(Rectangle(corner, cell, cell, facecolor=ACCENT, alpha=0.8 * strengths[k], lw=0))
        axes.add_patch(Rectangle(corner, cell, cell, fill=False, edgecolor=faint, lw=0.6))
        x, y = (column + 0.5) / side, (row + (0.5 if compact else 0.44)) / side
        style = {"ha": "center", "va": "center", "color": "white"}
        axes.text(x, y, "·" if code == 0 else str(code), size=size, weight="bold", gid=f"token {k}", **style)
        if not compact:
            style |= {"alpha": 1 if strengths[k] > 0.3 else 0.7, "gid": f"attention {k}"}
            axes.text(x, (row + 0.82) / side, f"{weight:.0%}", size=6.5 * 4 / side, **style)


def _bars(
    axes: Axes, values: Mapping[str, float], marked: Mapping[str, str], percent: bool, least: int
) -> None:
    """Horizontal bars in the given order, names left, numbers right; `marked` ones in their colour. There is
    room for `least` of them or more."""
    numbers = list(values.values())
    low, high = (0.0, 1.0) if percent else (min([0.0, *numbers]), max([0.25, *numbers]))
    rows = max(len(values), least)
    axes.set(xlim=(low, high), ylim=(rows, 0))
    for row, (name, value) in enumerate(values.items()):
        middle, mark = row + 0.5, marked.get(name)
        axes.barh(middle, high - low, 0.56, left=low, color=PANEL)
        axes.barh(middle, value, 0.56, color=mark or "#aab2ba")
        weight = "bold" if mark else "normal"
        style = {"va": "center", "color": INK, "size": 8.5 if rows <= 12 else 7.5, "parse_math": False}
        style |= {"transform": axes.get_yaxis_transform(), "weight": weight}
        axes.text(-0.05, middle, elide(name, 19), ha="right", **style)
        text = f"{value:.1%}" if percent else f"{value:+.2f}"
        axes.text(1.04, middle, text, ha="left", **style)
    if low < 0:
        axes.axvline(0, color=MUTED, lw=0.8)
    if not values:
        axes.text(0, 0.5, "none", va="center", color=MUTED, size=8.5)


def _clip_header(figure: Figure, result: Mapping[str, Any], events: Sequence) -> None:
    name = elide(Path(str(result.get("path") or "clip")).name or "clip", 64, middle=True)
    add_text(figure, MARGIN, 0.5, name, 14, color=INK, weight="bold")
    count = f"{len(events)} event{'' if len(events) == 1 else 's'}" if events else "no event found"
    frames, fps = result.get("frames"), result.get("fps")
    facts = [f"{frames} frames" if frames else "", f"{fps:.4g} fps" if fps else ""]
    facts += [f"{frames / fps:.2f} s" if frames and fps else "", count]
    add_text(figure, MARGIN, 0.78, "   ·   ".join(fact for fact in facts if fact))
    warnings = [elide(text, 150) for text in result.get("warnings") or ()]
    if warnings:
        more = f"   (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        add_text(figure, MARGIN, 0.98, f"warning: {elide(warnings[0], 120)}{more}", 8, color="#a34700")


def _timeline(
    figure: Figure, result: Mapping[str, Any], score: ArrayLike | None, threshold: float | None, height: float
) -> None:
    axes = _axes(figure, "timeline", MARGIN, 1.15, WIDTH - 2 * MARGIN, height)
    fps = float(result.get("fps") or 25.0)
    curve = np.ma.masked_invalid(np.asarray([] if score is None else score, float))
    events = [(e, *keyframe_seconds(e, fps)) for e in result.get("events", ())]
    end = max([(result.get("frames") or len(curve)) / fps, 1 / fps, *(offset for *_, offset in events)])
    top = _score_curve(axes, curve, threshold, fps) if curve.count() else 1.0
    axes.set(xlim=(0, end), ylim=(0, top * 1.42))
    _spans(axes, events, label_colours(result_labels(result)), end, top)
    axes.spines["bottom"].set(visible=True, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(10))
    axes.tick_params(axis="x", colors=MUTED, labelsize=8, length=3)
    axes.set_xlabel("seconds", color=MUTED, fontsize=8, labelpad=2)


def _score_curve(axes: Axes, curve: NDArray, threshold: float | None, fps: float) -> float:
    """Draws the curve; returns the height that has to be seen."""
    seconds = np.arange(len(curve)) / fps
    axes.plot(seconds, curve, color=INK, lw=1.1, solid_joinstyle="round", label="score")
    style = {"size": 7, "color": MUTED, "va": "bottom", "ha": "right"}
    if threshold is not None and np.isfinite(threshold):
        axes.axhline(threshold, color=MUTED, lw=0.8, ls=(0, (4, 3)), label="threshold")
        axes.text(0.998, threshold, "threshold", transform=axes.get_yaxis_transform(), **style)
        return max(float(curve.max()), 1.15 * threshold, 1e-9)
    return max(float(curve.max()), 1e-9)


def _spans(axes: Axes, events: Sequence[tuple], colours: Mapping[str, str], end: float, top: float) -> None:
    """Events shaded from onset to offset, apex as a line; names in lanes, clear of each other."""
    free = [-np.inf] * LANES
    for number, (event, onset, apex, offset) in enumerate(events, 1):
        colour = colours[event["label"]]
        axes.axvspan(onset, offset, ymax=1 / 1.42, color=colour, alpha=0.22, lw=0, gid=f"event {number}")
        axes.plot([apex, apex], [0, top], color=colour, lw=1.5)
        text = f"{number} {elide(event['label'], 20)}"
        width = 0.0072 * end * (len(text) + 2)
        start = min(max(onset, 0), end - width)
        lane = next((i for i, taken in enumerate(free) if taken <= start), None)
        if lane is None:  # too crowded for a name; the number at the apex still leads to its panel
            axes.text(apex, top, str(number), size=5.5, color=MUTED, ha="center", va="bottom")
            continue
        free[lane] = start + width
        y = top * (1.06 + 0.12 * lane)
        axes.add_patch(Rectangle((start, y), 0.006 * end, 0.075 * top, color=colour, lw=0))
        style = {"size": 8, "color": INK, "va": "center", "parse_math": False}
        axes.text(start + 0.01 * end, y + 0.0375 * top, text, **style)


def _panels(figure: Figure, result: Mapping[str, Any], numbered: Sequence[tuple], top: float) -> None:
    fps, width = float(result.get("fps") or 25.0), (WIDTH - 2 * MARGIN - 0.4) / 2
    colours = label_colours(result_labels(result))
    for index, (number, event) in enumerate(numbered[:MAX_PANELS]):
        left, y = MARGIN + (index % 2) * (width + 0.4), top + PANEL_HEIGHT * (index // 2)
        _swatch(figure, left, y + 0.01, 0.11, colours[event["label"]])
        seconds = keyframe_seconds(event, fps)
        title = f"{number}  {elide(event['label'], 24)}  {event['scores'][event['label']]:.0%}"
        add_text(figure, left + 0.18, y, title, 9, color=INK, weight="bold")
        add_text(figure, left + width, y, "–".join(f"{s:.2f}" for s in seconds[::2]) + " s", 8, ha="right")
        _compact(figure, number, event, left, y + 0.09, width)
    if len(numbered) > MAX_PANELS:
        hidden = len(numbered) - MAX_PANELS
        add_text(
            figure, MARGIN, figure.get_figheight() - 0.2, f"{hidden} more event{'s' * (hidden > 1)} not shown"
        )


def _compact(figure: Figure, number: int, event: Mapping, left: float, top: float, width: float) -> None:
    onset, apex = crop_pair(event["onset_image"], event["apex_image"])
    images = {"onset": onset, "apex": apex, "difference": magnify(onset, apex, FACTOR)}
    if _explained(event):
        images["explanation"] = explanation_picture(onset, event["decoded_motion"], event["saliency"])[0]
    images["tokens"] = None
    side = (width - (len(images) - 1) * 0.08) / len(images)
    for index, (name, image) in enumerate(images.items()):
        axes = _axes(figure, f"{name} {number}", left + index * (side + 0.08), top, side, side)
        if image is None:
            draw_tokens(axes, event, onset, compact=True)
        else:
            _show(axes, image)
    if event.get("explanation"):
        add_text(figure, left, top + side + 0.14, elide(event["explanation"]["sentence"], 84), 7.5, color=INK)

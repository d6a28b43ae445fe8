"""What every picture of a result shares: the colours of labels, short texts, and a check of what is drawn."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

INK, MUTED, PANEL = "#1d2329", "#6b747d", "#f3f4f6"
ACCENT = "#f0a202"
"""Attention and motion: an amber that stands out from skin, from grey, and from every label's colour."""

# The first three are Okabe & Ito's (2008). The others were searched for, so that no two classes of one scheme
# in `dface_hf.actions` come closer than CIELAB distance 20 under protanopia or deuteranopia (tested).
_KNOWN = {
    "negative": "#d55e00",
    "anger": "#d55e00",
    "positive": "#009e73",
    "happiness": "#009e73",
    "surprise": "#0072b2",
    "others": "#a9b2b9",
    "disgust": "#683e00",
    "fear": "#443db4",
    "sadness": "#00bfe9",
    "contempt": "#632c39",
    "repression": "#005742",
    "tense": "#911119",
}
_CYCLE = tuple(dict.fromkeys(colour for name, colour in _KNOWN.items() if name != "others"))


def label_colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label, the same for the same labels in the same order.

    Args:
        labels: Any class names; those of the usual emotions have colours of their own.

    Returns:
        Label -> "#rrggbb". Colours repeat only when there are more labels than colours.
    """
    labels = list(dict.fromkeys(labels))
    colours = {label: _KNOWN[label.lower()] for label in labels if label.lower() in _KNOWN}
    free = [colour for colour in _CYCLE if colour not in colours.values()] or list(_CYCLE)
    strangers = [label for label in labels if label not in colours]
    return colours | {label: free[index % len(free)] for index, label in enumerate(strangers)}


def result_labels(result: Mapping[str, Any]) -> list[str]:
    """All class names of a clip result, in the order of its scores."""
    names = (name for event in result.get("events", ()) for name in (*event["scores"], event["label"]))
    return list(dict.fromkeys(names))


def rgb(colour: str) -> tuple[int, int, int]:
    """The three bytes of "#rrggbb"."""
    return tuple(bytes.fromhex(colour[1:]))


def readable_on(colour: str) -> str:
    """Ink or white, whichever contrasts more with a background (relative luminance of WCAG 2)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if (luminance + 0.05) ** 2 > 0.065 * 1.05 else "#ffffff"


def elide(text: object, length: int = 40, *, middle: bool = False) -> str:
    """One printable line of at most `length` characters, shortened at the end or in the middle."""
    line = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    line = " ".join(line.split())
    if len(line) <= length:
        return line
    tail = (length - 1) // 2 if middle else 0
    return line[: length - 1 - tail].rstrip() + "…" + (line[-tail:] if tail else "")


def token_grid_side(count: int) -> int:
    """Cells along one side of the token grid; token k stands in row k // side and column k % side.

    Raises:
        ValueError: `count` is not a square number.
    """
    side = math.isqrt(count)
    if side * side != count or side == 0:
        raise ValueError(f"{count} action_ids do not fill a square grid; expected 16 (4 x 4)")
    return side


def attention_strength(attention: Sequence[float]) -> list[float]:
    """How strongly each token is marked, in [0, 1]: full at the largest weight, or at a quarter of all
    attention where none reaches it, so that even attention looks even and pale."""
    full = max(0.25, *attention)
    return [max(0.0, weight) / full for weight in attention]


def check_event(event: Mapping[str, Any], number: int = 1) -> None:
    """Refuse an event that cannot be drawn.

    Args:
        event: One of the events of a clip result.
        number: Its place in the clip, from 1, for the message.

    Raises:
        ValueError: A field is missing, not finite, or does not fit the others.
    """
    where = f"event {number}"
    missing = {"onset", "apex", "offset", "label", "scores", "action_ids", "attention"} - set(event)
    if missing:
        raise ValueError(f"{where}: no {', '.join(sorted(missing))}")
    if not 0 <= event["onset"] < event["apex"] <= event["offset"]:
        span = [event[key] for key in ("onset", "apex", "offset")]
        raise ValueError(f"{where}: onset, apex, offset are {span}; expected 0 <= onset < apex <= offset")
    token_grid_side(len(event["action_ids"]))
    if len(event["attention"]) != len(event["action_ids"]):
        raise ValueError(
            f"{where}: {len(event['attention'])} attention weights, {len(event['action_ids'])} ids"
        )
    if event["label"] not in event["scores"]:
        raise ValueError(f"{where}: label {event['label']!r} has no score among {sorted(event['scores'])}")
    numbers = {"attention": event["attention"], "scores": event["scores"].values()}
    numbers["similarities"] = (event.get("similarities") or {}).values()
    for field, values in numbers.items():
        if wrong := [value for value in values if not math.isfinite(value)]:
            raise ValueError(f"{where}: {field} holds {wrong[0]}; expected finite numbers")


def keyframe_seconds(event: Mapping[str, Any], fps: float) -> tuple[float, float, float]:
    """Onset, apex and offset in seconds; from the frame numbers where the event has no seconds of its own."""
    return tuple(
        float(event[key] / fps if event.get(f"{key}_s") is None else event[f"{key}_s"])
        for key in ("onset", "apex", "offset")
    )


def describe_stabilisation(stabilisation: Mapping[str, Any] | None) -> str:
    """The head motion that was taken out of an apex frame, in one line; empty when nothing is known."""
    parts = []
    for name, value in (stabilisation or {}).items():
        if isinstance(value, bool):
            parts.append(f"{name} {'yes' if value else 'no'}")
        elif isinstance(value, (int, float)):
            parts.append(f"{name} {value:.4g}")
        elif isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value):
            parts.append(f"{name} ({', '.join(f'{v:.3g}' for v in value)})")
        elif isinstance(value, str):
            parts.append(f"{name} {elide(value)}")
    return " · ".join(part.replace("_", " ") for part in parts)

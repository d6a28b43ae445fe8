"""A result as a small web page: one file, no script, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import jinja2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dface_hf.actions import get_action_unit
from dface_hf.whole_files import whole_file, write_text

from .layout import save_figure
from .pictures import crop_pair, explanation_picture, magnify, motion_picture
from .plots import FACTOR, plot_clip, plot_event
from .style import (
    attention_strength,
    check_event,
    describe_stabilisation,
    elide,
    keyframe_seconds,
    label_colours,
    result_labels,
    token_grid_side,
)

MAX_PICTURED = 24
"""Events shown with pictures; all of them are in the table."""

WEIGHTY = 6
"""Tokens listed with their weight."""

Images = Sequence[tuple[NDArray, NDArray] | None]


def write_report(
    folder: str | os.PathLike,
    result: Mapping[str, Any],
    images: Images | None = None,
    video: str | os.PathLike | None = None,
    title: str = "Facial actions in a clip",
    model_name: str = "",
    notes: Sequence[str] = (),
    score: ArrayLike | None = None,
    threshold: float | None = None,
) -> Path:
    """Write `report.html`, and the same in short as `report.png`, into a folder.

    Args:
        folder: Made when it does not exist.
        result: A clip result.
        images: For each event its aligned crops (onset, apex), (S, S, 3) uint8 RGB, or None. Those in the
            events (`onset_image`, `apex_image`) when not given.
        video: A video to play on the page, such as the overlay; copied into the folder unless it lies there.
        title: Heading of the page.
        model_name: What the result was computed with.
        notes: Further paragraphs, plain text.
        score: (T,) score curve, one value a frame; `result["score"]` when not given.
        threshold: What its peaks had to pass; `result["threshold"]` when not given.

    Returns:
        Path of the page.

    Raises:
        ValueError: The result or the crops cannot be drawn; the message names the event.
        OSError: The folder cannot be written, or the video cannot be read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    result = _with_images(result, images)
    save_figure(_summary(result, score, threshold), folder / "report.png")
    page = _template().render(
        title=elide(title, 120),
        model_name=model_name,
        notes=[str(note) for note in notes],
        video=_video(folder, video) if video is not None else None,
        **report_values(result, score, threshold),
    )
    # "replace": a file name that is not valid Unicode must not cost the page.
    write_text(folder / "report.html", page.encode("utf-8", "replace").decode("utf-8"))
    return folder / "report.html"


def report_values(
    result: Mapping[str, Any], score: ArrayLike | None = None, threshold: float | None = None
) -> dict[str, Any]:
    """What a page tells about a clip, ready for a template: positions in percent, pictures as data URIs.

    Args:
        result: A clip result whose events may hold their crops, as `write_report` takes it.
        score: (T,) score curve; `result["score"]` when not given.
        threshold: What its peaks had to pass; `result["threshold"]` when not given.

    Returns:
        `clip` (name, path, facts, warnings), `timeline` (spans, ticks, line, curve), `events`, `hidden` (how
        many have no pictures) and `factor` (of the magnified difference).

    Raises:
        ValueError: An event cannot be drawn; the message names it.
    """
    for number, event in enumerate(result["events"], 1):
        check_event(event, number)
    score = result.get("score") if score is None else score
    threshold = result.get("threshold") if threshold is None else threshold
    return {
        "clip": _clip(result),
        "timeline": _timeline(result, score, threshold),
        "events": _events(result),
        "hidden": max(0, len(result["events"]) - MAX_PICTURED),
        "factor": FACTOR,
    }


def _with_images(result: Mapping[str, Any], images: Images | None) -> dict[str, Any]:
    """The result, its crops inside its events."""
    events = [dict(event) for event in result.get("events", ())]
    if images is not None:
        if len(images) != len(events):
            raise ValueError(
                f"{len(images)} pairs of images for {len(events)} events; give one, or None, for each"
            )
        for event, pair in zip(events, images, strict=True):
            event["onset_image"], event["apex_image"] = pair if pair is not None else (None, None)
    return {**result, "events": events}


def _summary(result: Mapping[str, Any], score: ArrayLike | None, threshold: float | None) -> Any:
    events = result["events"]
    if len(events) == 1 and events[0].get("onset_image") is not None:
        return plot_event(events[0], events[0]["onset_image"], events[0]["apex_image"])
    return plot_clip(result, score, threshold)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _clip(result: Mapping[str, Any]) -> dict[str, Any]:
    frames, fps = result.get("frames"), result.get("fps")
    path = str(result.get("path") or "")
    facts = [f"{frames} frames" if frames else "", f"{fps:.4g} frames a second" if fps else ""]
    facts += [f"{frames / fps:.2f} seconds" if frames and fps else "", _count(len(result["events"]))]
    return {
        "name": Path(path).name or "clip",
        "path": path,
        "facts": [fact for fact in facts if fact],
        "warnings": [str(warning) for warning in result.get("warnings") or ()],
    }


def _count(events: int) -> str:
    return "no event found" if events == 0 else f"{events} event{'s' * (events > 1)}"


def _timeline(result: Mapping[str, Any], score: ArrayLike | None, threshold: float | None) -> dict[str, Any]:
    """Positions in percent of the width, heights in percent of the height (y down)."""
    fps = float(result.get("fps") or 25.0)
    colours = label_colours(result_labels(result))
    curve = np.asarray([] if score is None else score, float)
    keyframes = [keyframe_seconds(event, fps) for event in result["events"]]
    end = max([(result.get("frames") or len(curve)) / fps, 1 / fps, *(k[2] for k in keyframes)])
    spans = [
        {
            "left": 100 * onset / end,
            "width": max(0.15, 100 * (offset - onset) / end),
            "apex": 100 * apex / end,
            "colour": colours[event["label"]],
            "title": f"{number} {event['label']} {onset:.2f}-{offset:.2f} s",
        }
        for number, (event, (onset, apex, offset)) in enumerate(
            zip(result["events"], keyframes, strict=True), 1
        )
    ]
    known = curve[np.isfinite(curve)]
    level = threshold if threshold is not None and math.isfinite(threshold) else 0.0
    top = 1.08 * max([float(known.max()) if known.size else 0.0, level, 1e-9])
    ticks = [{"left": 100 * t / end, "text": f"{t:g}"} for t in _ticks(end)]
    line = 100 * (1 - level / top) if level > 0 and known.size else None
    return {"spans": spans, "ticks": ticks, "line": line, "curve": _polylines(curve, fps, end, top)}


def _ticks(end: float) -> list[float]:
    """About six round times in [0, end] seconds."""
    rough = end / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(step for m in (1, 2, 5, 10) if (step := m * power) >= rough)
    return [round(i * step, 9) for i in range(int(end / step + 1e-9) + 1)]


def _polylines(curve: NDArray, fps: float, end: float, top: float, points: int = 1500) -> list[str]:
    """The score curve as SVG points in a 100 x 100 box, one line for each stretch without gaps.

    Long videos are thinned to the highest score of each group of frames, so that no peak is lost.
    """
    group = max(1, math.ceil(len(curve) / points))
    chunks = [curve[i : i + group] for i in range(0, len(curve), group)]
    lines, current = [], []
    for index, chunk in enumerate(chunks):
        known = chunk[np.isfinite(chunk)]
        if known.size:
            x, y = 100 * index * group / fps / end, 100 * (1 - max(0.0, known.max()) / top)
            current.append(f"{x:.2f},{y:.2f}")
        if current and (not known.size or index == len(chunks) - 1):
            lines.append(" ".join(current))
            current = []
    return lines


def _events(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    colours = label_colours(result_labels(result))
    fps = float(result.get("fps") or 25.0)
    return [_event(n, event, colours, fps) for n, event in enumerate(result["events"], 1)]


def _event(number: int, event: Mapping[str, Any], colours: Mapping[str, str], fps: float) -> dict[str, Any]:
    box, confidence = event.get("box"), event.get("confidence")
    similarities = event.get("similarities") or {}
    widest = max([0.25, *map(abs, similarities.values())])
    return {
        "number": number,
        "label": event["label"],
        "colour": colours[event["label"]],
        "score": event["scores"][event["label"]],
        "frames": [event[key] for key in ("onset", "apex", "offset")],
        "seconds": keyframe_seconds(event, fps),
        "confidence": None if confidence is None else f"{confidence:.2f}",
        "box": None if box is None else ", ".join(f"{value:g}" for value in box),
        "stabilisation": describe_stabilisation(event.get("stabilisation")),
        "side": token_grid_side(len(event["action_ids"])),
        "tokens": list(
            zip(event["action_ids"], event["attention"], attention_strength(event["attention"]), strict=True)
        ),
        "scores": [(name, value, colours[name]) for name, value in event["scores"].items()],
        "similarities": [
            (name, value, max(0.0, min(value, 0.0) / widest * 50 + 50), abs(value) / widest * 50)
            for name, value in similarities.items()
        ],
        "nearest": max(similarities, key=similarities.get, default=None),
        "pictures": _pictures(event) if number <= MAX_PICTURED else None,
        "explanation": _explanation(event),
    }


def _explanation(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Sentence, units and tokens with the widths of their bars in percent, and the picture if it is known."""
    told = event.get("explanation")
    if not told:
        return None
    units, tokens = told["action_units"], told["tokens"][:WEIGHTY]
    widest = max([1e-9, *(px for sides in units.values() for px in sides.values())])
    heaviest = max([1e-9, *(abs(token["weight"]) for token in tokens)])
    return {
        "sentence": told["sentence"],
        "agreement": told.get("agreement"),
        "units": [
            (unit, get_action_unit(int(unit.removeprefix("AU"))).name, side, px, 100 * px / widest)
            for unit, sides in units.items()
            for side, px in sides.items()
        ],
        "tokens": [(token, 100 * max(0.0, token["weight"]) / heaviest) for token in tokens],
        "picture": _explanation_picture(event),
    }


def _explanation_picture(event: Mapping[str, Any]) -> dict[str, Any] | None:
    if event.get("decoded_motion") is None or event.get("onset_image") is None:
        return None
    picture, times = explanation_picture(event["onset_image"], event["decoded_motion"], event["saliency"])
    return {"image": _data_uri(picture), "times": times}


def _pictures(event: Mapping[str, Any]) -> dict[str, Any] | None:
    if event.get("onset_image") is None:
        return None
    onset, apex = crop_pair(event["onset_image"], event["apex_image"])
    motion, times, longest = motion_picture(onset, apex)
    return {
        "onset": _data_uri(onset),
        "apex": _data_uri(apex),
        "difference": _data_uri(magnify(onset, apex, FACTOR)),
        "motion": _data_uri(motion),
        "arrows": f"arrows × {times}, longest {longest:.2f} px of the crop",
    }


def _data_uri(image: NDArray[np.uint8]) -> str:
    """PNG, not JPEG: compression would add differences as large as the motion to be seen."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _video(folder: Path, video: str | os.PathLike) -> str:
    """Relative address of the video, copied beside the page where it lies elsewhere."""
    source, target = Path(video), folder / Path(video).name
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such video")
    if source.resolve() != target.resolve():
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
    return "./" + quote(os.fsencode(target.name))

"""The tab Action units: a clip in; the units of its events out, by AC4AU and by optical flow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gradio as gr

from dface_hf.actions import get_action_unit
from dface_hf.analysis.report import report_values

from .engine import UNITS_CHECKPOINT, on_gpu, recogniser, unit_detector
from .limits import MAX_SECONDS, check_clip, plain_errors
from .look import HEAVY, PRIVATE, chips, scroll_to
from .pages import data_uri, fill
from .recognise import PICTURED, Bar, check_sensitivity, flow_bars
from .samples import CLIPS, clip_example

KEPT = ("onset", "offset", "onset_s", "offset_s", "frames_read", "action_units", "active", "explanation")
EMPTY = """<section class="dface empty"><p>Choose a clip: then each of its events gets a score for each of
twelve action units, beside what the optical flow tells.</p></section>"""


def action_units(video: str | None, sensitivity: float) -> tuple[dict[str, Any], str]:
    """Find the events of a clip, micro and longer ones, and read their action units.

    Args:
        video: Path of the clip.
        sensitivity: 0.25 to 4; larger finds more events.

    Returns:
        The result without pictures, and the page.
    """
    with plain_errors():
        result = _detect(check_clip(video), check_sensitivity(sensitivity))
        events = [{name: event[name] for name in KEPT if name in event} for event in result["events"]]
        record = {"model": os.path.basename(UNITS_CHECKPOINT), "clip": os.path.basename(result["path"])}
        record |= {name: result[name] for name in ("fps", "frames", "warnings")}
        return record | {"unit_threshold": _threshold(), "events": events}, show(result)


@on_gpu
def _detect(clip: str, sensitivity: float) -> dict[str, Any]:
    """D-FACE finds the events and measures their flow; AC4AU reads the frames of the same events."""
    options = {"kinds": ("micro", "macro"), "sensitivity": sensitivity}
    result = recogniser()(clip, **options)
    read = unit_detector()(clip, events=result["events"], return_images=True)
    return result | {"events": read["events"]}


def _threshold() -> float:
    return unit_detector().model.config.unit_threshold


def show(result: dict[str, Any]) -> str:
    """A result as a part of the page; events hold the frames that were read as `images`."""
    values = report_values(result)
    for shown, event in zip(values["events"], result["events"][:PICTURED], strict=False):
        shown["film"] = [data_uri(image, ".webp") for image in event["images"]]
        shown["unit_rows"], shown["active"] = _unit_bars(event)
        shown["flow_rows"] = flow_bars(shown["explanation"]) if shown["explanation"] else []
    values["hidden"] = max(0, len(result["events"]) - PICTURED)
    seconds = result["frames"] / result["fps"]
    return fill("units", seconds=seconds, percent=100 * _threshold(), **values)


def _unit_bars(event: dict[str, Any]) -> tuple[list[Bar], list[str]]:
    """A bar for each unit, and the names of those that are active, which have a mark."""
    rows, active = [], []
    for unit, score in event["action_units"].items():
        name = f"{unit} {get_action_unit(int(unit.removeprefix('AU'))).name}"
        is_active = unit in event["active"]
        active += [name] * is_active
        rows.append((name, 0, 100 * score, f"{'✓ ' * is_active}{100 * score:.0f} %"))
    return rows, active


def caveat() -> str:
    """How far the checkpoint can be trusted, by the scores in its own report."""
    report = json.loads(Path(UNITS_CHECKPOINT, "report.json").read_text(encoding="utf-8"))
    return fill("caveat", name=report["name"], scores=report["units"])


def build() -> None:
    """The tab's components and what they do."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            video, sensitivity, run, examples = _build_inputs()
        with gr.Column(scale=7, min_width=300):
            gr.HTML(caveat(), padding=False)
            page = gr.HTML(EMPTY, elem_id="units", padding=False)
            with gr.Accordion("Numbers (JSON)", open=False):
                record = gr.JSON(label="Result")
    asked = {"fn": action_units, "inputs": [video, sensitivity], "outputs": [record, page]}
    asked |= {"show_progress_on": page, **HEAVY}
    done = [run.click(**asked, api_name="action_units")]
    for button in examples:
        taken = button.click(clip_example, button, video, show_progress_on=video, **HEAVY, **PRIVATE)
        done.append(taken.success(**asked, **PRIVATE))
    for one in done:
        one.success(js=scroll_to("units"), **PRIVATE)


def _build_inputs():
    label = f"Face video, up to {MAX_SECONDS} s"
    video = gr.Video(label=label, sources=["upload", "webcam"], elem_id="acting")
    run = gr.Button("Detect action units", variant="primary", elem_id="detect")
    gr.Markdown("**No video at hand?** Take an example:", elem_classes="tight")
    examples = chips(CLIPS)
    with gr.Accordion("Settings", open=False):
        told = "Larger finds more events, and more false ones."
        sensitivity = gr.Slider(0.25, 4, 1, step=0.25, label="Sensitivity", info=told)
    return video, sensitivity, run, examples

"""The tab Recognise: a clip in; its events with tokens, scores and descriptions out."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import gradio as gr
import torch

from dface_hf.analysis.report import report_values
from dface_hf.pipelines.records import document

from .engine import CHECKPOINT, classifier, on_gpu, reads_text, recogniser, text_encoder
from .limits import MAX_DESCRIPTION, MAX_DESCRIPTIONS, MAX_SECONDS, check_clip, plain_errors, refuse
from .look import HEAVY, PRIVATE, chips, scroll_to
from .pages import fill
from .samples import CLIPS, clip_example
from .tokens import read_tokens, write_tokens

PICTURED = 6
IDEAS = "a surprised face\na happy face\na frown"
EMPTY = """<section class="dface empty"><ol class="steps">
<li><span><b>When</b>: a timeline of the face's motion, and the moments that stand out.</span></li>
<li><span><b>Where and how</b>: rest and apex side by side, what changed, and sixteen tokens.</span></li>
<li><span><b>Which</b>: scores of four classes, and the closest description in words.</span></li>
</ol></section>"""
NO_TEXT = "⚠️ The text encoder is not installed here: sentences cannot be compared (`dface-hf[text]`)."

Bar = tuple[str, float, float, str]  # name, left edge and width in percent, number


def recognise(video: str | None, sensitivity: float, longer: bool) -> tuple[dict[str, Any], str, str]:
    """Find the events of a clip and read them.

    Args:
        video: Path of the clip.
        sensitivity: 0.25 to 4; larger finds more events.
        longer: Also report expressions longer than half a second.

    Returns:
        The result without pictures, the page, and the tokens of the first event.
    """
    with plain_errors():
        kinds = ("micro", "macro") if longer else ("micro",)
        result = _analyse(check_clip(video), kinds, check_sensitivity(sensitivity))
        result["path"] = os.path.basename(result["path"])
        (clip,) = document("", [result])["clips"]
        # Not "path": Gradio takes whatever has one for a file.
        record = {"model": os.path.basename(CHECKPOINT), "clip": clip.pop("path"), **clip}
        first = next(iter(_choices(record)), ("", ""))
        return record, show(result), first[1]


def _choices(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and tokens of each event."""
    return [
        (f"{number} · {event['label']} at {event['apex_s']:.2f} s", write_tokens(event["action_ids"]))
        for number, event in enumerate(record["events"], 1)
    ]


def offer(record: dict[str, Any]) -> tuple[gr.Accordion, gr.Radio]:
    """Show the box for descriptions, and which event they are compared with where there are several."""
    choices = _choices(record)
    chosen = choices[0][1] if choices else None
    return gr.Accordion(open=bool(choices)), gr.Radio(choices, value=chosen, visible=len(choices) > 1)


@on_gpu
def _analyse(clip: str, kinds: tuple[str, ...], sensitivity: float) -> dict[str, Any]:
    options = {"kinds": kinds, "sensitivity": sensitivity}
    return recogniser()(clip, **options, return_images=True)


def check_sensitivity(sensitivity: float) -> float:
    """Refuse one that is out of range."""
    if not 0.25 <= sensitivity <= 4:
        raise refuse(f"The sensitivity is {sensitivity:g}; choose 0.25 to 4.")
    return float(sensitivity)


def show(result: dict[str, Any]) -> str:
    """A result with pictures as a part of the page."""
    for number, event in enumerate(result["events"], 1):
        if number > PICTURED:
            event["onset_image"] = None
    values = report_values(result)
    descriptions = classifier().config.anchor_texts
    for event in values["events"]:
        event["description"] = descriptions.get(event["nearest"])
        event["score_rows"] = [
            (name, 0, 100 * value, f"{100 * value:.1f} %") for name, value, _ in event["scores"]
        ]
        event["similarity_rows"] = [
            (name, left, width, f"{value:+.2f}") for name, value, left, width in event["similarities"]
        ]
        event |= _why(event["explanation"]) if event["explanation"] else {}
    values["hidden"] = max(0, len(result["events"]) - PICTURED)
    return fill("recognition", seconds=result["frames"] / result["fps"], **values)


def _why(told: dict[str, Any]) -> dict[str, Any]:
    """Bars of the action units, and of how much the label needs each token."""
    tokens = [
        (f"{token['position']} {token['region'] or ''}", 0, width, f"{token['weight']:+.2f}")
        for token, width in told["tokens"]
    ]
    one_sided = re.search("left|right", told["sentence"]) is not None
    return {"unit_rows": flow_bars(told), "token_rows": tokens, "one_sided": one_sided}


def flow_bars(told: dict[str, Any]) -> list[Bar]:
    """Bars of the action units that the optical flow shows, two a unit: the person's sides."""
    return [
        (f"{unit} {name}, {side}", 0, width, f"{px:.2f}") for unit, name, side, px, width in told["units"]
    ]


def describe(tokens: str | None, descriptions: str | None) -> str:
    """Compare an event's tokens with sentences, one a line; the closest comes first."""
    with plain_errors():
        lines = [line.strip() for line in (descriptions or "").splitlines() if line.strip()]
        if not lines:
            raise refuse("Write a description, such as: the inner brows are raised.")
        if len(lines) > MAX_DESCRIPTIONS or max(map(len, lines)) > MAX_DESCRIPTION:
            raise refuse(f"Give up to {MAX_DESCRIPTIONS} lines of up to {MAX_DESCRIPTION} characters each.")
        if not (tokens or "").strip():
            raise refuse("There is no event to compare with yet: analyse a clip first.")
        cosines = _similarities(read_tokens(tokens), text_encoder()(lines))
        widest = max(0.25, *map(abs, cosines))
        rows = [(line, min(c, 0) / widest * 50 + 50, abs(c) / widest * 50, f"{c:+.2f}")
                for c, line in sorted(zip(cosines, lines, strict=True), reverse=True)]  # fmt: skip
        return fill("comparison", rows=rows, learned=len(classifier().config.anchor_texts))


@on_gpu
@torch.inference_mode()
def _similarities(ids: list[int], words: torch.Tensor) -> list[float]:
    """Cosine of an action to the embeddings of sentences."""
    dface = classifier().dface
    embeds = dface(action_ids=torch.tensor([ids], device=dface.device)).action_embeds
    return dface.similarities(embeds, words.to(dface.device))[0].tolist()


class Tab(NamedTuple):
    """What other tabs need of this one."""

    tokens: gr.Textbox
    explore: gr.Button


def build() -> Tab:
    """The tab's components and what they do."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            video, sensitivity, longer, run, examples = _build_inputs()
        with gr.Column(scale=7, min_width=300):
            page = gr.HTML(EMPTY, elem_id="result", padding=False)
            with gr.Accordion("Compare with your own words", open=False, elem_id="words") as words:
                event, tokens, explore = _build_words()
            with gr.Accordion("Numbers (JSON)", open=False):
                record = gr.JSON(label="Result", elem_id="record")
    inputs, outputs = [video, sensitivity, longer], [record, page, tokens]
    named = gr.Textbox(visible=False, label="Name")
    gr.on([], clip_example, named, video, api_name="example_clip", **HEAVY)
    done = [run.click(recognise, inputs, outputs, api_name="recognise", show_progress_on=page, **HEAVY)]
    for button in examples:
        taken = button.click(clip_example, button, video, show_progress_on=video, **HEAVY, **PRIVATE)
        done.append(taken.success(recognise, inputs, outputs, show_progress_on=page, **HEAVY, **PRIVATE))
    for one in done:
        offered = one.success(offer, record, [words, event], queue=False, **PRIVATE)
        offered.success(js=scroll_to("result"), **PRIVATE)
    event.input(lambda tokens: tokens, event, tokens, queue=False, **PRIVATE)
    return Tab(tokens, explore)


def _build_inputs():
    video = gr.Video(label=f"Face video, up to {MAX_SECONDS} s", sources=["upload", "webcam"], elem_id="clip")
    run = gr.Button("Analyse", variant="primary", elem_id="analyse")
    gr.Markdown("**No video at hand?** Take an example:", elem_classes="tight")
    examples = chips(CLIPS)
    with gr.Accordion("Settings", open=False):
        told = "Larger finds more events, and more false ones."
        sensitivity = gr.Slider(0.25, 4, 1, step=0.25, label="Sensitivity", info=told)
        told = "Micro-expressions last half a second at most."
        longer = gr.Checkbox(True, label="Longer expressions, too", info=told)
    return video, sensitivity, longer, run, examples


def _build_words():
    """Which event, its tokens, sentences to compare it with, and the button to the other tab."""
    event = gr.Radio([], visible=False, label="Event", elem_id="event")
    told = "Descriptions of an expression, one a line"
    descriptions = gr.Textbox(IDEAS, label=told, lines=3, max_lines=8, elem_id="descriptions")
    if not reads_text():
        gr.Markdown(NO_TEXT)
    compare = gr.Button("Compare", elem_id="compare")
    similar = gr.HTML("", elem_id="similar", padding=False)
    told = "Sixteen codes, row by row: those of the event, or your own."
    tokens = gr.Textbox("", label="Tokens", info=told, elem_id="found")
    explore = gr.Button("Open these tokens in Explore", elem_id="to-explore", size="sm")
    compare.click(describe, [tokens, descriptions], similar, api_name="describe", **HEAVY)
    return event, tokens, explore

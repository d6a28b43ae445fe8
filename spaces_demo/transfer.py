"""The tab Transfer: the facial action of a clip, carried out by another face."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from dface_hf.faces.animation import write_animation
from dface_hf.pipelines.transfer import STRONGEST

from .acting import find_face
from .engine import on_gpu, transferrer
from .limits import MAX_SECONDS, check_clip, check_picture, picture_input, plain_errors, refuse
from .look import HEAVY, PLAIN_IMAGE, PRIVATE, chips
from .samples import CLIPS, FACES, STILL, clip_example, face_example

REST = 0.4  # seconds of the still picture before and after the action
NOTE = "Pixels are moved, not drawn: no teeth, no wrinkles. Only give faces of people who agreed."


def transfer(
    clip: str | None, face: str | None, strength: float, attended: bool
) -> Iterator[tuple[NDArray[np.uint8], str, str]]:
    """Carry the clearest action of a clip over to another face.

    Args:
        clip: Path of the source clip.
        face: Path of the target picture.
        strength: 0 to 3; 1 is as large as in the source.
        attended: Only those tokens that the classifier attends to.

    Yields:
        The picture at the apex, the path of a video, and one sentence. Once: the video lies in a folder that
        goes when the next value is asked for, by when Gradio has taken it into its own cache.
    """
    with plain_errors(), tempfile.TemporaryDirectory(prefix="dface-transfer-") as folder:
        if not 0 <= strength <= STRONGEST:
            raise refuse(f"The strength is {strength:g}; choose 0 to {STRONGEST:g}.")
        image = find_face(check_picture(face)).image
        result = _transfer(check_clip(clip), image, strength, "attended" if attended else "all")
        (moved,), fps = result["faces"], result["fps"]
        rest = np.zeros(round(REST * fps))
        path = Path(folder) / "transfer.mp4"
        write_animation(path, moved["motion"].frames([*rest, *result["levels"], *rest]), fps)
        yield moved["image"], str(path), _told(result)


@on_gpu
def _transfer(clip: str, image: NDArray[np.uint8], strength: float, tokens: str) -> dict:
    return transferrer()(clip, image, strength=strength, tokens=tokens)


def _told(result: dict) -> str:
    """What was transferred, in one sentence, and what to mind."""
    event, acting = result["event"], sum(code > 0 for code in result["action_ids"])
    told = (
        f"{event['label']} at {event['apex_s']:.2f} s of the clip, {acting} of {len(result['action_ids'])} "
        f"tokens, {len(result['levels']) / result['fps']:.2f} s long."
    )
    return " ".join([told, *(f"Mind: {warning}." for warning in result["warnings"])])


def build() -> None:
    """The tab's components and what they do."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            clip, face, strength, attended, run = _build_inputs()
        with gr.Column(scale=7, min_width=300):
            video = gr.Video(label="In motion", autoplay=True, loop=True, height=420, elem_id="moved")
            told = gr.Textbox(label="What was transferred", elem_id="told", interactive=False)
            picture = gr.Image(label="At the apex", elem_id="apex", **PLAIN_IMAGE)
            gr.Markdown(NOTE, elem_classes="tight")
    inputs, outputs = [clip, face, strength, attended], [picture, video, told]
    run.click(transfer, inputs, outputs, api_name="transfer", show_progress_on=video, **HEAVY)


def _build_inputs():
    label = f"Clip with the action, up to {MAX_SECONDS} s"
    clip = gr.Video(label=label, sources=["upload", "webcam"], elem_id="source")
    clips = chips([name for name in CLIPS if name != STILL])
    sources = ["upload", "webcam", "clipboard"]
    face = picture_input(label="Face that is to do it", sources=sources, elem_id="target", height=220)
    faces = chips(FACES)
    told = "1 is as large as in the clip."
    strength = gr.Slider(0, STRONGEST, 1.5, step=0.1, label="Strength", info=told)
    attended = gr.Checkbox(False, label="Only the tokens that the classifier attends to")
    run = gr.Button("Transfer", variant="primary", elem_id="transfer")
    for button in clips:
        button.click(clip_example, button, clip, **HEAVY, **PRIVATE)
    for button in faces:
        button.click(face_example, button, face, **HEAVY, **PRIVATE)
    return clip, face, strength, attended, run

"""The tab Explore tokens: choose a face, change one of its sixteen tokens, and see what moves."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np
from numpy.typing import NDArray

from dface_hf.analysis import motion_picture
from dface_hf.analysis.face_regions import main_region
from dface_hf.analysis.style import ACCENT, rgb
from dface_hf.faces import align

from .acting import CELLS, StillFace, act_out, arrows, find_face, flows, moving, redrawn
from .engine import on_gpu
from .limits import check_picture, picture_input, plain_errors, refuse
from .look import HEAVY, PLAIN_IMAGE, PRIVATE, chips
from .pages import data_uri, fill
from .samples import FACES, face_example
from .tokens import codebook_size, place, read_tokens, write_tokens

STRENGTH, STRONGEST = 1.5, 5.0
ONE, ROW = "this position", "its whole row"
# Expressions to start from: largest motion in px of a 128 px face by action unit.
STARTS = {
    "Brows up": {1: 2.5, 2: 2.5},
    "Smile": {6: 1.5, 12: 3.0},
    "Frown": {4: 2.5, 7: 1.0},
    "Wrinkle": {9: 2.5},
}
HEAT_FULL, STILL = 1.0, 0.05  # px of a 128 px face
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
# A click on a button of the page tells which one.
CHOOSE = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-number]');
  if (button) trigger('click', {number: Number(button.dataset.number)});
});"""
EMPTY = (
    '<section class="dface empty"><p>Choose a face: then its sixteen positions can be clicked.</p></section>'
)


class Shown(NamedTuple):
    """What the tab shows of an action: the picture, three parts of the page, and one sentence."""

    picture: NDArray[np.uint8]
    page: str
    grid: str
    palette: str
    told: str


def act(face: str | None, tokens: str, position: float, strength: float) -> Shown:
    """Carry out an action on a face.

    Args:
        face: Path of a picture.
        tokens: Sixteen codes, row by row; empty for the null action.
        position: 0 to 15, whose codes are shown to choose from.
        strength: 0 to 5, scales the motion.
    """
    with plain_errors():
        ids, path = read_tokens(tokens), check_picture(face)
        if not 0 <= position < len(ids):
            raise refuse(f"There is no position {position:g}; positions go from 0 to {len(ids) - 1}.")
        if not 0 <= strength <= STRONGEST:
            raise refuse(f"The strength is {strength:g}; choose 0 to {STRONGEST:g}.")
        return _act(find_face(path), ids, int(position), strength)


@on_gpu
def _act(face: StillFace, ids: list[int], position: int, strength: float) -> Shown:
    others = [ids[:position] + [code] + ids[position + 1 :] for code in range(codebook_size())]
    flow, *variants = flows(face, [ids, *others]).float().cpu().numpy()
    motion = moving(face, flow)
    level = min(strength, motion.most)
    picture = motion.at(level)
    told = _told(ids, flow, strength, level)
    drawn, times, longest = motion_picture(face.crop, align(picture, face.similarity, len(face.crop)))
    page = fill(
        "action",
        told=told,
        rest=data_uri(face.square(face.image), ".webp"),
        acting=data_uri(face.square(picture), ".webp"),
        motion=data_uri(drawn),
        arrows=f"arrows × {times}, longest {longest:.1f} px",
        heat=data_uri(_heat(face.crop, flow * level)),
        redrawn=data_uri(redrawn(face, ids)),
        size=len(face.crop),
        strength=level,
    )
    grid = fill("grid", ids=ids, position=position, face=data_uri(face.crop), places=[*map(place, range(16))])
    added = [arrows(variant - variants[0]) for variant in variants]
    return Shown(picture, page, grid, _palette(added, ids, position), told)


def _told(ids: list[int], flow: NDArray[np.float32], strength: float, level: float) -> str:
    """What moves, in one sentence; `flow` (S, S, 2) is backward, in aligned units."""
    if not any(ids):
        return "The null action: sixteen times code 0, and nothing moves."
    region = main_region(-64 * level * flow.transpose(2, 0, 1), least=STILL)
    most = (
        f"most of all the {region}: {_way(_strongest(arrows(flow) * level))}" if region else "nothing moves"
    )
    told = f"{sum(code > 0 for code in ids)} of {len(ids)} positions act; {most}."
    if level < strength:
        told += f" Strength {strength:g} would fold the face over itself: {level:.2g} is shown."
    return told


def _way(vector: NDArray[np.float32]) -> str:
    """A motion in words, in px of a 128 px face."""
    length = float(np.hypot(*vector))
    if length < STILL:
        return "still"
    eighth = round(math.atan2(vector[1], vector[0]) / (math.pi / 4)) % 8
    return f"{DIRECTIONS[eighth]}, {length:.1f} px of a 128 px face"


def _heat(crop: NDArray[np.uint8], flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Length of the motion as light on a dim face: full where it is largest, or from `HEAT_FULL` on."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    length = np.linalg.norm(flow, axis=-1)[..., None] * 64
    share = length / max(HEAT_FULL, float(length.max()))
    return np.rint((1 - share) * 0.45 * grey + share * np.array(rgb(ACCENT), np.float32)).astype(np.uint8)


def _palette(added: list[NDArray[np.float32]], ids: list[int], position: int) -> str:
    """All codes for a position, each with the motion that it adds there to that of the other tokens.

    One code among zeros moves little: the decoder reads the sixteen together. So arrows are scaled to the
    longest of them, whose length is told.
    """
    near = [_window(motion, position) for motion in added]
    longest = max(float(np.linalg.norm(motion, axis=-1).max()) for motion in near)
    codes = [
        {"number": number, "lines": _lines(motion / max(longest, 0.02)), "told": _way(_strongest(motion))}
        for number, motion in enumerate(near)
    ]
    values = {"codes": codes, "chosen": ids[position], "position": position, "place": place(position)}
    return fill("palette", longest=longest, **values)


def _window(motion: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """The half of the face, by height and by width, around a position: (CELLS / 2, CELLS / 2, 2)."""
    half = CELLS // 2
    low = (int(np.clip((2 * at + 1) * CELLS // 8 - half // 2, 0, half)) for at in divmod(position, 4))
    return motion[tuple(slice(first, first + half) for first in low)]


def _strongest(motion: NDArray[np.float32]) -> NDArray[np.float32]:
    return motion.reshape(-1, 2)[int(np.linalg.norm(motion, axis=-1).argmax())]


def _lines(motion: NDArray[np.float32]) -> list[list[float]]:
    """Arrows of a code's picture of 40 x 40: x1, y1, x2, y2; `motion` (n, n, 2) is 1 at most."""
    cell = 40 / len(motion)
    lines = []
    for row, column in np.ndindex(motion.shape[:2]):
        start = (np.array([column, row]) + 0.5) * cell
        end = start + motion[row, column] * cell * 1.5
        lines.append([round(float(value), 1) for value in (*start, *end)])
    return lines


def choose_position(face, tokens, strength, event: gr.EventData):
    """A click on the grid: the codes of that position."""
    return event.number, *act(face, tokens, event.number, strength)


def choose_code(face, tokens, position, strength, reach, event: gr.EventData):
    """A click on a code: it takes the place of the token at the chosen position, or of those in its row."""
    with plain_errors():
        ids, position = read_tokens(tokens), int(position)
        row = range(4 * (position // 4), 4 * (position // 4) + 4)
        for place_of_code in row if reach == ROW else [position]:
            ids[place_of_code] = int(event.number)
    return write_tokens(ids), *act(face, write_tokens(ids), position, strength)


def start_from(face: str | None, expression: str) -> str:
    """Tokens of an expression that is put on a face by its action units.

    Args:
        face: Path of a picture.
        expression: One of `STARTS`.
    """
    with plain_errors():
        if expression not in STARTS:
            raise refuse(f"There is no expression {expression!r}; there are {', '.join(STARTS)}.")
        return write_tokens(act_out(find_face(check_picture(face)), STARTS[expression]))


def first_tokens(face: str | None, tokens: str) -> str:
    """The tokens there are; for the first face, those of a smile, so that there is something to see."""
    return tokens if tokens.strip() else start_from(face, "Smile")


def first_face(face: str | None):
    """An example where there is no face yet."""
    return gr.skip() if face else face_example(FACES[0])


class Tab(NamedTuple):
    """What other tabs need of this one."""

    face: gr.Image
    tokens: gr.Textbox


def build(tab: gr.Tab) -> Tab:
    """The tab's components and what they do."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            face, faces, starts, null, reset, grid, strength, tokens = _build_inputs()
        with gr.Column(scale=7, min_width=300):
            gr.Markdown("**3. Choose its code** and see what changes:", elem_classes="tight")
            palette = gr.HTML("", elem_id="palette", js_on_load=CHOOSE, padding=False)
            reach = gr.Radio([ONE, ROW], value=ONE, label="The code goes to", elem_id="reach")
            page = gr.HTML("", elem_id="action", padding=False)
            picture = gr.Image(label="The whole picture in action", elem_id="acted", **PLAIN_IMAGE)
    told = gr.Textbox(visible=False, label="What moves")
    position = gr.Number(5, visible=False, precision=0, label="Position, 0 to 15")
    kept, shown = gr.State(""), [picture, page, grid, palette, told]
    quick = {"show_progress_on": page, **HEAVY}
    update = {"fn": act, "inputs": [face, tokens, position, strength], "outputs": shown, **quick}
    gr.on([tokens.submit], **update, api_name="act")
    update |= PRIVATE
    strength.release(**update)
    grid.click(choose_position, [face, tokens, strength], [position, *shown], **quick, **PRIVATE)
    changed = [face, tokens, position, strength, reach]
    palette.click(choose_code, changed, [tokens, *shown], **quick, **PRIVATE)
    _wire_starts(faces, starts, null, reset, tab, face, tokens, kept, update)
    return Tab(face, tokens)


def _build_inputs():
    sources = ["upload", "webcam", "clipboard"]
    face = picture_input(label="Face picture", sources=sources, elem_id="face", height=240)
    faces = chips(FACES)
    gr.Markdown("**1. Start** from an expression, or from nothing:", elem_classes="tight")
    starts = chips(STARTS)
    null, reset = chips(["Null action", "Reset"])
    gr.Markdown("**2. Click a position** on the face:", elem_classes="tight")
    grid = gr.HTML(EMPTY, elem_id="grid", js_on_load=CHOOSE, padding=False)
    strength = gr.Slider(0, STRONGEST, STRENGTH, step=0.1, label="Strength", elem_id="strength")
    told = "Sixteen codes, row by row; Enter applies them."
    tokens = gr.Textbox("", label="Tokens", info=told, elem_id="tokens")
    return face, faces, starts, null, reset, grid, strength, tokens


def _wire_starts(faces, starts, null, reset, tab, face, tokens, kept, update) -> None:
    """Faces and tokens to start from; `kept` are those that Reset goes back to."""
    quick = {**HEAVY, **PRIVATE}
    named = gr.Textbox(visible=False, label="Name")
    gr.on([], face_example, named, face, api_name="example_face", **HEAVY)
    gr.on([], start_from, [face, named], tokens, api_name="start_from", **HEAVY)
    chosen = [button.click(face_example, button, face, **quick).success for button in faces]
    chosen += [tab.select(first_face, face, face, **quick).success, face.input]
    begun = [follow(first_tokens, [face, tokens], tokens, **quick) for follow in chosen]
    begun += [button.click(start_from, [face, button], tokens, **quick) for button in starts]
    light = {"queue": False, **PRIVATE}
    begun += [null.click(lambda: write_tokens(read_tokens("")), None, tokens, **light)]
    for event in begun:
        event.success(lambda tokens: tokens, tokens, kept, **light)
        event.success(**update)
    reset.click(lambda kept: kept, kept, tokens, **light).success(**update)

"""`dface transfer` and `dface magnify`: a facial action on other faces, and larger on its own."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from dface_hf import DEFAULT_CHECKPOINT
from dface_hf.faces.video import VIDEOS

from .app import Detector, Device, Fps, Model, app, console

MOVING = (*VIDEOS, ".gif")
REST = 0.3  # seconds of rest before and after the action
ROOM = 1.2  # half the side of a cell of the grid, in half crops
SOURCE_ROOM = 0.66  # the same in widths of a face's box
AT_ONCE = 16  # frames held in memory


@app.command(
    epilog="Examples: `dface transfer clip.mp4 portrait.jpg` · "
    "`dface transfer clip.mp4 portrait.jpg --out apex.png --strength 2` · "
    "`dface transfer clip.mp4 a.png b.png drawing.png --out grid.gif` · "
    "`dface transfer long.mp4 portrait.jpg --onset 46 --apex 59`"
)
def transfer(
    clip: Annotated[str, typer.Argument(help="Video file or folder of numbered images.")],
    faces: Annotated[list[str], typer.Argument(metavar="FACE...", help="Pictures; several give a grid.")],
    out: Annotated[
        str, typer.Option(help="A video or .gif of the action, or a .png of its apex.")
    ] = "transfer.mp4",
    strength: Annotated[float, typer.Option(min=0, max=3, help="1 is as strong as in the clip.")] = 1.0,
    tokens: Annotated[
        str, typer.Option(help="all, or attended: only those with more than an even share of attention.")
    ] = "all",
    refine: Annotated[
        int, typer.Option(min=0, max=8, help="Gradient steps that make the result read as the source does.")
    ] = 2,
    onset: Annotated[int | None, typer.Option(help="Onset frame, counted from 0; with --apex.")] = None,
    apex: Annotated[int | None, typer.Option(help="Apex frame, counted from 0.")] = None,
    offset: Annotated[int | None, typer.Option(help="Offset frame, if known.")] = None,
    fps: Fps = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
    detector: Detector = "haar",
    sensitivity: Annotated[float, typer.Option(min=0.01, help="Larger finds more events.")] = 1.0,
) -> None:
    """Replay the facial action of a clip on other faces, each at its own size and in its own colours.

    One FACE gives its whole picture; several give a grid of faces, the clip's own first.
    """
    from dface_hf.pipelines.loading import load_pipeline
    from dface_hf.pipelines.records import check_target

    check_target(out, [clip, *faces], (*MOVING, ".png"))
    if tokens not in ("all", "attended"):
        raise typer.BadParameter(f"--tokens is {tokens!r}; choose all or attended")
    if (onset is None) != (apex is None) or (offset is not None and onset is None):
        raise typer.BadParameter("--onset and --apex go together; --offset goes with both")
    replay = load_pipeline("facial-action-transfer", model, device)
    options = {"onset": onset, "apex": apex, "offset": offset, "fps": fps, "sensitivity": sensitivity}
    options |= {"strength": strength, "tokens": tokens, "refine": refine, "detector": detector}
    result = replay(clip, faces, **options)
    _write(result, clip, out, fps)
    _tell(result, out)


@app.command(
    epilog="Examples: `dface magnify clip.mp4` · `dface magnify clip.mp4 --factor 8 --out large.gif` · "
    "`dface magnify clip.mp4 --onset 46`"
)
def magnify(
    clip: Annotated[str, typer.Argument(help="Video file or folder of numbered images.")],
    factor: Annotated[float, typer.Option(min=0, max=100, help="How many times larger.")] = 5.0,
    out: Annotated[str, typer.Option(help="A video or .gif.")] = "magnified.mp4",
    onset: Annotated[
        int | None, typer.Option(help="Frame of the face at rest, counted from 0.", show_default="found")
    ] = None,
    offset: Annotated[
        int | None, typer.Option(help="Frame at which the action is over.", show_default="found")
    ] = None,
    fps: Fps = None,
    detector: Detector = "haar",
    sensitivity: Annotated[float, typer.Option(min=0.01, help="Larger finds more events.")] = 1.0,
) -> None:
    """Magnify the motion of a face in a clip's clearest event: the face's own, not that of the head."""
    from dface_hf.faces.animation import write_animation
    from dface_hf.faces.magnification import magnify_motion
    from dface_hf.pipelines.records import check_target

    check_target(out, [clip], MOVING)
    if offset is not None and onset is None:
        raise typer.BadParameter("--offset goes with --onset")
    shown = magnify_motion(clip, factor, onset, offset, fps=fps, detector=detector, sensitivity=sensitivity)
    write_animation(out, _progress(shown.frames, len(shown), "magnify"), shown.fps)
    frames = f"frames {shown.start} to {shown.stop - 1} against frame {shown.onset}"
    print(f"{out}  {frames}  largest motion {shown.peak:.2f} px of a 128 px face, shown {factor:g} times")
    if shown.lost:
        told = f"{shown.lost} of {len(shown)} frames are as they were: the head moves too much, or is covered"
        console.print(told, markup=False, style="yellow")
    if shown.limited:
        told = f"{shown.limited} of {len(shown)} frames move less than {factor:g} times: the face would fold"
        console.print(told, markup=False, style="yellow")


def _write(result: dict, clip: str, out: str, fps: float | None) -> None:
    """The action with a moment of rest around it, or its apex: alone, or for a grid below the onset."""
    import numpy as np

    from dface_hf.faces.animation import tile, write_animation, write_picture

    faces, levels = [face["motion"] for face in result["faces"]], result["levels"]
    if Path(out).suffix.lower() == ".png":
        image = result["faces"][0]["image"]
        if len(faces) > 1:
            onset, apex = _cells(result, clip, [0, int(np.argmax(levels))], fps)
            (image,) = tile([onset + apex], columns=len(onset))
        return write_picture(out, image)
    rest = round(REST * result["fps"])
    moments = np.pad(np.arange(len(levels)), rest, mode="edge")
    alone = len(faces) == 1
    shown = faces[0].frames(levels[moments]) if alone else tile(_cells(result, clip, moments, fps))
    write_animation(out, _progress(shown, len(moments), "transfer"), result["fps"])


def _cells(result: dict, clip: str, moments: Iterable[int], fps: float | None) -> Iterator[list]:
    """For each moment, squares around the faces, the source's own first, as large as the smallest was."""
    from dface_hf.faces.animation import square_around

    faces, last = [face["motion"] for face in result["faces"]], len(result["levels"]) - 1
    halves = [ROOM * face.similarity.scale for face in faces]
    size = int(min(480, max(240, 2 * min(halves))))
    centres = [face.similarity((0.0, 0.0)) for face in faces]
    source = _source_squares(result, clip, size, fps)
    mirrored = len(source) <= last
    for moment in map(int, moments):
        moved = [face.at(float(result["levels"][moment])) for face in faces]
        squares = map(square_around, moved, centres, halves, [size] * len(faces))
        yield [source[min(moment, last - moment) if mirrored else moment], *squares]


def _source_squares(result: dict, clip: str, size: int, fps: float | None) -> list:
    """The clip's own face from onset to offset, cut out like the others."""
    from dface_hf.faces import open_frames
    from dface_hf.faces.animation import square_around

    event, frames, squares = result["event"], open_frames(clip, fps=fps), []
    x, y, width, height = event["box"]
    centre, half = (x + width / 2, y + height / 2), SOURCE_ROOM * width
    for start in range(event["onset"], event["offset"] + 1, AT_ONCE):
        read = frames.read(range(start, min(start + AT_ONCE, event["offset"] + 1)))
        squares += [square_around(read[index].image, centre, half, size) for index in sorted(read)]
    return squares


def _progress(frames: Iterable, count: int, name: str) -> Iterable:
    from tqdm import tqdm

    return tqdm(frames, desc=name, unit="frame", total=count, leave=False, disable=not sys.stderr.isatty())


def _tell(result: dict, out: str) -> None:
    event = result["event"]
    frames = f"frames {event['onset']}/{event['apex']}/{event['offset']}"
    read = f"{event['label']} {event['scores'][event['label']]:.2f}"
    ids = " ".join(str(code) for code in result["action_ids"])
    print(f"{out}  {len(result['faces'])} faces  {frames} of {result['path']}  {read}  tokens {ids}")
    for warning in result["warnings"]:
        console.print(warning, markup=False, style="yellow")

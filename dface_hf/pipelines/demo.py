"""The demonstration: a real portrait makes a micro-expression, and the pipeline reads it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch

from dface_hf.actions import active_units, describe_action_units
from dface_hf.analysis import write_report
from dface_hf.faces import fit_similarity, locate, make_detector, write_video
from dface_hf.synthesis import Event, NuisanceConfig, animate_portrait, draw_time_course

from .loading import load_recogniser

FPS = 60.0
# What a camera adds while the head is held still.
CAMERA = NuisanceConfig.none().but(noise=(0.5, 1.5), drift=0.3, rotation=0.1, gain=0.01)


def run_demo(folder: str | Path, model: str, expression: str, peak: float, seed: int) -> tuple[dict, Path]:
    """Animate scikit-image's public-domain portrait of an astronaut, analyse the clip and write a page.

    Args:
        folder: Where `clip.mp4`, `report.html` and `report.png` go.
        model: Checkpoint.
        expression: Action units in FACS notation, such as "1+2+5".
        peak: Largest motion in pixels of a 128 px face.
        seed: Of noise and time course.

    Returns:
        The clip's result, and the path of the page.

    Raises:
        ValueError: If the expression cannot be parsed or the checkpoint cannot be used.
    """
    recognise = load_recogniser(model)
    units = active_units(expression)
    if not units:
        raise ValueError(
            f"the expression {expression!r} names no action unit; give FACS notation such as 1+2+5"
        )
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; give a folder for the demonstration")
    folder.mkdir(parents=True, exist_ok=True)
    frames, truth = animate(skimage.data.astronaut(), units, peak, seed)
    video = folder / "clip.mp4"
    write_video(video, frames, FPS)
    result = recognise(str(video), return_images=True)
    told = [f"frames {event.onset} to {event.offset}, strongest at {event.apex}" for event in truth]
    notes = [
        f"The portrait was animated with action units {expression} ({describe_action_units(units)}), "
        f"up to {peak:g} px of a 128 px face: {'; '.join(told)}.",
        "Portrait: Eileen Collins, NASA, public domain, as shipped with scikit-image.",
    ]
    page = write_report(
        folder, result, video=video, title="A micro-expression, read", model_name=str(model), notes=notes
    )
    return result, page


def animate(
    image: np.ndarray, units: tuple[int, ...], peak: float, seed: int
) -> tuple[Iterator[np.ndarray], list[Event]]:
    """Frames of a portrait that rests, acts and rests again, and the true events."""
    face = make_detector("haar").detect(image)[0]
    matrix = fit_similarity(*locate(image, face)).matrix
    course = draw_time_course(torch.Generator().manual_seed(seed))
    rest = int(FPS)
    return animate_portrait(
        image,
        matrix,
        dict.fromkeys(units, peak),
        course,
        FPS,
        nuisances=CAMERA,
        seed=seed,
        before=rest,
        after=rest,
    )

"""Analyse an endless stream, such as a camera's, stretch by stretch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dface_hf.faces import ClipError, Frame


def watch(
    recognise: Callable[..., dict[str, Any]], frames: Iterable[Frame], window: float, seconds: float
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Analyse each stretch of a stream once it is complete; only its frames are held.

    Args:
        recognise: The pipeline, or anything that takes a list of images and `fps`.
        frames: The stream; its time stamps are what counts, not its rate.
        window: Seconds of a stretch.
        seconds: The stream is left after this long.

    Yields:
        Start of the stretch in seconds, and its result; one without events and with a warning where the
        stretch cannot be used, for example while no face is in view.
    """
    held: list[Frame] = []
    for frame in frames:
        held.append(frame)
        over = frame.seconds >= seconds
        if over or frame.seconds - held[0].seconds >= window:
            yield held[0].seconds, _analyse(recognise, held)
            held = []
        if over:
            return
    if held:
        yield held[0].seconds, _analyse(recognise, held)


def _analyse(recognise: Callable[..., dict[str, Any]], held: list[Frame]) -> dict[str, Any]:
    length = held[-1].seconds - held[0].seconds
    fps = (len(held) - 1) / length if length > 0 else 25.0
    try:
        return recognise([frame.image for frame in held], fps=fps)
    except ClipError as error:
        return {"path": "", "fps": fps, "frames": len(held), "events": [], "warnings": [str(error)]}

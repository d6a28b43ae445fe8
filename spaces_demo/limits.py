"""What a visitor may send, and how a refusal is told: one plain sentence, without a path of the server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import av
import gradio as gr
from PIL import Image

from dface_hf.faces import ClipError, open_frames

MAX_FILE = "30mb"
MAX_SECONDS = 20
MAX_FRAMES = 1_500
MAX_FRAME_PIXELS = 1920 * 1200
MAX_PICTURE_PIXELS = 24_000_000
MAX_DESCRIPTIONS, MAX_DESCRIPTION = 8, 200

# One job at a time for each of two cores; whoever finds a full queue is told so at once.
CONCURRENCY, QUEUE = 2, 24
DELETE_EVERY, DELETE_AFTER = 300, 3600  # seconds
SESSIONS = 500

logger = logging.getLogger(__name__)


def refuse(message: str) -> gr.Error:
    """An error that a visitor reads, without a traceback in the log."""
    return gr.Error(message, title="That did not work", print_exception=False)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what goes wrong inside into one sentence for the visitor.

    Raises:
        gr.Error: For a `ClipError`, whose path is left out, or for any other exception, which is logged.
    """
    try:
        yield
    except gr.Error:
        raise
    except ClipError as error:
        told = str(error).removeprefix(f"{error.path}: ")
        raise refuse(told[:1].upper() + told[1:] + ".") from None
    except Exception as error:  # noqa: BLE001 - a visitor must never see a traceback
        logger.exception("a request failed")
        raise refuse("Something went wrong on this side. Please try again, or try another file.") from error


def check_clip(path: str | None) -> str:
    """Refuse a clip that is missing, broken, too long or too large, before any of it is analysed.

    Returns:
        The path.

    Raises:
        gr.Error: It is missing, too long or too large.
        ClipError: It cannot be read.
    """
    if not path:
        raise refuse("There is no video yet. Upload one, record one, or take an example.")
    if not os.path.isfile(path):
        raise refuse("The video is not here any more: files are deleted after an hour. Upload it again.")
    frames, seconds, pixels = _measure(path)
    if seconds > MAX_SECONDS or frames > MAX_FRAMES:
        told = f"The clip has {frames} frames and lasts {seconds:.0f} s" if frames else "The clip is long"
        raise refuse(f"{told}; cut it to {MAX_SECONDS} s and {MAX_FRAMES} frames or less.")
    if pixels > MAX_FRAME_PIXELS:
        raise refuse(f"The frames have {pixels / 1e6:.1f} million pixels; Full HD (1920 x 1080) is the most.")
    open_frames(path)  # decodes the first frame: what cannot be shown is told here
    return path


def _measure(path: str) -> tuple[int, float, int]:
    """Frames, seconds and pixels a frame, read from the packets: recordings of browsers tell no length."""
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            pixels = stream.codec_context.width * stream.codec_context.height
            times = []
            for packet in container.demux(stream):
                if packet.pts is not None:
                    times.append(float(packet.pts * packet.time_base))
                if len(times) > MAX_FRAMES:
                    break
    except (av.FFmpegError, OSError, IndexError) as error:
        raise ClipError(
            path, "the file holds no readable video", "try another one, such as an MP4"
        ) from error
    return len(times), max(times) - min(times) if times else 0.0, pixels


def check_picture(path: str | None) -> str:
    """Refuse a picture that is missing or too large, by its header alone.

    Returns:
        The path.

    Raises:
        gr.Error: It is missing or too large.
    """
    if not path:
        raise refuse("There is no picture of a face yet. Upload one, or take an example.")
    if not os.path.isfile(path):
        raise refuse("The picture is not here any more: files are deleted after an hour. Upload it again.")
    try:
        with Image.open(path) as picture:
            pixels = picture.width * picture.height
    except (OSError, ValueError, Image.DecompressionBombError):
        raise refuse("This is not a picture that can be read. Give a PNG or JPEG file.") from None
    if pixels > MAX_PICTURE_PIXELS:
        raise refuse(f"The picture has {pixels / 1e6:.0f} million pixels; 24 million are the most.")
    return path


def picture_input(**options) -> gr.Image:
    """A `gr.Image` that hands over a path, and refuses what is no picture in plain words."""
    image = gr.Image(type="filepath", image_mode=None, **options)
    read = image.preprocess  # it opens the file before any handler sees it

    def preprocess(payload):
        try:
            return read(payload)
        except (OSError, ValueError, Image.DecompressionBombError):
            raise refuse("This is not a picture that can be read. Give a PNG or JPEG file.") from None

    image.preprocess = preprocess
    return image

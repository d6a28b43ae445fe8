"""The program itself: options that several commands share, and how errors are told."""

import io
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dface_hf import __version__

app = typer.Typer(
    name="dface",
    help="Facial-action tokens and micro-expressions from video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
# Standard output belongs to results; everything said to a person goes to standard error.
console = Console(stderr=True, highlight=False, soft_wrap=True)

Model = Annotated[
    str, typer.Option("--model", help="Checkpoint: folder or Hub id.", show_default="dface-mini")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; cpu by default.")]
Fps = Annotated[
    float | None,
    typer.Option(help="Frames a second; 25 for image folders if not given; replaces a video's own."),
]
Detector = Annotated[
    str,
    typer.Option(help="Face detector: haar, yunet or mediapipe; yunet:FILE, mediapipe:FILE for own weights."),
]
Stabilise = Annotated[
    bool | None,
    typer.Option(
        "--stabilise/--no-stabilise",
        help="Take head motion and light out of the apex frame.",
        show_default="as the checkpoint was trained",
    ),
]


PRECISIONS = {"no": "float32", "bf16": "bfloat16"}
"""`--mixed-precision` -> precision of a recipe."""


def recipe_precision(mixed_precision: str) -> str:
    """The precision of a recipe.

    Raises:
        ValueError: None of `PRECISIONS`.
    """
    if mixed_precision not in PRECISIONS:
        raise ValueError(f"--mixed-precision {mixed_precision!r}: choose {' or '.join(PRECISIONS)}")
    return PRECISIONS[mixed_precision]


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command line; every error is one line on standard error."""
    import cv2
    import huggingface_hub
    from transformers.utils import logging

    cv2.utils.logging.setLogLevel(0)  # a camera that is missing is told once, by us
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    huggingface_hub.utils.logging.set_verbosity_error()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no valid text
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a traceback is of no use to someone at a command line
        complain(in_one_line(error))
        sys.exit(2)


def checkpoint_name(checkpoint: str) -> str:
    """Name of a checkpoint's folder, or of its run where it is the run's `model`; a Hub id stays as it is."""
    if not Path(checkpoint).is_dir():
        return checkpoint
    path = Path(checkpoint).resolve()
    return path.parent.name if path.name == "model" else path.name


def row_name(checkpoint: str, models: list[str]) -> str:
    """Name of a checkpoint among others, for file names; its whole path only where two have the same."""
    name = checkpoint_name(checkpoint)
    alone = [checkpoint_name(one) for one in models].count(name) == 1
    return re.sub(r"[^\w.]+", "-", name if alone else checkpoint).strip("-.")


def in_one_line(error: Exception) -> str:
    """What an error says; with its kind where it is none that was foreseen."""
    if os.environ.get("DFACE_DEBUG"):
        raise error
    known = isinstance(error, (ValueError, OSError, ImportError, FloatingPointError))
    hint = "" if known else f" ({type(error).__name__}; set DFACE_DEBUG=1 for the traceback)"
    return f"{' '.join(str(error).split()) or type(error).__name__}{hint}"


def complain(text: str) -> None:
    """Tell an error on standard error."""
    print(f"error: {text}", file=sys.stderr)

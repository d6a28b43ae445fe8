"""Write results as one JSON document or a CSV table of events."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dface_hf import whole_files

EVENT_COLUMNS = (
    "path",
    "onset",
    "apex",
    "offset",
    "onset_s",
    "apex_s",
    "offset_s",
    "label",
    "score",
    "action_ids",
    "box",
    "confidence",
    "sentence",
)
IMAGES = ("onset_image", "apex_image", "decoded_motion", "saliency")


def document(model: str, clips: list[dict]) -> dict:
    """The JSON document of a run: {"model", "clips"}, without pictures and curves."""
    return {"model": model, "clips": [_plain(clip) for clip in clips]}


def _plain(clip: dict) -> dict:
    plain = {name: clip[name] for name in ("path", "fps", "frames", "events", "warnings")}
    plain["events"] = [{k: v for k, v in event.items() if k not in IMAGES} for event in clip["events"]]
    return plain


def to_json(model: str, clips: list[dict]) -> str:
    """The document as text.

    Raises:
        ValueError: If a number is not finite: JSON has no name for those.
    """
    return json.dumps(document(model, clips), indent=2, allow_nan=False) + "\n"


def to_csv(clips: list[dict]) -> str:
    """A table with one row an event; lists are joined by spaces, action units have a column each."""
    buffer = io.StringIO()
    events = [event for clip in clips for event in clip["events"]]
    units = dict.fromkeys(unit for event in events for unit in event.get("action_units", ()))
    table = csv.DictWriter(buffer, (*EVENT_COLUMNS, *units), extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for clip in clips:
        for event in clip["events"]:
            row = event | {"path": clip["path"], "score": event["scores"][event["label"]]}
            row |= {name: " ".join(map(str, event[name])) for name in ("action_ids", "box")}
            row |= event.get("action_units", {})
            row["sentence"] = event.get("explanation", {}).get("sentence")
            table.writerow(row)
    return buffer.getvalue()


def check_target(target: str | None, sources: Iterable[str], suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output that could not be written, before hours of work are spent on it.

    Args:
        target: Path of the output; None or "-" for none.
        sources: Files that are read, which must not be overwritten.
        suffixes: What the name may end in; anything when empty.

    Raises:
        ValueError: The suffix is another, or the target is one of the sources.
        OSError: The folder is missing or not writable, or the target is a folder.
    """
    if target in (None, "-"):
        return
    path = Path(target)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{target}: unknown kind of file {path.suffix!r}; use {', '.join(suffixes)}")
    if path.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{target}: the folder {path.parent} cannot be written; choose another")
    if path.exists() and any(os.path.exists(source) and path.samefile(source) for source in sources):
        raise ValueError(f"{target}: is one of the clips and would be overwritten; choose another name")


def write_text(target: str, text: str) -> None:
    """Write a file as a whole, or to standard output for "-".

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    whole_files.write_text(target, text)

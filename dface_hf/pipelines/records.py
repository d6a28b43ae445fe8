"""Write results as one JSON document or a CSV table of events."""

import csv
import io
import json
import sys
from pathlib import Path

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
)


def document(model: str, clips: list[dict]) -> dict:
    """The JSON document of a run: {"model", "clips"}, without pictures and curves."""
    return {"model": model, "clips": [_plain(clip) for clip in clips]}


def _plain(clip: dict) -> dict:
    keep = ("path", "fps", "frames", "events", "warnings")
    images = ("onset_image", "apex_image")
    plain = {name: clip[name] for name in keep}
    plain["events"] = [{k: v for k, v in event.items() if k not in images} for event in clip["events"]]
    return plain


def write_text(target: str, text: str) -> None:
    """Write to a file under a temporary name and rename it, or to standard output for "-"."""
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.rename(path)


def to_json(model: str, clips: list[dict]) -> str:
    """The document as text."""
    return json.dumps(document(model, clips), indent=2, allow_nan=False) + "\n"


def to_csv(clips: list[dict]) -> str:
    """A table with one row an event; lists are joined by spaces."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, EVENT_COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for clip in clips:
        for event in clip["events"]:
            row = event | {"path": clip["path"], "score": event["scores"][event["label"]]}
            row |= {name: " ".join(map(str, event[name])) for name in ("action_ids", "box")}
            table.writerow(row)
    return buffer.getvalue()

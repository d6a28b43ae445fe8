"""Resumable checkpoints: written under a temporary name, renamed when whole, the oldest removed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

CHECKPOINT = re.compile(r"^step-(\d+)$")


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the whole checkpoints below `folder`, oldest first."""
    found = [path for path in Path(folder).glob("step-*") if CHECKPOINT.match(path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def save_checkpoint(folder: str | Path, step: int, save: Callable[[str], None], keep: int = 2) -> Path:
    """Write a checkpoint by calling `save` on an empty folder.

    Args:
        folder: Parent of all checkpoints of the run.
        step: Number of finished steps.
        save: Fills the folder it is given.
        keep: Whole checkpoints that stay.

    Returns:
        The folder of the new checkpoint. A run that is killed while saving leaves the one before untouched.
    """
    target = Path(folder) / f"step-{step:06d}"
    write_folder(target, save)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def write_folder(target: str | Path, fill: Callable[[str], None]) -> None:
    """Call `fill` on an empty folder beside `target`, then put it in the place of `target`."""
    target = Path(target)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(str(partial))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def write_json(path: str | Path, value: dict) -> None:
    """Write a JSON file under a temporary name and rename it."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.rename(path)

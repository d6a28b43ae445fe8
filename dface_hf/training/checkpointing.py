"""Resumable checkpoints: written under a temporary name, renamed when whole, the oldest removed.

In a distributed run every process calls these functions; the first one makes, renames and removes folders.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from safetensors import SafetensorError

from dface_hf.whole_files import write_text

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

    Raises:
        OSError: If it could not be written, the disk being full, say; the message names the last whole one.
    """
    target = Path(folder) / f"step-{step:06d}"
    try:
        write_folder(target, save, everyone=True)
    except OSError as error:
        last = [path.name for path in checkpoints(folder)][-1:] or ["none"]
        raise OSError(f"{error}; the last whole checkpoint is {last[0]}: make room and resume") from error
    if PartialState().is_main_process:
        for old in checkpoints(folder)[:-keep]:
            _remove(old)
    return target


def write_folder(target: str | Path, fill: Callable[[str], None], everyone: bool = False) -> None:
    """Call `fill` on an empty folder beside `target`, then put it in the place of `target`.

    Args:
        target: The folder.
        fill: Fills the folder it is given.
        everyone: Whether all processes have something to write, and not only the first.

    Raises:
        OSError: If something could not be written; what there was under `target` stays.
    """
    target, state = Path(target), PartialState()
    partial = target.with_name(f".{target.name}.partial")
    if state.is_main_process:
        _restore(target)
    with writing(target, partial):
        if state.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        state.wait_for_everyone()
        if everyone or state.is_main_process:
            fill(str(partial))
    state.wait_for_everyone()
    if state.is_main_process:
        if target.exists():
            target.rename(_aside(target))
        partial.rename(target)
        shutil.rmtree(_aside(target), ignore_errors=True)
    state.wait_for_everyone()


def _aside(target: Path) -> Path:
    """Where the old folder is while the new one takes its name."""
    return target.with_name(f".{target.name}.before")


def _restore(target: Path) -> None:
    """Put an old folder back that a killed run had moved aside and not replaced."""
    aside = _aside(target)
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
    elif aside.exists():
        aside.rename(target)


def _remove(folder: Path) -> None:
    """Remove a folder so that half of it is never taken for the whole."""
    doomed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def write_json(path: str | Path, value: dict | list) -> None:
    """Write a JSON file under a temporary name and rename it."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append_json(path: str | Path, value: dict) -> None:
    """Add a line to a .jsonl file; floats with six decimals."""
    line = {key: round(item, 6) if isinstance(item, float) else item for key, item in value.items()}
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_log(path: str | Path, key: str, last: int) -> None:
    """Drop what a .jsonl file tells of steps after `last`, and a line that was not written to its end."""
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    write_text(path, "".join(line for line in whole if json.loads(line)[key] <= last))


def _discard(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path, partial: Path | None = None) -> Iterator[None]:
    """Say which file or folder could not be written, and leave nothing of it behind under `partial`.

    Raises:
        OSError: For whatever torch, safetensors or the system make of a full disk.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if partial is not None:
            _discard(partial)
        raise OSError(f"{path} could not be written: {error}") from error

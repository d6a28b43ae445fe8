"""A new run's accelerator, whatever ran in this process before, and its trackers."""

import os
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers


def new_accelerator(mixed_precision: str | None = None, **options: Any) -> Accelerator:
    """Return an `Accelerator` that does not inherit the precision of an earlier run in this process.

    Accelerate keeps its state for the life of the process: after a run in bf16 it refuses one in float32, or,
    asked for nothing, goes on in bf16. (transformers' Trainer resets the state in the same way.)

    Args:
        mixed_precision: `"no"`, `"bf16"` or `"fp16"`; None takes that of `accelerate launch`.
        options: Of `Accelerator`.
    """
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=mixed_precision, **options)


def check_one_process(count: int | None = None) -> None:
    """Refuse several processes where all would do the same.

    Args:
        count: How many there are; None reads what `torchrun` and `accelerate launch` say.

    Raises:
        ValueError: There are several.
    """
    count = int(os.environ.get("WORLD_SIZE", 1)) if count is None else count
    if count > 1:
        raise ValueError(
            f"launched as {count} processes, but this training runs in one, and all would do the same; "
            "start it without accelerate launch or torchrun"
        )


def tracked_by(report_to: str | None, folder: str | Path) -> dict[str, Any]:
    """Options of an `Accelerator` that reports to trackers.

    Args:
        report_to: Names that Accelerate knows, with commas between them, such as `"tensorboard,trackio"`.
        folder: Where trackers that write files write them.

    Raises:
        ValueError: If a name is unknown.
        ImportError: If its package is not installed. Accelerate would go on without it, with a warning only.
    """
    names = [name.strip() for name in (report_to or "").split(",") if name.strip()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(f"report_to is {name!r}; known trackers: {', '.join(LOGGER_TYPE_TO_CLASS)}")
        if name not in [tracker.value for tracker in get_available_trackers()]:
            raise ImportError(f"the tracker {name} is not installed; pip install {name}, or use another one")
    return {"log_with": names or None, "project_dir": str(folder)}


def start_trackers(accelerator: Accelerator, project: str, recipe: dict[str, Any]) -> None:
    """Open the trackers and tell them the recipe; trackers take plain values only."""
    plain = {key: value if isinstance(value, int | float) else str(value) for key, value in recipe.items()}
    accelerator.init_trackers(project, config=plain)


def finish_trackers(accelerator: Accelerator) -> None:
    """Close the trackers. `end_training` would also part the processes, which still have to save."""
    for tracker in accelerator.trackers:
        tracker.finish()

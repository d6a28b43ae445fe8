"""A new run's accelerator, whatever ran in this process before."""

from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState


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

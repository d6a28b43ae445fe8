"""What a run costs: hours of the machine and of its processors, added up across interruptions."""

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from .checkpointing import write_json

COST = "cost.json"


class Meter:
    """Counts the time of a run from when it is made, and writes it to `cost.json`.

    The file is a list: for each kind of machine that the run was on `machine`, `device`, `processes`, and the
    time so far, `seconds` by the clock and `processor_seconds` of all processes. What a run that was killed
    did after its last `write` is not in it. Where an earlier part was not measured, nothing is written.

    Args:
        accelerator: Of the run; every process of it makes a meter.
        folder: Of the run.
        resumed: Whether to add to what an earlier part of the run left there.
    """

    def __init__(self, accelerator: Accelerator, folder: str | Path, resumed: bool) -> None:
        self.accelerator, self.path = accelerator, Path(folder) / COST
        self.earlier = read_cost(folder) if resumed else []
        self.measured = not resumed or self.path.is_file()
        self.start = time.perf_counter(), time.process_time()

    def write(self) -> None:
        """Write what was spent so far; to be called by every process, after each checkpoint."""
        accelerator, (clock, processor) = self.accelerator, self.start
        own = torch.tensor(time.process_time() - processor, device=accelerator.device)
        times = {"seconds": time.perf_counter() - clock}
        times["processor_seconds"] = accelerator.reduce(own, "sum").item()
        here = {"machine": machine_name(), "device": device_name(accelerator.device)}
        here["processes"] = accelerator.num_processes
        if accelerator.is_main_process and self.measured:
            write_json(self.path, _added(self.earlier, here, times))


def read_cost(folder: str | Path) -> list[dict[str, Any]]:
    """What a run has spent, as `Meter` wrote it; empty where it was not measured."""
    path = Path(folder) / COST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def machine_name() -> str:
    """Processor cores, their kind, and memory where the system tells it (Windows does not)."""
    cores = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    if not hasattr(os, "sysconf"):
        return cores
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores}, {memory:.0f} GiB"


def device_name(device: torch.device) -> str:
    """What computes: the name of the accelerator, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _added(earlier: list[dict], here: dict, times: dict[str, float]) -> list[dict]:
    """The earlier entries, with the times in the one of this machine."""
    entries, same = [], None
    for entry in earlier:
        entries.append(dict(entry))
        same = entries[-1] if here.items() <= entry.items() else same
    if same is None:
        entries.append(same := here | dict.fromkeys(times, 0.0))
    same.update({name: round(same[name] + spent, 1) for name, spent in times.items()})
    return entries

"""Long work on a corpus, cut into parts: in several processes, and continued only with the same options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import cv2

Part = TypeVar("Part")


def in_processes(work: Callable[[Part], None], parts: Sequence[Part], workers: int) -> Iterator[Part]:
    """Do the parts, in this process or in several; yields each when it is finished.

    Raises:
        OSError: A worker process was killed. What a part raises is raised here, too.
    """
    if workers == 1 or len(parts) < 2:
        for part in parts:
            work(part)
            yield part
        return
    # Spawned, not forked: the parent may hold threads of torch and OpenCV.
    pool = ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn"), _single_thread)
    try:
        futures = {pool.submit(work, part): part for part in parts}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process was killed, perhaps for want of memory; run again with fewer workers to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _single_thread() -> None:
    cv2.setNumThreads(1)


def check_same_run(plan: Path, known: Mapping[str, Any], output: Path) -> None:
    """Refuse to continue a run that was begun with other options.

    Args:
        plan: The file of options that the run left, JSON.
        known: The options now, as plain values.
        output: The run's folder, for the message.

    Raises:
        ValueError: An option differs; the message names the first.
    """
    before = json.loads(plan.read_text(encoding="utf-8"))
    for name in known:
        if before.get(name) != known[name]:
            was = f"{name} {before.get(name)}, not {known[name]}"
            raise ValueError(f"{output}: holds a run with {was}; give the same options or another folder")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it.

    Raises:
        OSError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: cannot be made ({error.strerror}); give another folder") from error

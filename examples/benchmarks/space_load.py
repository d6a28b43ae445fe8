"""How the Space bears many visitors: what they get, how long they wait, and how much memory the server takes.

    python examples/benchmarks/space_load.py                       # 32 clients, 120 seconds
    python examples/benchmarks/space_load.py --clients 8 --seconds 20
    python examples/benchmarks/space_load.py --url http://127.0.0.1:7860   # one that runs already; no memory

Each client analyses a clip, explores a face, and begins again; one that finds the queue full waits two
seconds, as a person would. Clients and server share the machine.
"""

import argparse
import collections
import contextlib
import datetime
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from dface_hf.spaces_demo.samples import sample_clip, sample_face
from gradio_client import Client, handle_file

START_UP = 300  # seconds
PATIENCE = 120  # seconds without an answer: browsers wait for minutes, httpx alone for five seconds
PAUSE = 2.0  # seconds before a client that found the queue full asks again


class Counts:
    """What all clients met: outcomes by endpoint, and seconds of the successes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.errors: collections.Counter[str] = collections.Counter()

    def add(self, endpoint: str, error: Exception | None, seconds: float) -> bool:
        """Count a request; True where the queue was full."""
        full = error is not None and "Queue is full" in str(error)
        outcome = "success" if error is None else "queue full" if full else "other error"
        with self.lock:
            self.outcomes[endpoint, outcome] += 1
            if error is None:
                self.seconds[endpoint].append(seconds)
            elif not full:
                self.errors[f"{endpoint}: {type(error).__name__}: {str(error)[:160]}"] += 1
        return full


def visit(url: str, clip: str, face: str, until: float, counts: Counts) -> None:
    """One client: at least one request, and more until the clock says stop; what it began is finished."""
    patient = {"timeout": PATIENCE}
    client = Client(url, verbose=False, analytics_enabled=False, download_files=False, httpx_kwargs=patient)
    requests = (
        ("/recognise", (handle_file(clip), 1, True)),
        ("/act", (handle_file(face), "0 0 0 0 9 10 10 14 6 20 10 14 0 6 25 4", 5, 1.5)),
    )
    turn = 0
    while turn == 0 or time.monotonic() < until:
        endpoint, inputs = requests[turn % len(requests)]
        begun, error = time.monotonic(), None
        try:
            client.predict(*inputs, api_name=endpoint)
        except Exception as raised:  # noqa: BLE001 - counting them is what this is for
            error = raised
        if counts.add(endpoint, error, time.monotonic() - begun):
            time.sleep(PAUSE)
        else:
            turn += 1


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Address and process id of a Space of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        log = Path(folder) / "log.txt"
        command = [sys.executable, "-m", "dface_hf.spaces_demo.app"]
        with open(log, "w") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + START_UP
            while "Running on" not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the Space did not start:\n{log.read_text()}")
                time.sleep(0.5)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()


def memory(pid: int, name: str = "VmRSS") -> int:
    """Resident memory of a process, now (VmRSS) or at its peak (VmHWM), MB (Linux)."""
    told = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", told)[1]) // 1024


@contextlib.contextmanager
def watching(pid: int, every: float) -> Iterator[list[int]]:
    """Memory of a process, MB, at the start and whenever so many seconds have passed."""
    sizes, over = [memory(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(every):
            sizes.append(memory(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield sizes
    over.set()
    thread.join()


def load(url: str, clients: int, seconds: float) -> Counts:
    """Let clients loose on a Space, and wait for all of them."""
    counts, clip, face = Counts(), sample_clip("Brows up"), sample_face("Astronaut")
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=visit, args=(url, clip, face, until, counts), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + START_UP)
    return counts


def show(counts: Counts) -> None:
    """The table, and every error that is not a full queue."""
    print(
        "| endpoint | success | queue full | other error | median s | slowest s |\n|---|---|---|---|---|---|"
    )
    for endpoint in sorted({endpoint for endpoint, _ in counts.outcomes}):
        told = [counts.outcomes[endpoint, outcome] for outcome in ("success", "queue full", "other error")]
        waits = counts.seconds[endpoint] or [float("nan")]
        told += [f"{np.median(waits):.1f}", f"{max(waits):.1f}"]
        print(f"| `{endpoint}` | {' | '.join(map(str, told))} |")
    for error, times in counts.errors.most_common():
        print(f"\n{times} x {error}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--url", help="a Space that runs already")
    options = parser.parse_args()
    told = f"{options.clients} clients, {options.seconds:g} s, {os.cpu_count()} cores"
    print(f"Load of the Space, {told}, {datetime.date.today()}\n")
    if options.url:
        show(load(options.url, options.clients, options.seconds))
        return
    with server() as (url, pid):
        with watching(pid, options.seconds / 4) as sizes:
            show(load(url, options.clients, options.seconds))
        told = ", ".join(map(str, sizes))
        print(f"\nMemory of the server, every {options.seconds / 4:g} s: {told} MB; ", end="")
        print(f"peak {memory(pid, 'VmHWM')} MB")


if __name__ == "__main__":
    main()

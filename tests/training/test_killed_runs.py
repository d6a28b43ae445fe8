"""Training of heads and of all folds, killed by the system while it writes a checkpoint."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.training.killed_run", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(("kind", "saves"), [("heads", (8, 3)), ("folds", (2, 2))])
def test_a_run_that_is_killed_twice_ends_with_the_same_weights(kind, saves, tmp_path):
    whole = run(kind, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    for number in saves:
        killed = run(kind, tmp_path / "killed", number)
        assert killed.returncode == -signal.SIGKILL and not killed.stdout, killed.stderr
    resumed = run(kind, tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole.stdout and len(whole.stdout.strip()) == 64

"""Pretraining as programs of their own: killed, short of disk, and two at once."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dface_hf import DFaceTokenizerModel
from dface_hf.training.checkpointing import checkpoints

PROGRAM = str(Path(__file__).with_name("tiny_run.py"))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def start(output, recipe, *rest, launcher=(sys.executable,), **options):
    command = [*launcher, PROGRAM, str(output), json.dumps(recipe), *rest]
    pipe = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command, **({"env": ENVIRONMENT} | pipe | options))


def finish(process):
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return DFaceTokenizerModel.from_pretrained(folder / "model").state_dict()


def kill_when(process, ready):
    """SIGKILL a run as soon as `ready()`; it must not have ended before."""
    end = time.monotonic() + 120
    while not ready():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def logged(folder, step):
    return (folder / "metrics.jsonl").exists() and f'"step": {step},' in (
        folder / "metrics.jsonl"
    ).read_text()


def test_a_run_that_is_killed_twice_ends_with_the_same_weights(tmp_path):
    recipe, killed = {"log_every": 1, "ema_decay": 0.5}, tmp_path / "killed"
    slow = ENVIRONMENT | {"STEP_TIME": "0.1"}
    whole = start(tmp_path / "whole", recipe)
    kill_when(start(killed, recipe, env=slow), lambda: logged(killed, 6))  # between two checkpoints
    assert [path.name for path in checkpoints(killed / "checkpoints")] == ["step-000004"]
    second = start(killed, recipe, "resume", env=slow)
    kill_when(second, (killed / "checkpoints" / ".step-000008.partial").exists)  # while one is written
    finish(start(killed, recipe, "resume"))
    finish(whole)
    expected, found = weights(tmp_path / "whole"), weights(killed)
    assert expected and all(torch.equal(value, found[name]) for name, value in expected.items())
    assert metrics(killed) == metrics(tmp_path / "whole")


def test_two_processes_train_as_one_with_the_same_global_batch(tmp_path):
    """All modes of the quantisers, k-means, revivals, swapped twins, the critic and the average are in these
    steps.

    The learning rate is low: rounding differs between the two, and a large one makes much of that.
    """
    recipe = {"steps": 16, "log_every": 1, "learning_rate": 1e-4, "revive_every": 1, "ema_decay": 0.9}
    recipe |= {"adversary_weight": 0.3, "codebook_weight": 1.0, "model": {"context_codebook_size": 4}}
    one = start(tmp_path / "one", recipe | {"batch_size": 8})
    two = start(tmp_path / "two", recipe | {"batch_size": 4}, launcher=TORCHRUN)
    finish(one)
    finish(two)
    expected, found = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(found) == 16 and sum(line["revived"] for line in found) > 0
    for alone, together in zip(expected, found, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert json.loads((tmp_path / "two/recipe.json").read_text())["processes"] == 2
    other = weights(tmp_path / "two")  # AdamW moves a weight whose gradient is rounding alone by 1e-4 a step
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=4e-4, msg=name)


def test_what_trains_in_one_process_refuses_several(tmp_path):
    program = tmp_path / "fit.py"
    program.write_text(
        "import torch\nfrom dface_hf.training.fitting import fit\n"
        "from dface_hf.training.fold_ensemble import FoldRecipe\n"
        "fit(torch.nn.Linear(1, 1), lambda epoch: [], 1, FoldRecipe(epochs=1))\n"
    )
    done = subprocess.run([*TORCHRUN, program], capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert done.returncode and "launched as 2 processes, but this training runs in one" in done.stderr


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path):
    finish(start(tmp_path, {"steps": 4}))
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps(recipe | {"steps": 8}))

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start(tmp_path, {"steps": 8}, "resume", preexec_fn=small_files)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "step-000008 could not be written" in told and "the last whole checkpoint is step-000004" in told
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000004"]

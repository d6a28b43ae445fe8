"""Heads, or all folds of a network, as a program of its own that a test kills while it writes a checkpoint.

python -m tests.training.killed_run heads OUTPUT 5    # dies in its fifth torch.save, with half a file
python -m tests.training.killed_run folds OUTPUT      # goes on, and prints a hash of the trained weights
"""

import hashlib
import itertools
import os
import signal
import sys

import torch

from dface_hf.training import TrainConfig
from dface_hf.training.fold_ensemble import train_folds
from dface_hf.training.train import train_heads

from . import test_fold_ensemble, test_train

EPOCHS = 4


def heads(folder: str) -> list[torch.Tensor]:
    config = TrainConfig(epochs=EPOCHS, batch_size=8)
    model = train_heads(test_train.model(), test_train.clips(24), config, folder, resume=True)
    return list(model.state_dict().values())


def folds(folder: str) -> list[torch.Tensor]:
    inputs, labels = test_fold_ensemble.clips("ststnet")
    recipe = test_fold_ensemble.RECIPE
    results = train_folds(
        test_fold_ensemble.ststnet(0.3), inputs, labels, test_fold_ensemble.folds(), recipe, folder=folder,
        members_at_once=2, keep_weights=True, checkpoint_every=1, progress=False,
    )  # fmt: skip
    return [value for result in results for value in (result.logits, *result.state_dict.values())]


def die_in_save(number: int) -> None:
    """Let the `number`-th call of `torch.save` write half a file and kill this process."""
    save, calls = torch.save, itertools.count(1)

    def dying(state, target, *arguments, **options):
        save(state, target, *arguments, **options)
        if next(calls) == number:
            os.truncate(target, os.path.getsize(target) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = dying


if __name__ == "__main__":
    kind, output, *rest = sys.argv[1:]
    if rest:
        die_in_save(int(rest[0]))
    digest = hashlib.sha256()
    for value in {"heads": heads, "folds": folds}[kind](output):
        digest.update(value.numpy().tobytes())
    print(digest.hexdigest())

"""What a cross-validated model says of every clip, and how all folds come to say it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dface_hf.data.protocols import Fold
from dface_hf.whole_files import whole_file

from .cross_validate_clips import ClipTable
from .fold_ensemble import FoldRecipe, FoldResult, train_folds


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the models of all folds say of the clips that they were not trained on.

    Attributes:
        predicted: (runs, n) class ids after the last epoch; one run where chance plays no part.
        by_epoch: (runs, epochs, n) class ids after each epoch; None where not asked for, or without epochs.
        logits: (runs, n, classes) float32; None where a model has none.
    """

    predicted: np.ndarray
    by_epoch: np.ndarray | None = None
    logits: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Write a .npz file; it appears under its name when it is complete."""
        with whole_file(path) as partial:
            np.savez(partial, **{name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: Path) -> Outcome:
        """Read what `save` wrote."""
        with np.load(path) as found:
            return cls(**dict(found))


class Candidate(Protocol):
    """Something that predicts each fold's test clips after learning from its training clips.

    Attributes:
        name: Of its row of the table, and in file names.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """All that its numbers depend on, as plain values."""

    def check(self, table: ClipTable, every_epoch: bool) -> None:
        """Raise ValueError if it cannot run on these clips, or not with what is asked for."""

    def run(
        self, table: ClipTable, folds: Sequence[Fold], seeds: Sequence[int], folder: Path, every_epoch: bool
    ) -> dict[str, Outcome]:
        """Rows of the table by name; goes on from what an interrupted call left in `folder`."""


def train_together(
    make_model: Callable[[], nn.Module],
    inputs: dict[str, list[Tensor]],
    table: ClipTable,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    recipe: FoldRecipe,
    folder: Path,
    every_epoch: bool,
) -> Outcome:
    """Train all folds at once by `train_folds`.

    Args:
        inputs: Name -> values (n, ...) of the annotated pairs and, where others are trained on, of those.
    """
    count, labels = len(table), torch.from_numpy(table.clips.labels)
    after = count * table.reselected
    labels = torch.cat([labels] * (1 + table.reselected))
    splits = [Fold(fold.name, fold.train + after, fold.test) for fold in folds]
    joined = {key: torch.cat(parts) for key, parts in inputs.items()}
    results = train_folds(
        make_model, joined, labels, splits, recipe, seeds, folder=folder, every_epoch=every_epoch
    )
    return _outcome(results, seeds, count)


def _outcome(results: list[FoldResult], seeds: Sequence[int], count: int) -> Outcome:
    """The results of all folds in the order of the clips."""
    outputs = np.zeros((len(seeds), count, results[0].logits.shape[-1]), np.float32)
    epochs = None if results[0].by_epoch is None else len(results[0].by_epoch)
    by_epoch = None if epochs is None else np.zeros((len(seeds), epochs, count), np.int64)
    for result in results:
        run = list(seeds).index(result.seed)
        outputs[run, result.test] = result.logits.numpy()
        if by_epoch is not None:
            by_epoch[run][:, result.test] = result.by_epoch.numpy()
    return Outcome(outputs.argmax(-1), by_epoch, outputs)

"""One model, fixed epochs, any batches: the loop of what is not trained as an ensemble of folds."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .accelerator import check_one_process, new_accelerator
from .checkpointing import append_json, checkpoints, cut_log, save_checkpoint, write_json
from .cost import Meter
from .fold_ensemble import FoldRecipe

Batches = Callable[[int], Iterable[dict[str, Tensor]]]
"""Number of the epoch -> its batches, each what the model's forward takes; the same at every call."""
NO_SETTING = {"transformers_version"}
"""What configurations tell that no number depends on."""
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 50


def fit(
    model: nn.Module,
    batches: Batches,
    steps: int,
    recipe: FoldRecipe,
    seed: int = 0,
    folder: str | Path | None = None,
    facts: dict[str, Any] | None = None,
    checkpoint_every: int = 5,
    progress: bool = True,
) -> list[float]:
    """Train a model whose forward returns an output with `loss`.

    Args:
        model: Changed in place; left in evaluation mode, on the device of Accelerate's choice.
        batches: The data; shuffled and augmented by the number of the epoch only, so that a run can go on.
        steps: Batches of an epoch.
        recipe: Optimiser, schedule, epochs and precision.
        seed: Of dropout; each epoch has a state of its own.
        folder: Where `recipe.json`, `metrics.jsonl`, `cost.json` and checkpoints are kept; the call goes on
            from what it finds there, and ends with the same weights as without the interruption.
        facts: What else the run depends on; plain values.
        checkpoint_every: Epochs between checkpoints.
        progress: Show a bar, where standard error is a terminal.

    Returns:
        The mean loss of each epoch that was trained in this call.

    Raises:
        ValueError: `folder` holds a run of another recipe, or there are several processes: each would
            train on the same batches.
        FloatingPointError: When a loss is not finite; the message names the epoch.
    """
    run = _Fit(model, steps, recipe, None if folder is None else Path(folder))
    told = asdict(recipe) | {"seed": seed} | (facts or {})
    start = run.start(json.loads(json.dumps(told)))  # as it is read back
    losses = []
    bar = tqdm(range(start, recipe.epochs), initial=start, total=recipe.epochs, unit="epoch",
               disable=None if progress else True, leave=False)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        for epoch in bar:
            torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
            losses.append(run.epoch(epoch, batches(epoch)))
            bar.set_postfix(loss=f"{losses[-1]:.3g}")
            if (epoch + 1) % checkpoint_every == 0 or epoch + 1 == recipe.epochs:
                run.save(epoch + 1)
    model.eval()
    return losses


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has changed in settings of plain values, such as "recipe.epochs: 30, now 10"."""
    found = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if name in NO_SETTING or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{one}" for one in differences(old, new)]
        else:
            told = ["not set" if value is None else _short.repr(value) for value in (old, new)]
            found.append(f"{name}: {told[0]}, now {told[1]}")
    return found


def list_some(changed: list[str], count: int = 3) -> str:
    """The first of many differences in one line, and how many more there are."""
    more = [f"and {len(changed) - count} more"] if len(changed) > count else []
    return "; ".join([*changed[:count], *more])


class _Fit:
    """Model, optimiser and where they are written."""

    def __init__(self, model: nn.Module, steps: int, recipe: FoldRecipe, folder: Path | None):
        self.recipe, self.steps, self.folder = recipe, steps, folder
        self.accelerator = new_accelerator("bf16" if recipe.precision == "bfloat16" else "no")
        check_one_process(self.accelerator.num_processes)
        trained = [value for value in model.parameters() if value.requires_grad]
        self.model, self.optimizer = self.accelerator.prepare(
            model, recipe.make_optimizer([{"params": trained}])
        )
        self.trained = trained

    def start(self, facts: dict[str, Any]) -> int:
        """The epoch to go on from."""
        if self.folder is None:
            return 0
        told, saved = self.folder / "recipe.json", checkpoints(self.folder / "checkpoints")
        if told.is_file() and (changed := differences(json.loads(told.read_text(encoding="utf-8")), facts)):
            raise ValueError(
                f"{self.folder}: the run was made with other clips or another recipe ({list_some(changed)}); "
                "give the same, or use another folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(told, facts)
        epoch = int(saved[-1].name[5:]) if saved else 0
        if saved:
            self.accelerator.load_state(str(saved[-1]))
        cut_log(self.folder / "metrics.jsonl", "epoch", epoch)
        self.meter = Meter(self.accelerator, self.folder, bool(saved))
        return epoch

    def epoch(self, epoch: int, batches: Iterable[dict[str, Tensor]]) -> float:
        """One pass; the mean loss of its steps."""
        self.model.train()
        losses = [self._step(epoch, number, batch) for number, batch in enumerate(batches)]
        loss = float(np.mean(losses))
        if self.folder is not None:
            append_json(self.folder / "metrics.jsonl", {"epoch": epoch + 1, "loss": loss})
        return loss

    def save(self, epoch: int) -> None:
        """Write a checkpoint; only the newest stays."""
        if self.folder is not None:
            save_checkpoint(self.folder / "checkpoints", epoch, self.accelerator.save_state, keep=1)
            self.meter.write()

    def _step(self, epoch: int, number: int, batch: dict[str, Tensor]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(epoch * self.steps + number, self.recipe.epochs * self.steps)
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
        with self.accelerator.autocast():
            loss = self.model(**batch).loss
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"epoch {epoch + 1}: the loss is {loss.item()}; lower the learning rate")
        self.accelerator.backward(loss)
        if self.recipe.grad_clip is not None:
            self.accelerator.clip_grad_norm_(self.trained, self.recipe.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

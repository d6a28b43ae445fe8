"""Train one architecture on all folds of a protocol at once, each fold as a member of a batched ensemble.

Every fold keeps what it has when it is trained alone: its own first weights, order of clips, batches, class
weights, dropout and optimiser state. Only the arithmetic is shared. A fold learns from its training rows; the
labels of its test rows are never read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .checkpointing import write_json, writing
from .members import Members
from .stacked_layers import DropoutMasks, stacked_settings

# What a random stream is for; the streams of a member are told apart by (seed, fold, purpose, epoch).
WEIGHTS, ORDER, DROPOUT = range(3)
MEMORY = 6e9  # bytes for weights, gradients and optimiser states of the members trained together
EVALUATION_ROWS = 256
PRECISIONS = {
    "float32": None,
    "bfloat16": torch.bfloat16,
}  # of products and convolutions; None: as the weights


class Split(Protocol):
    """A fold: `dface_hf.data.protocols.Fold`, or anything with its name and row numbers."""

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class FoldRecipe:
    """How every fold is trained; the number of epochs is fixed before looking.

    Attributes:
        epochs: Passes over the training clips.
        batch_size: Clips a step; the last batch of an epoch is smaller.
        learning_rate: Of the optimiser; the peak, where it follows a schedule.
        optimizer: "adam", "adamw" or "sgd".
        weight_decay: Of the optimiser.
        momentum: Of SGD.
        betas: Of Adam and AdamW.
        grad_clip: Largest norm of a member's gradient; None for no limit.
        schedule: "constant", or "cosine" after a linear warm-up over a tenth of the steps, at most 100.
        balance_classes: Weigh the cross-entropy by inverse class frequency of the fold's training clips.
        precision: "float32"; or "bfloat16" for products of matrices and convolutions, faster where both are
            large and the CPU has AVX512_BF16 or AMX. Weights and optimiser stay in float32.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-4
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    grad_clip: float | None = None
    schedule: str = "constant"
    balance_classes: bool = True
    precision: str = "float32"

    def __post_init__(self):
        choices = {
            "optimizer": ("adam", "adamw", "sgd"),
            "schedule": ("constant", "cosine"),
            "precision": tuple(PRECISIONS),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} {getattr(self, field)!r}: use one of {', '.join(allowed)}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs {self.epochs} and batch_size {self.batch_size} must be at least 1")

    def make_optimizer(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimiser of parameter groups."""
        options = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": True}
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.momentum, **options)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, betas=self.betas, **options)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step of `steps`."""
        if self.schedule == "constant":
            return self.learning_rate
        warmup = min(100, steps // 10)
        if step < warmup:
            return self.learning_rate * step / max(1, warmup)
        progress = (step - warmup) / max(1, steps - warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one member says of the clips that it was not trained on.

    Attributes:
        fold: Name of the fold.
        seed: Of the member.
        test: (n,) the rows it is about.
        logits: (n, classes) after the last epoch.
        by_epoch: (epochs, n) class predicted after each epoch, with `every_epoch`; else None. For a column
            named oracle only.
        state_dict: The trained weights, with `keep_weights`; else None.
    """

    fold: str
    seed: int
    test: np.ndarray
    logits: Tensor
    by_epoch: Tensor | None = None
    state_dict: dict[str, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class _Member:
    seed: int
    index: int  # of its fold
    fold: Split

    def random(self, purpose: int, epoch: int = 0) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, self.index, purpose, epoch])

    def batches(self, epoch: int, size: int) -> list[np.ndarray]:
        """Row numbers of the batches of an epoch: one pass over the training rows, in a new order."""
        order = np.random.default_rng(self.random(ORDER, epoch)).permutation(self.fold.train)
        return [order[start : start + size] for start in range(0, len(order), size)]


def train_folds(
    make_model: Callable[[], nn.Module],
    inputs: dict[str, Tensor],
    labels: Tensor,
    folds: Sequence[Split],
    recipe: FoldRecipe,
    seeds: Sequence[int] = (0,),
    folder: str | Path | None = None,
    members_at_once: int | None = None,
    every_epoch: bool = False,
    keep_weights: bool = False,
    checkpoint_every: int = 10,
    progress: bool = True,
) -> list[FoldResult]:
    """Train one member for each seed and fold.

    Args:
        make_model: Makes an untrained model; called once a member, with torch's generator seeded for it. Its
            forward takes `inputs` and `labels` as keywords and returns `loss` and `logits`. Parameters
            without `requires_grad` stay as they are.
        inputs: Name -> (n, ...) for all clips.
        labels: (n,) class ids, or (n, classes) of 0 and 1 for a multi-label model.
        folds: Which rows train and which are predicted.
        recipe: The same for all members.
        seeds: Members a fold.
        folder: Where checkpoints are kept; the call goes on from what it finds there, and ends with the same
            weights as without the interruption.
        members_at_once: How many are trained together; None chooses by the size of the model. It changes the
            speed, and the results by rounding only.
        every_epoch: Predict the test rows after every epoch, too.
        keep_weights: Return the trained weights, too.
        checkpoint_every: Epochs between checkpoints.
        progress: Show a bar.

    Returns:
        One result for each seed and fold, seed by seed.

    Raises:
        ValueError: For a fold without training or test rows, or a `folder` of another run.
        FloatingPointError: When a loss is not finite; the message names the fold, the seed and the epoch.
    """
    members = [_Member(seed, index, fold) for seed in seeds for index, fold in enumerate(folds)]
    _check(members, inputs, labels, recipe)
    together = members_at_once or _members_that_fit(make_model())
    # Members with equally many clips have equally long batches, which is what can be computed as one.
    order = sorted(range(len(members)), key=lambda number: -len(members[number].fold.train))
    chunks = [order[start : start + together] for start in range(0, len(order), together)]
    if folder is not None:
        options = {"every_epoch": every_epoch, "keep_weights": keep_weights, "together": together}
        _claim(Path(folder), asdict(recipe) | options, members, inputs, labels)
    results: dict[int, FoldResult] = {}
    with tqdm(total=len(chunks) * recipe.epochs, unit="epoch", disable=not progress) as bar:
        for number, chunk in enumerate(chunks):
            bar.set_description(f"folds, part {number + 1} of {len(chunks)}")
            path = None if folder is None else Path(folder) / f"part-{number:03d}.pt"
            run = _Run([members[one] for one in chunk], make_model, inputs, labels, recipe, path)
            found = run.train(every_epoch, keep_weights, checkpoint_every, bar)
            results |= dict(zip(chunk, found, strict=True))
    return [results[number] for number in range(len(members))]


class _Run:
    """Members that are trained together, from the first epoch or a checkpoint to the last."""

    def __init__(self, members, make_model, inputs, labels, recipe: FoldRecipe, path: Path | None):
        self.members, self.recipe, self.path = members, recipe, path
        self.inputs, self.labels, self.dtype = inputs, labels, PRECISIONS[recipe.precision]
        models = [_seeded(make_model, member) for member in members]
        classes = models[0].config.num_labels
        if recipe.balance_classes:
            weights = [
                class_weights(labels[torch.from_numpy(member.fold.train)], classes) for member in members
            ]
            models[0].config.class_weights = tuple(weights[0].tolist())  # the members' own take their place
        else:
            weights = [torch.tensor(models[0].config.class_weights or (1.0,) * classes)] * len(members)
        self.class_weights, self.stacked = torch.stack(weights), Members(models)
        self.lengths = [math.ceil(len(member.fold.train) / recipe.batch_size) for member in members]
        self.rows = self.stacked.rows()
        groups = [
            {
                "params": [row for row, own in zip(self.rows, self.lengths, strict=True) if own == length],
                "steps": length,
            }
            for length in sorted(set(self.lengths), reverse=True)
        ]
        self.optimizer = recipe.make_optimizer(groups)
        self.epoch, self.by_epoch = 0, []

    def train(self, every_epoch: bool, keep_weights: bool, checkpoint_every: int, bar) -> list[FoldResult]:
        self._load()
        bar.update(self.epoch)
        while self.epoch < self.recipe.epochs:
            self._train_epoch()
            self.epoch += 1
            if every_epoch:
                self.by_epoch.append(torch.nn.utils.rnn.pad_sequence([x.argmax(-1) for x in self._predict()]))
            if self.epoch % checkpoint_every == 0 or self.epoch == self.recipe.epochs:
                self._save()
            bar.update()
        return self._results(keep_weights)

    def _train_epoch(self) -> None:
        batches = [member.batches(self.epoch, self.recipe.batch_size) for member in self.members]
        masks = DropoutMasks([member.random(DROPOUT, self.epoch) for member in self.members])
        for step in range(self.lengths[0]):
            rows = [own[step] for own in batches if step < len(own)]  # members are sorted by length
            for part in _runs_of_equal_length(rows):
                at = torch.from_numpy(np.stack(rows[part]))
                inputs = {name: value[at] for name, value in self.inputs.items()}
                with stacked_settings(masks[part], self.dtype):
                    losses = self.stacked.step(part, inputs, self.labels[at], self.class_weights[part])
                self._check_finite(losses, part)
            self._update(step, len(rows))

    def _update(self, step: int, active: int) -> None:
        if self.recipe.grad_clip is not None:
            gradients = self.stacked.gradients[:active]
            norm = gradients.norm(dim=1, keepdim=True)
            gradients.mul_((self.recipe.grad_clip / (norm + 1e-6)).clamp(max=1))
        for number, row in enumerate(self.rows):
            row.grad = self.stacked.gradients[number] if number < active else None
        for group in self.optimizer.param_groups:
            done, steps = self.epoch * group["steps"] + step, self.recipe.epochs * group["steps"]
            group["lr"] = self.recipe.rate(done, steps)
        self.optimizer.step()

    def _check_finite(self, losses: Tensor, part: slice) -> None:
        for member, loss in zip(self.members[part], losses.tolist(), strict=True):
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"fold {member.fold.name}, seed {member.seed}: the loss is {loss} in epoch "
                    f"{self.epoch + 1}; lower the learning rate, or limit the gradient with grad_clip"
                )

    def _predict(self) -> list[Tensor]:
        """Logits of each member's test rows; shorter ones are filled up with a row of theirs and cut."""
        longest = max(len(member.fold.test) for member in self.members)
        at = torch.from_numpy(np.stack([np.resize(member.fold.test, longest) for member in self.members]))
        with stacked_settings(None, self.dtype):
            parts = [
                self.stacked.logits({name: value[rows] for name, value in self.inputs.items()})
                for rows in at.split(EVALUATION_ROWS, dim=1)
            ]
        return [
            logits[: len(member.fold.test)]
            for member, logits in zip(self.members, torch.cat(parts, dim=1), strict=True)
        ]

    def _results(self, keep_weights: bool) -> list[FoldResult]:
        by_epoch = torch.stack(self.by_epoch) if self.by_epoch else None  # (epochs, longest, members)
        return [
            FoldResult(
                member.fold.name,
                member.seed,
                member.fold.test,
                logits.clone(),
                None if by_epoch is None else by_epoch[:, : len(logits), number].clone(),
                self.stacked.state_dict(number) if keep_weights else None,
            )
            for number, (member, logits) in enumerate(zip(self.members, self._predict(), strict=True))
        ]

    def _save(self) -> None:
        if self.path is None:
            return
        state = {
            "epoch": self.epoch,
            "values": self.stacked.values,
            "buffers": self.stacked.buffers,
            "optimizer": self.optimizer.state_dict() if self.epoch < self.recipe.epochs else None,
            "by_epoch": self.by_epoch,
        }
        partial = self.path.with_name(f".{self.path.name}.partial")
        with writing(self.path, partial):
            torch.save(state, partial)
            partial.replace(self.path)

    def _load(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        state = torch.load(self.path, weights_only=True)
        self.stacked.values.copy_(state["values"])
        for name, value in state["buffers"].items():
            self.stacked.buffers[name].copy_(value)
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.by_epoch = state["epoch"], state["by_epoch"]


def _seeded(make_model: Callable[[], nn.Module], member: _Member) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(member.random(WEIGHTS).generate_state(1, np.uint64)[0]))
        return make_model()


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Inverse class frequencies (classes,) with mean 1 over the clips; 1 for a class that has no clip."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = len(labels) / (int((counts > 0).sum()) * counts)
    return weights.where(counts > 0, 1.0)


def _check(members: list[_Member], inputs: dict[str, Tensor], labels: Tensor, recipe: FoldRecipe) -> None:
    if not members:
        raise ValueError("there is nothing to train: give at least one fold and one seed")
    if wrong := {name: len(value) for name, value in inputs.items() if len(value) != len(labels)}:
        raise ValueError(f"{len(labels)} labels, but inputs of length {wrong}")
    if recipe.balance_classes and labels.ndim > 1:
        raise ValueError("balance_classes is for one label a clip; turn it off for multi-label models")
    for member in members:
        for rows, what in ((member.fold.train, "training"), (member.fold.test, "test")):
            if not len(rows):
                raise ValueError(f"fold {member.fold.name} has no {what} rows")


def _members_that_fit(model: nn.Module) -> int:
    """At most 8: more fill the caches, fewer leave time in calls. Fewer where weights are many."""
    weights = sum(value.numel() for value in model.parameters() if value.requires_grad)
    copies = 6  # values, gradients as found and as kept, two moments, and one to spare
    return max(1, min(8, int(MEMORY / (4 * copies * weights))))


def _claim(folder: Path, options: dict, members: list[_Member], inputs: dict, labels: Tensor) -> None:
    """Write down what is trained in `folder`, or refuse one in which something else is."""
    state = hashlib.sha256()
    for name, value in sorted({**inputs, "labels": labels}.items()):
        state.update(name.encode() + value.numpy().tobytes())
    for member in members:
        state.update(f"{member.fold.name} {member.seed}".encode())
        state.update(member.fold.train.tobytes() + member.fold.test.tobytes())
    found = json.loads(json.dumps(options | {"data": state.hexdigest()[:16]}))
    path = folder / "folds.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != found:
        raise ValueError(f"{folder} holds a run with other clips, folds or options; use another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


def _runs_of_equal_length(rows: list[np.ndarray]) -> Iterator[slice]:
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or len(rows[stop]) != len(rows[start]):
            yield slice(start, stop)
            start = stop

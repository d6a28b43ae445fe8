"""What is compared on action units: AC4AU and its ablations, networks on flow, D-FACE's tokens, all ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from dface_hf.data import tokenise_clips
from dface_hf.data.protocols import Fold
from dface_hf.data.unit_clips import UnitClips
from dface_hf.faces.flow import optical_flow
from dface_hf.models import AC4AUConfig, DFaceTokenizerModel, FlowImageProcessor

from .baselines import BASELINES, Baseline
from .cross_validate_heads import describe_tokenizer
from .fitting import fit
from .fold_ensemble import FoldRecipe, train_folds
from .train_units import AC4AU_RECIPE, predict_units, train_units

RESNET_RECIPE = FoldRecipe(50, 32, 1e-4, "adam", weight_decay=1e-3, balance_classes=False)
"""Of the CD6ME bench (meb, Varanka et al., 2023), which starts from ImageNet; here weights are random."""
RESNET_SIZE = 112

ABLATIONS: dict[str, dict[str, Any]] = {
    "no-pretraining": {},
    "no-decomposer": {"use_decomposer": False},
    "no-experts": {"use_experts": False},
    "bce": {"unit_loss": "bce"},
}
"""The ablations of AC4AU's paper, as changes of the configuration; the first one drops the weights of the
backbone."""


class UnitRow(Protocol):
    """Something that predicts a fold's test clips after learning from its training clips.

    Attributes:
        name: Of its row of the table, and in file names.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """All that its numbers depend on, as plain values."""

    def run(self, clips: UnitClips, fold: Fold, seed: int, folder: Path) -> np.ndarray:
        """Logits (test clips, units); goes on from what an interrupted call left in `folder`."""


@dataclass(frozen=True, eq=False)
class AC4AURow:
    """AC4AU on the frames from onset to offset; it does not see the apex.

    Attributes:
        name: Of the row.
        config: Sizes and switches.
        recipe: How each fold is trained.
        backbone: Weights to start from; None for random ones.
        source: Where they come from.
    """

    name: str
    config: AC4AUConfig
    recipe: FoldRecipe = AC4AU_RECIPE
    backbone: dict[str, Tensor] | None = None
    source: str = ""

    def describe(self) -> dict[str, Any]:
        told = {"recipe": asdict(self.recipe), "config": self.config.to_diff_dict()}
        if self.backbone is None:
            return told
        weights = round(sum(float(value.double().sum()) for value in self.backbone.values()), 6)
        return told | {"backbone": {"source": self.source, "sum of weights": weights}}

    def run(self, clips, fold, seed, folder) -> np.ndarray:
        model = train_units(self.config, clips, fold.train, self.recipe, seed, folder, self.backbone)
        return predict_units(model, clips.frames[fold.test])


def without(row: AC4AURow, ablation: str) -> AC4AURow:
    """The row with one part taken away.

    Raises:
        ValueError: Unknown ablation, or a row that has no pretraining to take away.
    """
    if ablation not in ABLATIONS:
        raise ValueError(f"unknown ablation {ablation!r}; known: {', '.join(ABLATIONS)}, all")
    name = f"{row.name}-{ablation}"
    if ablation != "no-pretraining":
        return replace(row, name=name, config=AC4AUConfig(**row.config.to_dict() | ABLATIONS[ablation]))
    if row.backbone is None:
        raise ValueError("no-pretraining: this AC4AU starts from random weights as it is; give a checkpoint")
    return replace(row, name=name, backbone=None)


@dataclass(frozen=True, eq=False)
class FlowRow:
    """A network on the flow picture of onset and apex, with a logit for each unit.

    Attributes:
        name: One of `BASELINES`.
        baseline: Model class and recipe.
    """

    name: str
    baseline: Baseline
    _pictures: dict = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {"recipe": asdict(self.baseline.recipe), "input": FLOW_INPUT}

    def run(self, clips, fold, seed, folder) -> np.ndarray:
        options = {**label_options(clips), "problem_type": "multi_label_classification"}
        config = self.baseline.model.config_class(**options)
        if clips not in self._pictures:
            self._pictures[clips] = flow_inputs(clips, config.image_size, config.num_channels)
        inputs = {"pixel_values": self._pictures[clips]}
        labels = torch.from_numpy(clips.shown).float()
        maker, recipe = self.baseline.maker(**options), self.baseline.recipe
        found = train_folds(maker, inputs, labels, [fold], recipe, [seed], folder=folder, progress=False)
        return found[0].logits.numpy()


@dataclass(frozen=True, eq=False)
class ResNetRow:
    """ResNet-18 of transformers, with random weights, on the flow picture of onset and apex.

    Attributes:
        name: Of the row.
        recipe: How each fold is trained.
        size: Side of the picture, px.
    """

    name: str = "resnet-18"
    recipe: FoldRecipe = RESNET_RECIPE
    size: int = RESNET_SIZE
    _pictures: dict = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {"recipe": asdict(self.recipe), "input": FLOW_INPUT, "size": self.size}

    def run(self, clips, fold, seed, folder) -> np.ndarray:
        if clips not in self._pictures:
            self._pictures[clips] = flow_inputs(clips, self.size, 3)
        pictures, labels = self._pictures[clips], torch.from_numpy(clips.shown).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = ResNetForImageClassification(
                ResNetConfig(
                    depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic",
                    problem_type="multi_label_classification", **label_options(clips),
                )
            )  # fmt: skip
        model = model.to(memory_format=torch.channels_last)
        train, size = torch.from_numpy(fold.train), self.recipe.batch_size

        def batches(epoch: int) -> Iterator[dict[str, Tensor]]:
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            for rows in train[torch.from_numpy(order)].split(size):
                yield {"pixel_values": pictures[rows], "labels": labels[rows]}

        facts = {"clips": clips.rows(fold.train).fingerprint, "size": self.size}
        fit(model, batches, -(-len(train) // size), self.recipe, seed, folder, facts)
        with torch.no_grad():
            parts = [model(part.to(model.device)).logits.cpu() for part in pictures[fold.test].split(64)]
        return torch.cat(parts).numpy()


@dataclass(frozen=True, eq=False)
class TokenRow:
    """D-FACE's tokens, one-hot, and one class-balanced logistic regression a unit.

    Attributes:
        name: Of the row.
        tokenizer: It does not change.
        source: Where it comes from.
        strength: Inverse weight of the penalty (scikit-learn's `C`).
    """

    name: str
    tokenizer: DFaceTokenizerModel
    source: str = ""
    strength: float = 0.1
    _read: dict = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "tokenizer": describe_tokenizer(self.tokenizer),
            "tokenizer trained": "no",
            "source": self.source,
            "input": "one-hot tokens of the stabilised onset/apex pair",
            "head": f"logistic regressions, balanced, C={self.strength}",
        }

    def run(self, clips, fold, seed, folder) -> np.ndarray:
        if clips not in self._read:
            ids = tokenise_clips(self.tokenizer.eval(), clips.pairs)
            size = self.tokenizer.config.codebook_size
            self._read[clips] = F.one_hot(ids, size).flatten(1).numpy().astype(np.float32)
        tokens = self._read[clips]
        columns = [self._column(tokens, shown, fold) for shown in clips.shown.T]
        return np.stack(columns, axis=1)

    def _column(self, tokens: np.ndarray, shown: np.ndarray, fold: Fold) -> np.ndarray:
        """Logits of one unit on the test clips; a constant where training clips all agree."""
        truth = shown[fold.train] > 0
        if truth.all() or not truth.any():
            return np.full(len(fold.test), 1.0 if truth.all() else -1.0)
        head = LogisticRegression(C=self.strength, class_weight="balanced", max_iter=300)
        made = make_pipeline(StandardScaler(), head).fit(tokens[fold.train], truth)
        return made.decision_function(tokens[fold.test])


@dataclass(frozen=True)
class AllOnes:
    """Every unit in every clip: what F1 gives for nothing (17.77 % on CD6ME's counts)."""

    name: str = "all-ones"

    def describe(self) -> dict[str, Any]:
        return {"input": "nothing"}

    def run(self, clips, fold, seed, folder) -> np.ndarray:
        return np.ones((len(fold.test), len(clips.units)))


FLOW_INPUT = "Farneback flow of the stabilised onset/apex pair"
FLOW_NAMES = ("off-apexnet", "ststnet", "rcn-a", "sssnet", "htnet")
ROWS = ("ac4au", "dface", "resnet-18", "all-ones", *FLOW_NAMES)
"""Names of the rows; a checkpoint folder of AC4AU or D-FACE stands for itself."""


def row_named(name: str, options: dict[str, Any] | None = None) -> UnitRow:
    """A row that needs no checkpoint.

    Args:
        name: One of `ROWS` but "dface".
        options: Changes of the recipe; they do not touch "all-ones".

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    options = {**(options or {}), "balance_classes": False}
    if name == "ac4au":
        return AC4AURow(name, AC4AUConfig(), replace(AC4AU_RECIPE, **options))
    if name == "resnet-18":
        return ResNetRow(name, replace(RESNET_RECIPE, **options))
    if name == "all-ones":
        return AllOnes()
    if name not in FLOW_NAMES:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(ROWS)}, or a folder of AC4AU or D-FACE")
    found = BASELINES[name]
    return FlowRow(name, replace(found, recipe=replace(found.recipe, **options)))


def label_options(clips: UnitClips) -> dict[str, dict]:
    """What a configuration is told of the units."""
    names = [f"AU{unit}" for unit in clips.units]
    return {"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}}


def flow_inputs(clips: UnitClips, size: int, channels: int) -> Tensor:
    """Flow of onset and apex as the networks read it, (n, channels, size, size)."""
    processor = FlowImageProcessor(size={"height": size, "width": size}, num_channels=channels)
    pairs = zip(clips.pairs.onset, clips.pairs.apex, strict=True)
    return processor([optical_flow(*pair) for pair in pairs], return_tensors="pt").pixel_values

"""Models that are cross-validated beside D-FACE: networks on flow, and scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from torch import Tensor
from tqdm.auto import tqdm

from dface_hf.models import FlowImageProcessor

from .baselines import BASELINES, Baseline
from .cross_validate_clips import ClipTable
from .cross_validate_outcome import Candidate, Outcome, train_together
from .estimators import make_estimator
from .fold_ensemble import FoldRecipe


@dataclass(frozen=True, eq=False)
class FlowNetwork:
    """A network on the flow picture of onset and apex.

    Attributes:
        name: One of `BASELINES`.
        baseline: Model class and recipe.
    """

    name: str
    baseline: Baseline

    @property
    def recipe(self) -> FoldRecipe:
        """How it is trained."""
        return self.baseline.recipe

    def describe(self) -> dict[str, Any]:
        return {"recipe": asdict(self.recipe), "input": "Farneback flow of the stabilised pair"}

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        labels = {"id2label": table.scheme.id2label, "label2id": table.scheme.label2id}
        make_model = self.baseline.maker(**labels)
        config = self.baseline.model.config_class(**labels)
        inputs = {"pixel_values": flow_pictures(table, config.image_size, config.num_channels)}
        outcome = train_together(make_model, inputs, table, folds, seeds, self.recipe, folder, every_epoch)
        return {self.name: outcome}


@dataclass(frozen=True, eq=False)
class Estimator:
    """A scikit-learn estimator, fitted anew for each fold with everything that it scales by; never saved.

    Attributes:
        name: Of the row.
        make: Makes an unfitted estimator.
        features: Table -> features (n, d) of the annotated pairs, and of those to train on.
        facts: What is told of it.
    """

    name: str
    make: Callable[[], ClassifierMixin]
    features: Callable[[ClipTable], tuple[np.ndarray, np.ndarray]]
    facts: str = ""

    def describe(self) -> dict[str, Any]:
        return {"estimator": " ".join(repr(self.make()).split()), "input": self.facts, "runs": 1}

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        test, training = self.features(table)
        predicted = np.zeros((1, len(table)), np.int64)
        for fold in tqdm(folds, desc=f"{self.name}: folds", unit="fold"):
            fitted = self.make().fit(training[fold.train], table.clips.labels[fold.train])
            predicted[0, fold.test] = fitted.predict(test[fold.test])
        return {self.name: Outcome(predicted)}


def flow_pictures(table: ClipTable, size: int, channels: int = 3) -> list[Tensor]:
    """Flow as the networks read it, (n, channels, size, size): annotated pairs, and those to train on."""
    processor = FlowImageProcessor(size={"height": size, "width": size}, num_channels=channels)
    flows = table.flows if table.reselected else table.flows[:1]
    return [processor(list(flow), return_tensors="pt").pixel_values for flow in flows]


def flow_features(table: ClipTable) -> tuple[np.ndarray, np.ndarray]:
    """The 28 px flow pictures as rows of numbers in [0, 1]."""
    found = [pictures.flatten(1).numpy() for pictures in flow_pictures(table, 28)]
    return found[0], found[-1]


ON_FEATURES = {
    "svm": Estimator(
        "svm",
        partial(make_estimator, "svm"),
        flow_features,
        "u, v and strain of Farneback flow of the stabilised pair, 28 px, each stretched to [0, 1]",
    )
}
"""Estimators with what they read."""
MODELS = ("dface", *BASELINES, *ON_FEATURES)
"""Names of the models; D-FACE needs a checkpoint besides."""


def baseline_named(name: str, options: dict[str, Any]) -> Candidate:
    """A model of `MODELS` that needs no checkpoint.

    Args:
        name: Its name.
        options: Changes of the recipe; they do not touch estimators.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if name in ON_FEATURES:
        return ON_FEATURES[name]
    if name not in BASELINES:
        raise ValueError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}, or a checkpoint folder of D-FACE"
        )
    found = BASELINES[name]
    return FlowNetwork(name, replace(found, recipe=replace(found.recipe, **options)))

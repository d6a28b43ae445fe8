"""Models that are cross-validated beside D-FACE: networks on flow, and scikit-learn estimators."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .baselines import BASELINES, Baseline
from .cross_validate_features import FEATURES, flow_pictures
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

    def check(self, table, every_epoch) -> None:
        """Nothing: pairs are all it needs."""

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
        name: One of `FEATURES`.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        made = " ".join(repr(make_estimator(self.name)).split())
        return {"estimator": made, "input": FEATURES[self.name].facts, "runs": 1}

    def check(self, table, every_epoch) -> None:
        FEATURES[self.name].check(table)

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        test, training = FEATURES[self.name].read(table)
        predicted = np.zeros((1, len(table)), np.int64)
        for fold in tqdm(folds, desc=f"{self.name}: folds", unit="fold"):
            fitted = make_estimator(self.name).fit(training[fold.train], table.clips.labels[fold.train])
            predicted[0, fold.test] = fitted.predict(test[fold.test])
        return {self.name: Outcome(predicted)}


MODELS = ("dface", *BASELINES, *FEATURES)
"""Names of the models; D-FACE needs a checkpoint besides."""


def baseline_named(name: str, options: dict[str, Any]) -> Candidate:
    """A model of `MODELS` that needs no checkpoint.

    Args:
        name: Its name.
        options: Changes of the recipe; they do not touch estimators.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if name in FEATURES:
        return Estimator(name)
    if name not in BASELINES:
        raise ValueError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}, or a checkpoint folder of D-FACE"
        )
    found = BASELINES[name]
    return FlowNetwork(name, replace(found, recipe=replace(found.recipe, **options)))

"""The flow baselines with the recipes that they were published with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

from dface_hf.models import (
    HTNetForImageClassification,
    OffApexNetForImageClassification,
    RCNAForImageClassification,
    SSSNetForImageClassification,
    STSTNetForImageClassification,
)

from .fold_ensemble import FoldRecipe


@dataclass(frozen=True)
class Baseline:
    """A network and how it is trained.

    Attributes:
        model: The model class; its configuration's defaults are the published sizes.
        recipe: Optimiser and epochs as published, without class weights. Batch size and weight decay of
            OFF-ApexNet, SSSNet and RCN-A are those of the CD6ME bench.
    """

    model: type[PreTrainedModel]
    recipe: FoldRecipe

    def maker(self, **options) -> Callable[[], PreTrainedModel]:
        """What `train_folds` makes its members with; `options` are those of the configuration."""
        return lambda: self.model(self.model.config_class(**options))


BASELINES = {
    "off-apexnet": Baseline(
        OffApexNetForImageClassification,
        FoldRecipe(3000, 32, 1e-4, "adam", weight_decay=1e-3, balance_classes=False),
    ),
    "ststnet": Baseline(
        STSTNetForImageClassification, FoldRecipe(500, 256, 5e-5, "adam", balance_classes=False)
    ),
    "rcn-a": Baseline(
        RCNAForImageClassification,
        FoldRecipe(500, 32, 1e-4, "sgd", weight_decay=5e-4, balance_classes=False),
    ),
    "sssnet": Baseline(
        SSSNetForImageClassification,
        FoldRecipe(200, 32, 1e-4, "adam", weight_decay=1e-3, balance_classes=False),
    ),
    "htnet": Baseline(HTNetForImageClassification, FoldRecipe(800, 256, 5e-5, "adam", balance_classes=False)),
}

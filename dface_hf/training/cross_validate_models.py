"""What can be cross-validated, each with the recipe that it was published with: D-FACE, flow networks, SVM."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from tqdm.auto import tqdm

from dface_hf.data import tokenise_clips
from dface_hf.data.protocols import Fold
from dface_hf.models import DFaceForVideoClassification, FlowImageProcessor

from .baselines import BASELINES, Baseline
from .cross_validate_clips import ClipTable
from .fold_ensemble import FoldRecipe, FoldResult, train_folds
from .train import TrainConfig, train_heads

DFACE_RECIPE = FoldRecipe(120, 16, 2e-4, "adamw", 1e-5, betas=(0.85, 0.98))
"""D-FACE's heads (ICLR 2026): AdamW, batches of 16, weighted classes, "up to" 120 epochs. The published code
takes the epoch that is best on the test subject; here it is always the last one."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "mean-pooling": {"pooling": "mean"},
    "class-token": {"pooling": "class_token"},
    "cnn-head": {"head": "conv"},
    "2d-positions": {"positions": "2d"},
    "no-edclip": {"edclip_weight": 0.0},
}
"""The ablations of D-FACE's paper, as changes of the configuration."""


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
        partial = path.with_name(f".{path.name}.partial.npz")
        np.savez(partial, **{name: value for name, value in vars(self).items() if value is not None})
        partial.replace(path)

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

    def run(
        self, table: ClipTable, folds: Sequence[Fold], seeds: Sequence[int], folder: Path, every_epoch: bool
    ) -> dict[str, Outcome]:
        """Rows of the table by name; goes on from what an interrupted call left in `folder`."""


@dataclass(frozen=True, eq=False)
class TokenHeads:
    """New heads on the tokens of a tokenizer that does not change; the heads of all folds train at once.

    Attributes:
        name: Of the row.
        template: Tokenizer, configuration and text anchors of the heads; its own heads are not used.
        recipe: Of the heads.
        source: Where the tokenizer comes from.
    """

    name: str
    template: DFaceForVideoClassification
    recipe: FoldRecipe = DFACE_RECIPE
    source: str = ""

    def describe(self) -> dict[str, Any]:
        return describe_heads(self) | {"tokenizer trained": "no; its tokens were read once"}

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        tokenizer = self.template.dface.tokenizer.eval()
        ids = [tokenise_clips(tokenizer, pairs) for pairs in _pairs(table)]
        outcome = _of_all_folds(
            self.make_model, {"action_ids": ids}, table, folds, seeds, self.recipe, folder, every_epoch
        )
        return _rows(self, outcome)

    def make_model(self) -> HeadsOnTokens:
        """New heads around the template's tokenizer."""
        return HeadsOnTokens(new_heads(self.template))

    def without(self, ablation: str) -> TokenHeads:
        """The same but for one of the `ABLATIONS`."""
        if ablation not in ABLATIONS:
            raise ValueError(f"unknown ablation {ablation!r}; known: {', '.join(ABLATIONS)}")
        config = copy.deepcopy(self.template.config)
        for field, value in ABLATIONS[ablation].items():
            setattr(config, field, value)
        template = DFaceForVideoClassification(config)
        _take_over(template, self.template)
        return replace(self, name=f"{self.name}-{ablation}", template=template)


@dataclass(frozen=True, eq=False)
class TrainedTokenizer:
    """The paper's way: heads and tokenizer learn together, one fold after the other.

    Attributes: as of `TokenHeads`; of the recipe, optimiser and schedule are those of `TrainConfig`.
    """

    name: str
    template: DFaceForVideoClassification
    recipe: FoldRecipe = DFACE_RECIPE
    source: str = ""

    def describe(self) -> dict[str, Any]:
        return describe_heads(self) | {
            "tokenizer trained": "along, fold by fold",
            "recipe": asdict(self._config(0)),
        }

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        if every_epoch:
            raise ValueError(
                "no oracle epoch with a tokenizer that is trained along; leave out one of the two"
            )
        outputs = np.zeros((len(seeds), len(table), _width(self.template)), np.float32)
        bar = tqdm(total=len(seeds) * len(folds), desc=f"{self.name}: folds", unit="fold")
        with bar:
            for run, seed in enumerate(seeds):
                for number, fold in enumerate(folds):
                    path = folder / f"seed-{seed}-fold-{number:03d}"
                    outputs[run, fold.test] = self._fold(table, fold, seed, path)
                    bar.update()
        return _rows(self, Outcome(outputs.argmax(-1), None, outputs))

    def _fold(self, table: ClipTable, fold: Fold, seed: int, path: Path) -> np.ndarray:
        """Outputs (test, classes and anchors) of the model of one fold."""
        kept = path.with_suffix(".npz")
        if kept.exists():
            return Outcome.load(kept).logits
        torch.manual_seed(seed)
        model = new_heads(self.template, shared=False)
        clips = replace(table.clips, pairs=table.training).rows(fold.train)
        model = train_heads(model, clips, self._config(seed), path, resume=True)
        ids = tokenise_clips(model.dface.tokenizer, table.clips.rows(fold.test).pairs)
        with torch.no_grad():
            found = HeadsOnTokens(model)(action_ids=ids.to(model.device)).logits.float().cpu().numpy()
        Outcome(found.argmax(-1), None, found).save(kept)
        shutil.rmtree(path)
        return found

    def _config(self, seed: int) -> TrainConfig:
        names = ("epochs", "batch_size", "learning_rate", "weight_decay", "balance_classes")
        options = {name: getattr(self.recipe, name) for name in names}
        mixed = {"float32": "no", "bfloat16": "bf16"}[self.recipe.precision]
        return TrainConfig(**options, train_tokenizer=True, seed=seed, mixed_precision=mixed)


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
        outcome = _of_all_folds(
            make_model, inputs, table, folds, seeds, self.recipe, folder, every_epoch, self.name
        )
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


class HeadsOnTokens(nn.Module):
    """A classifier on tokens whose logits are followed by the cosines to its descriptions, if it has any.

    The logits of a clip are then shifted so that the largest is 2: that changes neither their order nor their
    softmax, and the largest of all outputs is always a class.
    """

    def __init__(self, model: DFaceForVideoClassification):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, action_ids: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        """Read tokens (batch, 16): `loss`, where labels are given, and `logits` (batch, classes + anchors)."""
        output = self.model(action_ids=action_ids, labels=labels)
        logits = output.logits
        if output.similarities is not None:
            logits = logits - logits.amax(dim=-1, keepdim=True) + 2
            logits = torch.cat([logits, output.similarities.clamp(-1, 1)], dim=-1)
        return SimpleNamespace(loss=output.loss, logits=logits)


def new_heads(template: DFaceForVideoClassification, shared: bool = True) -> DFaceForVideoClassification:
    """Untrained heads with tokenizer, configuration and anchors of a template.

    Args:
        template: Its heads are not used.
        shared: Use the template's tokenizer itself, frozen, and not a copy.
    """
    model = DFaceForVideoClassification(copy.deepcopy(template.config))
    if shared:
        model.dface.text_anchors.copy_(template.dface.text_anchors)
        model.dface.tokenizer = template.dface.tokenizer.requires_grad_(False)
    else:
        _take_over(model, template)
    return model


def describe_heads(candidate: TokenHeads | TrainedTokenizer) -> dict[str, Any]:
    """What both ways of training D-FACE's heads depend on."""
    config = candidate.template.config
    weights = sum(float(value.double().sum()) for value in candidate.template.dface.tokenizer.parameters())
    fields = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "head")
    fields += ("hidden_dropout_prob", "positions", "pooling", "entropy_weight", "edclip_weight")
    return {
        "recipe": asdict(candidate.recipe),
        "source": candidate.source,
        "tokenizer": f"{config.tokenizer_config.image_size} px, sum of weights {weights:.6f}",
        "heads": {name: getattr(config, name) for name in fields},
        "anchor_texts": config.anchor_texts,
    }


def flow_pictures(table: ClipTable, size: int, channels: int = 3) -> list[Tensor]:
    """Flow as the networks read it, (n, channels, size, size): annotated pairs, and those to train on."""
    processor = FlowImageProcessor(size={"height": size, "width": size}, num_channels=channels)
    flows = table.flows if table.reselected else table.flows[:1]
    return [processor(list(flow), return_tensors="pt").pixel_values for flow in flows]


def flow_features(table: ClipTable) -> tuple[np.ndarray, np.ndarray]:
    """The 28 px flow pictures as rows of numbers in [0, 1]."""
    found = [pictures.flatten(1).numpy() for pictures in flow_pictures(table, 28)]
    return found[0], found[-1]


ESTIMATORS = {
    "svm": Estimator(
        "svm",
        lambda: make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced")),
        flow_features,
        "u, v and strain of Farneback flow of the stabilised pair, 28 px, each stretched to [0, 1]",
    )
}
MODELS = ("dface", *BASELINES, *ESTIMATORS)
"""Names of the models; D-FACE needs a checkpoint besides."""


def baseline_named(name: str, options: dict[str, Any]) -> Candidate:
    """A model of `MODELS` that needs no checkpoint.

    Args:
        name: Its name.
        options: Changes of the recipe; they do not touch estimators.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    if name not in BASELINES:
        raise ValueError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}, or a checkpoint folder of D-FACE"
        )
    found = BASELINES[name]
    return FlowNetwork(name, replace(found, recipe=replace(found.recipe, **options)))


def _take_over(model: DFaceForVideoClassification, template: DFaceForVideoClassification) -> None:
    """Give a model copies of the template's tokenizer and anchors."""
    model.dface.tokenizer.load_state_dict(template.dface.tokenizer.state_dict())
    model.dface.text_anchors.copy_(template.dface.text_anchors)


def _pairs(table: ClipTable) -> list:
    return [table.clips.pairs, table.training] if table.reselected else [table.clips.pairs]


def _of_all_folds(
    make_model, inputs: dict[str, list[Tensor]], table, folds, seeds, recipe, folder, every_epoch, name=""
) -> Outcome:
    """Train all folds at once. Pairs to train on, where they are others, follow the annotated ones."""
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


def _rows(candidate: TokenHeads | TrainedTokenizer, outcome: Outcome) -> dict[str, Outcome]:
    """The class head's row and, where classes are described and that was learned, EDCLIP's."""
    config = candidate.template.config
    classes = outcome.logits[..., : config.num_labels]
    rows = {candidate.name: replace(outcome, logits=classes)}
    if config.anchor_texts and config.edclip_weight:
        cosines = outcome.logits[..., config.num_labels :]
        rows[f"{candidate.name}-edclip"] = Outcome(described_class(cosines, config), None, cosines)
    return rows


def described_class(cosines: np.ndarray, config) -> np.ndarray:
    """The class of the nearest description; the class of others where none comes nearer than its margin.

    Args:
        cosines: (..., anchors).
        config: A `DFaceConfig`.
    """
    ids = np.array([config.label2id[label] for label in config.anchor_labels])
    nearest = ids[cosines.argmax(-1)]
    if config.others_label is None:
        return nearest
    return np.where(cosines.max(-1) < config.others_margin, config.label2id[config.others_label], nearest)


def _width(template: DFaceForVideoClassification) -> int:
    return template.config.num_labels + len(template.config.anchor_labels)

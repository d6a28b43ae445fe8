"""How long do all folds take, one after the other and as one ensemble?

    python examples/benchmarks/fold_ensemble.py                        # the D-FACE head on cached tokens
    python examples/benchmarks/fold_ensemble.py --model ststnet --model sssnet
    python examples/benchmarks/fold_ensemble.py --full                 # train all 68 folds, and time that

Random clips in the shape of the MEGC2019 composite: 442 clips, 68 subjects of as many clips, three
classes. Some folds train in a plain loop, some as an ensemble, alternately, and the best of each
counts. The table gives processor seconds for one epoch of all 68 folds, and how many times as fast the
ensemble is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import dface_hf
from dface_hf import DFaceConfig, DFaceForVideoClassification
from dface_hf.analysis.tables import markdown_table
from dface_hf.data.protocols import Fold, leave_one_subject_out
from dface_hf.training.baselines import BASELINES
from dface_hf.training.fold_ensemble import FoldRecipe, train_folds

CLIPS, SUBJECTS, CLASSES = 442, 68, 3
DFACE = FoldRecipe(10, 64, 2e-4, "adamw", 1e-5, betas=(0.85, 0.98), grad_clip=1.0, schedule="cosine")


def folds() -> list[Fold]:
    """Leave-one-subject-out; subjects have 1 to 33 clips, as in the composite."""
    share = np.random.default_rng(0).gamma(1.5, size=SUBJECTS)
    subjects = np.random.default_rng(1).choice(SUBJECTS, CLIPS - SUBJECTS, p=share / share.sum())
    names = [f"s{number}" for number in [*range(SUBJECTS), *subjects]]
    return leave_one_subject_out(["random"] * CLIPS, names)


def dface_head() -> DFaceForVideoClassification:
    """An untrained head with text anchors, of the size of the embedded checkpoint."""
    options = DFaceConfig.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).to_dict()
    for name in ("anchor_texts", "others_label", "class_weights", "id2label", "label2id"):
        options.pop(name, None)
    model = DFaceForVideoClassification(DFaceConfig(**options, num_labels=CLASSES))
    texts = {label: label for label in model.config.id2label.values()}
    model.dface.set_text_anchors(torch.randn(CLASSES, model.config.projection_dim), texts, "random")
    model.dface.tokenizer.requires_grad_(False)
    return model


def subject_of(name: str) -> tuple[Callable, dict[str, torch.Tensor], FoldRecipe]:
    """Maker, random inputs and recipe of a model."""
    if name == "dface":
        return dface_head, {"action_ids": torch.randint(0, 32, (CLIPS, 16))}, DFACE
    make_model = BASELINES[name].maker(num_labels=CLASSES)
    config = make_model().config
    pictures = torch.rand(CLIPS, config.num_channels, config.image_size, config.image_size)
    return make_model, {"pixel_values": pictures}, BASELINES[name].recipe


def one_after_the_other(make_model, inputs, labels, folds: list[Fold], recipe: FoldRecipe) -> None:
    """The plain loop that the ensemble replaces."""
    for fold in folds:
        model = make_model().train()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = recipe.make_optimizer([{"params": parameters}])
        for _ in range(recipe.epochs):
            for at in torch.from_numpy(np.random.permutation(fold.train)).split(recipe.batch_size):
                optimizer.zero_grad()
                model(**{key: value[at] for key, value in inputs.items()}, labels=labels[at]).loss.backward()
                if recipe.grad_clip:
                    torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip)
                optimizer.step()


def seconds(function: Callable, *arguments, **options) -> float:
    """Processor time of a call: what others do on this machine does not count."""
    start = time.process_time()
    function(*arguments, **options)
    return time.process_time() - start


def compare(name: str, members: int, epochs: int, repeats: int) -> dict[str, float]:
    """Seconds for an epoch of all folds: alone, together, and together with products in bfloat16."""
    make_model, inputs, recipe = subject_of(name)
    labels, some = torch.arange(CLIPS) % CLASSES, folds()
    best = {"one at a time": [], "ensemble": [], "ensemble, bfloat16": []}
    for _ in range(repeats):
        for label, times in best.items():
            precision = "bfloat16" if "bfloat16" in label else "float32"
            timed = replace(recipe, epochs=epochs, precision=precision)
            part = some[: max(1, members // 4) if label == "one at a time" else members]
            train = one_after_the_other if label == "one at a time" else train_folds
            options = {} if train is one_after_the_other else {"progress": False}
            spent = seconds(train, make_model, inputs, labels, part, timed, **options)
            times.append(spent / epochs / len(part) * SUBJECTS)
    row = {label: min(times) for label, times in best.items()}
    row["times as fast"] = row["one at a time"] / row["ensemble"]
    row["times as fast, bfloat16"] = row["one at a time"] / row["ensemble, bfloat16"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", choices=["dface", *BASELINES])
    parser.add_argument("--members", type=int, default=8, help="folds in the ensemble that is timed")
    parser.add_argument("--epochs", type=int, default=2, help="epochs that are timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="train the first model on all folds, to the end")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.model or ["dface"]
    if options.full:
        make_model, inputs, recipe = subject_of(names[0])
        recipe = replace(recipe, precision="bfloat16")
        spent = seconds(train_folds, make_model, inputs, torch.arange(CLIPS) % CLASSES, folds(), recipe)
        print(f"{names[0]}: {SUBJECTS} folds of {CLIPS} clips, {recipe.epochs} epochs: {spent:.0f} s")
        return
    rows = {name: compare(name, options.members, options.epochs, options.repeats) for name in names}
    print(f"Seconds for an epoch of {SUBJECTS} folds, {options.threads} thread(s)\n\n{markdown_table(rows)}")


if __name__ == "__main__":
    main()

"""Baselines on the real motion of 442 real micro-expressions (the MEGC2019 composite), leave one subject out.

    python examples/benchmarks/megc2019.py --model svm
    python examples/benchmarks/megc2019.py --model ststnet --model sssnet --seeds 3
    python examples/benchmarks/megc2019.py --model htnet --epochs 20 --size hidden_size=64
    dface evaluate runs/megc2019/ststnet-*.txt --against runs/real-motion/logs/head-fine-tuned-0.txt \\
        --resample subjects

Reads the flow pictures of `--data` (28 px; u, v and optical strain) and leaves out everything where the
folder is absent. Networks of 60 or 64 px get the pictures enlarged bilinearly. Every network trains for its
published number of epochs unless --epochs says otherwise, and scored after the last one; an SVM has one
score and no seed. Interrupted, it goes on where it was: --work holds checkpoints while a model trains, then
for each model and seed a JSON file of scores and a prediction log, which `dface evaluate` compares with
those of real_motion.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from dface_hf import FlowImageProcessor
from dface_hf.analysis.tables import markdown_table
from dface_hf.data import read_flow_images
from dface_hf.data.flow_images import FlowImages
from dface_hf.data.protocols import Fold, leave_one_subject_out
from dface_hf.metrics import Prediction, recognition_scores, write_log
from dface_hf.training.baselines import BASELINES
from dface_hf.training.checkpointing import write_json
from dface_hf.training.estimators import make_estimator
from dface_hf.training.fold_ensemble import train_folds

LABELS = ("negative", "positive", "surprise")
# Parts of the side; the pictures have the eyes at about row 7 of 28 and the mouth at about row 22.
HTNET_REGIONS = ((0.29, 0.27), (0.71, 0.27), (0.36, 0.79), (0.64, 0.79))


def scores_of(clips: FlowImages, predicted: np.ndarray) -> dict:
    """Scores pooled over the folds, with each corpus's own."""
    return recognition_scores(clips.labels, predicted, LABELS, list(clips.corpora))


def run_estimator(clips: FlowImages, folds: list[Fold]) -> tuple[np.ndarray, dict]:
    """The SVM on the pictures, flattened; its scaler is fitted on each fold's training clips."""
    features, predicted = clips.images.reshape(len(clips.images), -1) / 255, np.zeros(len(clips.labels), int)
    for fold in folds:
        fitted = make_estimator("svm").fit(features[fold.train], clips.labels[fold.train])
        predicted[fold.test] = fitted.predict(features[fold.test])
    return predicted, {}


def run_network(
    name: str, clips: FlowImages, folds: list[Fold], options: argparse.Namespace, seed: int, work: Path
) -> tuple[np.ndarray, dict]:
    """Classes by one seed of a network, 68 members with checkpoints in `work`, and how it was trained."""
    recipe = BASELINES[name].recipe
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs, precision=options.precision)
    sizes = {"region_centers": HTNET_REGIONS} if name == "htnet" else {}
    sizes |= {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.size)}
    make_model = BASELINES[name].maker(num_labels=len(LABELS), **sizes)
    config = make_model().config
    processor = FlowImageProcessor(
        size={"height": config.image_size, "width": config.image_size}, num_channels=config.num_channels
    )
    inputs = dict(processor(list(clips.images), return_tensors="pt"))
    results = train_folds(
        make_model, inputs, torch.from_numpy(clips.labels), folds, recipe, (seed,), work,
        every_epoch=options.report_oracle_epoch,
    )  # fmt: skip
    predicted = np.zeros(len(clips.labels), int)
    for result in results:
        predicted[result.test] = result.logits.argmax(-1).numpy()
    told = {"recipe": asdict(recipe), "sizes": sizes}
    if options.report_oracle_epoch:
        best = predicted.copy()
        for result in results:  # the epoch that is best on the test subject: not a score, a warning
            hits = (result.by_epoch == torch.from_numpy(clips.labels[result.test])).float().mean(dim=1)
            best[result.test] = result.by_epoch[hits.argmax()].numpy()
        told["oracle"] = scores_of(clips, best)
    return predicted, told


def measured(name: str, seed: int, clips: FlowImages, folds: list[Fold], options: argparse.Namespace) -> dict:
    """The scores of a model and seed: read where they are written already, else measured and written."""
    changes = [f"{options.epochs}-epochs"] if options.epochs else []
    changes += [change.replace("=", "-") for change in options.size]
    changes += [options.precision] if options.precision != "float32" else []
    work = options.work / "-".join([name, *(changes if name != "svm" else []), str(seed)])
    path = work.with_name(f"{work.name}.json")
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    resumed, start = work.is_dir(), time.process_time()
    if name == "svm":
        predicted, told = run_estimator(clips, folds)
    else:
        predicted, told = run_network(name, clips, folds, options, seed, work)
    # The time before an interruption is not known: that of a resumed run is a lower bound.
    found = scores_of(clips, predicted) | told | {"model": name, "seed": seed, "resumed": resumed}
    found |= {"processor_seconds": time.process_time() - start}
    options.work.mkdir(parents=True, exist_ok=True)
    both = zip(clips.names, clips.labels.tolist(), predicted.tolist(), strict=True)
    write_log(path.with_suffix(".txt"), [Prediction(*clip, *classes) for clip, *classes in both])
    write_json(path, found)
    shutil.rmtree(work, ignore_errors=True)
    return found


def row_of(found: list[dict]) -> dict[str, float]:
    """Means over seeds, and the spread of UF1."""
    row = {key: float(np.mean([one[key] for one in found])) for key in ("uf1", "uar", "accuracy")}
    if len(found) > 1:
        row["uf1, std over seeds"] = float(np.std([one["uf1"] for one in found], ddof=1))
    for corpus in found[0]["per_corpus"]:
        row[f"uf1 {corpus}"] = float(np.mean([one["per_corpus"][corpus]["uf1"] for one in found]))
    if "oracle" in found[0]:
        row["oracle uf1"] = float(np.mean([one["oracle"]["uf1"] for one in found]))
    row["seeds"] = len(found)
    row["processor minutes a seed"] = float(np.mean([one["processor_seconds"] for one in found]) / 60)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/megc2019"))
    parser.add_argument("--work", type=Path, default=Path("runs/megc2019"))
    parser.add_argument("--model", action="append", choices=["svm", *BASELINES])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the published number; the table says so")
    parser.add_argument(
        "--size", action="append", default=[], metavar="NAME=VALUE", help="of the configuration"
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--report-oracle-epoch", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not (options.data / "manifest.csv").is_file():
        print(f"{options.data} is absent: nothing to measure")
        return
    clips = read_flow_images(options.data)
    folds = leave_one_subject_out(list(clips.corpora), [subject for _, subject, _ in clips.names])
    print(f"{len(clips.labels)} clips, {len(folds)} folds")
    rows = {}
    for name in options.model or ["svm"]:
        seeds = range(1 if name == "svm" else options.seeds)
        changes = [f"{options.epochs} epochs"] if options.epochs else []
        title = name if name == "svm" else ", ".join([name, *changes, *options.size])
        rows[title] = row_of([measured(name, seed, clips, folds, options) for seed in seeds])
        print(f"\n{markdown_table(rows)}", flush=True)


if __name__ == "__main__":
    main()

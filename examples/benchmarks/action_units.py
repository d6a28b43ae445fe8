"""Action units on three synthetic corpora, each left out in turn: AC4AU and what it is up against.

The corpora (`dface_hf.data.synthetic_au`) differ in camera, rate, size of motion and people; their seeds are
fixed there. AC4AU sees eight frames from onset to offset, the others the annotated onset and apex. All sizes
and epochs are reduced so that the whole runs on one CPU core within the hour: the numbers compare the rows at
this budget, and say nothing about real micro-expressions. Epochs are fixed, and nothing is chosen on the test
corpora. Every (row, fold, seed) is one file, so that an interrupted run goes on. The table is drawn, too, as
`lodo/scores.png` of the run's folder.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers.utils import logging

from dface_hf import DEFAULT_CHECKPOINT, AC4AUForActionUnitDetection, AC4AUModel, DFaceTokenizerModel
from dface_hf.analysis import save_figure, subject_probe
from dface_hf.analysis.unit_score_plots import plot_unit_scores
from dface_hf.data.synthetic_au import write_au_corpora
from dface_hf.data.unit_clips import UnitClips, read_unit_clips
from dface_hf.pipelines.loading import load_model
from dface_hf.training.checkpointing import write_json
from dface_hf.training.cross_validate import CrossValidationConfig
from dface_hf.training.cross_validate_units import cross_validate_units, tell_outdated, unit_table
from dface_hf.training.pretrain_faces import BLOCK, FACES_RECIPE, PEOPLE, people_stream, pretrain_backbone
from dface_hf.training.train_units import AC4AU_MINI, AC4AU_RECIPE, train_units
from dface_hf.training.unit_batches import pixel_values
from dface_hf.training.unit_rows import ABLATIONS, AC4AURow, AllOnes, ResNetRow, TokenRow, row_named, without

SIZE = 64  # of the crops, px
EPOCHS = {"ac4au": 30, "off-apexnet": 150, "ststnet": 500, "sssnet": 20, "resnet-18": 10}
"""Reduced, but for STSTNet; published are 3000 for OFF-ApexNet, 200 for SSSNet and 50 for ResNet-18."""


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()  # of reading weights
    work = Path(options.work)
    clips = read_unit_clips(write_au_corpora(work / "corpora", options.clips, SIZE), AC4AU_MINI.image_size)
    rows = quick_rows(options)
    wanted = [name for name in ("ac4au", *(f"ac4au-{one}" for one in ABLATIONS)) if chosen(name, options)]
    told = {}
    if wanted:
        recipe, stream = replace(FACES_RECIPE, epochs=options.blocks), people_stream(AC4AU_MINI)
        start, accuracy = pretrain_backbone(AC4AU_MINI, stream, PEOPLE, recipe, folder=work / "pretraining")
        told = {"pretraining": {"people": PEOPLE, "steps": BLOCK * options.blocks, "accuracy": accuracy}}
        full = full_row(start, options)
        rows += [row for row in (full, *(without(full, one) for one in ABLATIONS)) if row.name in wanted]
    protocol = CrossValidationConfig("lodo", seeds=tuple(range(options.seeds)))
    document = cross_validate_units(clips, rows, protocol, work / "lodo", resume=True) | told
    save_figure(plot_unit_scores(document), work / "lodo" / "scores.png")
    if "ac4au" in wanted:
        document["subject_probes"] = subject_probes(full, clips, work / "probes")
    write_json(Path(options.json or work / "report.json"), document)
    tell(document)
    if "outdated" in document:
        raise SystemExit(tell_outdated(document["outdated"], work / "lodo"))


def chosen(name: str, options: argparse.Namespace) -> bool:
    return not options.rows or name in options.rows


def epochs(name: str, options: argparse.Namespace) -> dict[str, int]:
    return {"epochs": max(1, round(EPOCHS[name] * options.budget))}


def quick_rows(options: argparse.Namespace) -> list:
    """What AC4AU is up against."""
    tokens = TokenRow("dface", load_model(DEFAULT_CHECKPOINT, DFaceTokenizerModel), "dface-mini")
    flow = [row_named(name, epochs(name, options)) for name in ("off-apexnet", "ststnet", "sssnet")]
    resnet = row_named("resnet-18", epochs("resnet-18", options))
    rows = [AllOnes(), tokens, *flow, ResNetRow(resnet.name, resnet.recipe, size=32)]
    return [row for row in rows if chosen(row.name, options)]


def full_row(start: AC4AUModel, options: argparse.Namespace) -> AC4AURow:
    """AC4AU with all its parts."""
    recipe = replace(AC4AU_RECIPE, **epochs("ac4au", options))
    source = "identity classification on procedural faces"
    return AC4AURow("ac4au", AC4AU_MINI, recipe, start.backbone.state_dict(), source)


def subject_probes(row: AC4AURow, clips: UnitClips, folder: Path) -> dict[str, float]:
    """How well people are told apart by parts of AC4AU, trained on the first two corpora, in the third.

    Of the changing part its root mean square over time is read: its mean is 0.
    """
    corpora = np.array(clips.corpora)
    held_out = corpora == list(dict.fromkeys(clips.corpora))[-1]
    train = np.flatnonzero(~held_out)
    model = train_units(row.config, clips, train, row.recipe, 0, folder, row.backbone)
    parts = read_parts(model, clips.frames[held_out])
    people = np.unique(np.array(clips.subjects)[held_out], return_inverse=True)[1]
    scores = {name: subject_probe(part, people) for name, part in parts.items()}
    return {name: accuracy for name, (accuracy, _) in scores.items()} | {"chance": scores["constant (DC)"][1]}


@torch.no_grad()
def read_parts(model: AC4AUForActionUnitDetection, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Parts of the model's features (n, hidden_size) by name."""
    outputs = [model.ac4au(pixel_values(part)) for part in np.array_split(frames, -(-len(frames) // 32))]
    return {
        "changing (AC), rms over time": _joined(one.changing.square().mean(1).sqrt() for one in outputs),
        "constant (DC)": _joined(one.constant for one in outputs),
        "after the temporal transformer": _joined(one.pooler_output for one in outputs),
    }


def _joined(parts) -> np.ndarray:
    return torch.cat(list(parts)).numpy()


def tell(document: dict) -> None:
    """Print the tables."""
    header, *lines = unit_table(document)
    header, lines = (
        [*header, "CPU s"],
        [[*line, f"{document['rows'][line[0]]['cpu_seconds']:.0f}"] for line in lines],
    )
    for line in (header, ["---"] * len(header), *lines):
        print("| " + " | ".join(line) + " |")
    print("\nF1 in percent on synthetic clips, " + json.dumps(document["clips"]))
    for name, value in document.get("subject_probes", {}).items():
        print(f"- people told apart by {name}: {100 * value:.1f} %")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default="runs/action-units", help="folder of the resumable run")
    parser.add_argument("--clips", type=int, help="of each corpus, instead of the recipe's")
    parser.add_argument(
        "--blocks", type=int, default=FACES_RECIPE.epochs, help="of 50 steps of the pretraining"
    )
    parser.add_argument("--budget", type=float, default=1.0, help="multiplies all epochs")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each row")
    parser.add_argument("--rows", nargs="*", help="these rows only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", help="file of the report")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Train the embedded checkpoint `ac4au-mini` on the three synthetic corpora of action units.

Pretrains the backbone on procedural faces, trains on four people in five of each camera for fixed epochs,
scores on the others, beside D-FACE's tokens and a guess of all units, and writes weights, report and card.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import torch

from dface_hf import (
    AC4AU_CHECKPOINT,
    DEFAULT_CHECKPOINT,
    AC4AUForActionUnitDetection,
    AC4AUImageProcessor,
    DFaceTokenizerModel,
)
from dface_hf.data.protocols import Fold
from dface_hf.data.synthetic_au import AU_CORPORA, LICENSE, write_au_corpora
from dface_hf.data.unit_clips import UnitClips, read_unit_clips
from dface_hf.faces import align, fit_similarity, locate, make_detector
from dface_hf.hub import write_checkpoint
from dface_hf.hub.cards import read_report
from dface_hf.metrics import au_scores
from dface_hf.models.ac4au.configuration_ac4au import UNITS
from dface_hf.pipelines.loading import load_model
from dface_hf.synthesis import NuisanceConfig, draw_time_course, faces_from_images, load_fields, render_clip
from dface_hf.training.cost import read_cost
from dface_hf.training.cross_validate_scores import machine
from dface_hf.training.pretrain_faces import FACES_RECIPE, PEOPLE, people_stream, pretrain_backbone
from dface_hf.training.train_units import AC4AU_MINI, AC4AU_RECIPE, predict_units, train_units
from dface_hf.training.unit_rows import TokenRow

SIZE = 64  # of the crops, px
PHOTOGRAPH = "one photograph, one unit of 3 px (of a 128 px face) a clip"
PHOTOGRAPH_PX = 3.0
SCORED = "synthetic clips of unseen people, cameras of the training clips"


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    work = Path(options.work)
    clips = read_unit_clips(
        write_au_corpora(work / "corpora", options.clips, SIZE, options.takes), AC4AU_MINI.image_size
    )
    fold = people_held_out(clips)
    faces, stream = replace(FACES_RECIPE, epochs=options.blocks), people_stream(AC4AU_MINI)
    start, _ = pretrain_backbone(AC4AU_MINI, stream, PEOPLE, faces, folder=work / "pretraining")
    recipe, backbone = replace(AC4AU_RECIPE, epochs=options.epochs), start.backbone.state_dict()
    model = train_units(AC4AU_MINI, clips, fold.train, recipe, 0, work / "mini", backbone)
    report = make_report(clips, fold, predict_units(model, clips.frames[fold.test]), recipe, options)
    size = {"height": AC4AU_MINI.image_size, "width": AC4AU_MINI.image_size}
    processor = AC4AUImageProcessor(size=size, num_frames=AC4AU_MINI.num_frames)
    report["units"][PHOTOGRAPH] = photograph_scores(model, processor)
    report["earlier"] = earlier_scores(options.output)
    write_checkpoint(model, options.output, report=report, processor=processor)
    print({name: round(value["f1"], 3) for name, value in report["units"].items()})


def people_held_out(clips: UnitClips) -> Fold:
    """The last fifth of the people of each corpus for the scores."""
    corpora, subjects = np.array(clips.corpora), np.array(clips.subjects)
    test = np.zeros(len(clips), bool)
    for corpus in np.unique(corpora):
        people = np.unique(subjects[corpora == corpus])
        test |= (corpora == corpus) & np.isin(subjects, people[-max(1, len(people) // 5) :])
    return Fold("people held out", np.flatnonzero(~test), np.flatnonzero(test))


def make_report(clips: UnitClips, fold: Fold, logits: np.ndarray, recipe, options) -> dict:
    """What the card tells."""
    truth, corpora = clips.shown[fold.test], np.array(clips.corpora)[fold.test].tolist()
    tokens = TokenRow("dface", load_model(DEFAULT_CHECKPOINT, DFaceTokenizerModel), "dface-mini")
    others = {
        "all units in every clip": np.ones_like(logits),
        "D-FACE's tokens and logistic regressions, which are given the apex": tokens.run(
            clips, fold, 0, Path()
        ),
    }
    scores = au_scores(truth, logits, clips.units, corpora)
    scores["baselines"] = {name: au_scores(truth, said, clips.units)["f1"] for name, said in others.items()}
    work, words = Path(options.work), (Path(word).name if "/" in word else word for word in sys.argv[1:])
    parts = {"backbone": work / "pretraining", "AC4AU": work / "mini"}
    return {
        "name": "ac4au-mini",
        "license": "apache-2.0",
        "protocol": f"{len(fold.train)} clips to train on, {len(fold.test)} of other people to score.",
        "units": {SCORED: scores},
        "data": [
            f"SyntheticAU-{name}: clips of procedural faces at {camera.fps} frames a second ({LICENSE})"
            for name, camera in AU_CORPORA.items()
        ],
        "training": {"epochs": recipe.epochs, "learning_rate": recipe.learning_rate, "seed": 0,
                     "batch_size": recipe.batch_size},
        "cost": [{"part": name} | one for name, path in parts.items() for one in read_cost(path)],
        "command": " ".join(["python examples/make_ac4au_mini.py", *words]),
    } | machine()  # fmt: skip


def earlier_scores(folder: str) -> list[dict]:
    """What the checkpoints scored that this one replaces, the first one first: seen scores led to it."""
    report = read_report(folder)
    scores = [one["f1"] for one in report.get("units", {}).values()]
    last = [{"protocol": report["protocol"], "f1": scores[0]}] if scores else []
    return report.get("earlier", []) + last


@torch.no_grad()
def photograph_scores(model: AC4AUForActionUnitDetection, processor: AC4AUImageProcessor) -> dict:
    """F1 where scikit-image's public-domain portrait acts: a face unlike those of the training."""
    image, fields, camera = skimage.data.astronaut(), load_fields(SIZE), NuisanceConfig.none()
    similarity = fit_similarity(*locate(image, make_detector().detect(image)[0]))
    face = faces_from_images([align(image, similarity, SIZE * 3 // 2)], SIZE * 3 // 2)[0]
    logits, units = [], UNITS * 2
    for seed, unit in enumerate(units):
        course = draw_time_course(torch.Generator().manual_seed(seed))
        clip = render_clip(face, {unit: PHOTOGRAPH_PX}, course, 60, camera, seed, fields, size=SIZE)
        pixels = processor(clip[0], onsets=clip[1].onset, offsets=clip[1].offset, return_tensors="pt")
        logits.append(model(**pixels).logits[0].numpy())
    truth = np.array(units)[:, None] == np.array(UNITS)
    scores = au_scores(truth, np.stack(logits), UNITS)
    scores["baselines"] = {"all units in every clip": au_scores(truth, np.ones_like(truth), UNITS)["f1"]}
    return scores


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=AC4AU_CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--work", default="runs/action-units", help="folder of the resumable run")
    parser.add_argument("--clips", type=int, help="of each corpus, instead of the recipe's")
    parser.add_argument("--takes", type=int, default=2, help="of each corpus, with other people")
    parser.add_argument(
        "--blocks", type=int, default=FACES_RECIPE.epochs, help="of 50 steps of the pretraining"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Cross-validation of any number of models on the same clips and folds, from pairs to a table of scores.

Epochs are fixed before looking, everything that is fitted is fitted on a fold's training clips, and counts
are pooled over folds. A run that was interrupted goes on after its last finished model, in the midst of which
after the last checkpoint, and ends with equal numbers.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from dface_hf.data.protocols import Fold, check_folds, make_folds
from dface_hf.metrics import Prediction, write_log

from .accelerator import check_one_process
from .checkpointing import write_json
from .cross_validate_clips import ClipTable
from .cross_validate_outcome import Candidate, Outcome
from .cross_validate_scores import machine, score_document

PLAN, SCORES, WORK = "plan.json", "scores.json", "outcomes"


@dataclass(frozen=True)
class CrossValidationConfig:
    """How models are compared.

    Attributes:
        protocol: One of `dface_hf.data.protocols.PROTOCOLS`.
        k: Folds of "kfold"; its subjects are dealt the same way for all seeds.
        seeds: Of weights, order and dropout; one run each.
        oracle: Report, in a column of its own, what the best epoch of each fold would have scored.
        resamples: Draws of subjects for the intervals.
    """

    protocol: str = "loso"
    k: int = 5
    seeds: tuple[int, ...] = (0, 1, 2)
    oracle: bool = False
    resamples: int = 2000

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {self.seeds} must be different whole numbers from 0, at least one")


def cross_validate(
    table: ClipTable,
    candidates: Sequence[Candidate],
    config: CrossValidationConfig,
    output: str | Path,
    resume: bool = False,
) -> dict[str, Any]:
    """Train and test each candidate on each fold, and write predictions and scores.

    Args:
        table: The clips.
        candidates: Models; the first one's predictions are `predictions-seed0.txt`, those of every other row
            `predictions-ROW-seed0.txt`, and so on for each seed.
        config: Protocol and seeds.
        output: Folder of the run.
        resume: Go on with what the same call left there.

    Returns:
        What is in `scores.json`: `rows` (name -> scores, as `score_document` makes them), and all that they
        depend on.

    Raises:
        ValueError: The protocol cannot split the clips, a fold trains on one class alone, a candidate cannot
            run on these clips, several processes were launched, two have one name, or `output` holds a run,
            or one of other options.
        FloatingPointError: If a loss is no number.
        OSError: If something cannot be written.
    """
    check_one_process()
    folds = checked_folds(table, config)
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"models {', '.join(names) or 'none'}: give at least one, and each once")
    for candidate in candidates:  # before any of them is trained
        candidate.check(table, config.oracle)
    output = Path(output)
    plan = _plan(table, candidates, config, folds)
    claim_run(output, plan, resume)
    rows: dict[str, dict[str, Any]] = {}
    bar = tqdm(candidates, unit="model", disable=len(candidates) == 1)
    for candidate in bar:
        bar.set_description(candidate.name)
        outcomes, seconds = _outcomes(candidate, table, folds, config, output / WORK)
        for name, outcome in outcomes.items():
            _write_logs(output, name, outcome, table, config.seeds, first=not rows)
            rows[name] = score_document(outcome, table, folds, config.resamples)
            rows[name]["seconds"] = seconds
            if met := people_met(candidate, table):
                rows[name]["subjects that the tokenizer learned from"] = met
    document = {"rows": rows} | plan | {"clips": _counts(table), "not learned": not_learned(table, folds)}
    document |= machine()
    write_json(output / SCORES, document)
    return document


def checked_folds(table: ClipTable, config: CrossValidationConfig) -> list[Fold]:
    """The folds of a protocol.

    Raises:
        ValueError: It cannot split the clips, or the training part of a fold holds a single class.
    """
    folds = make_folds(config.protocol, table.corpora, table.subjects, config.k)
    check_folds(folds, table.corpora, table.subjects)
    for fold in folds:
        there = np.unique(table.clips.labels[fold.train])
        if len(there) < 2:
            only = ", ".join(table.scheme.labels[number] for number in there)
            raise ValueError(
                f"fold {fold.name!r} trains on class {only} alone; use another scheme or protocol"
            )
    return folds


def people_met(candidate: Candidate, table: ClipTable) -> list[str]:
    """Subjects "corpus/name" of the table whose clips a candidate's tokenizer was pretrained on. Every fold
    tests on people whom nothing has seen, but for these: their frames are in the codebook."""
    met = {f"{corpus}/{name}" for corpus, names in getattr(candidate, "met", {}).items() for name in names}
    return sorted(met & set(table.clips.subjects))


def not_learned(table: ClipTable, folds: list[Fold]) -> dict[str, list[str]]:
    """Fold -> classes of which it has no training clip: all its test clips of them count as wrong."""
    lacking = {
        fold.name: [
            label
            for number, label in enumerate(table.scheme.labels)
            if number not in table.clips.labels[fold.train]
        ]
        for fold in folds
    }
    return {name: labels for name, labels in lacking.items() if labels}


def _plan(table: ClipTable, candidates, config: CrossValidationConfig, folds: list[Fold]) -> dict[str, Any]:
    """All that the numbers depend on; a run goes on only with the same."""
    plan = {"scheme": table.scheme.name, "labels": list(table.scheme.labels)}
    plan |= {"protocol": config.protocol, "folds": len(folds), "seeds": list(config.seeds)}
    plan |= {"k": config.k} if config.protocol == "kfold" else {}
    plan |= {"composite": table.composite} if table.composite else {}
    plan |= {"oracle": config.oracle, "keyframes reselected for training": table.moved}
    plan |= {"data": table.fingerprint, "resamples": config.resamples}
    plan["models"] = {candidate.name: candidate.describe() for candidate in candidates}
    return json.loads(json.dumps(plan))


def check_output(output: str | Path, resume: bool) -> None:
    """Refuse a folder that holds a run, unless it is to go on: before clips are read, which takes its time.

    Raises:
        ValueError: It holds one, or is a file.
    """
    if Path(output).exists() and not Path(output).is_dir():
        raise ValueError(f"{output}: is a file; give a folder, which need not exist")
    if (Path(output) / PLAN).is_file() and not resume:
        raise ValueError(f"{output} holds a run; give --resume to go on with it, or another folder")


def claim_run(output: Path, plan: dict[str, Any], resume: bool) -> None:
    """Write the plan of a new run, or make sure that the old one is the same."""
    check_output(output, resume)
    path = output / PLAN
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in {**plan, **found} if found.get(key) != plan.get(key)]
        if changed:
            raise ValueError(
                f"{output} holds a run with other {', '.join(changed)}; give the same options, or another "
                "folder"
            )
    (output / WORK).mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _outcomes(
    candidate: Candidate, table: ClipTable, folds: list[Fold], config: CrossValidationConfig, folder: Path
) -> tuple[dict[str, Outcome], float | None]:
    """The rows of a candidate, from its files or from training, and how long the training took in one go."""
    finished = folder / f"{candidate.name}.json"
    if finished.is_file():
        told = json.loads(finished.read_text(encoding="utf-8"))
        return {name: Outcome.load(folder / f"{name}.npz") for name in told["rows"]}, told["seconds"]
    work = folder / f"{candidate.name}.partial"
    whole, start = not work.exists(), time.perf_counter()
    work.mkdir(exist_ok=True)
    outcomes = candidate.run(table, folds, config.seeds, work, config.oracle)
    seconds = round(time.perf_counter() - start, 1) if whole else None
    for name, outcome in outcomes.items():
        outcome.save(folder / f"{name}.npz")
    write_json(finished, {"rows": list(outcomes), "seconds": seconds})
    shutil.rmtree(work)
    return outcomes, seconds


def _write_logs(
    output: Path, row: str, outcome: Outcome, table: ClipTable, seeds: Sequence[int], first: bool
) -> None:
    """Logs as MEGC has them, where a clip does not repeat its subject's name."""
    infix = "" if first else f"{row}-"
    names = [(corpus, subject, clip.removeprefix(f"{subject}/")) for corpus, subject, clip in table.names]
    truth = table.clips.labels.tolist()
    for seed, run in zip(seeds, outcome.predicted.tolist(), strict=False):  # some make one run only
        found = [Prediction(*name, *both) for name, *both in zip(names, truth, run, strict=True)]
        write_log(output / f"predictions-{infix}seed{seed}.txt", found)


def _counts(table: ClipTable) -> dict[str, Any]:
    """How many clips there are of each corpus, subject and class, and what was left out."""
    labels, names = table.clips.labels, table.scheme.labels
    corpora = np.array(table.corpora)
    per_class = {
        corpus: {
            label: int((labels[corpora == corpus] == number).sum()) for number, label in enumerate(names)
        }
        for corpus in dict.fromkeys(table.corpora)
    }
    people = len({name[:2] for name in table.names})
    counts = {"n": len(table), "subjects": people, "per_class": per_class}
    return counts | {"licenses": list(table.clips.licenses), "left_out": list(table.left_out)}

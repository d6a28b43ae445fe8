"""Cross-validation on action units: the same clips and folds for every row, F1 in both aggregates of CD6ME.

Each (row, fold, seed) is one JSON file with its logits, written when it is finished: an interrupted run goes
on after the last of them, and in the midst of a fold after its last checkpoint. Rows and seeds can be added;
a row that the folder holds with other settings is told and left out, and the others go on. Epochs are fixed
before looking, and everything that is counted or fitted comes from a fold's training clips.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from dface_hf.data.protocols import Fold, check_folds, make_folds
from dface_hf.data.unit_clips import UnitClips
from dface_hf.metrics import au_scores

from .checkpointing import write_json
from .cross_validate import PLAN, SCORES, CrossValidationConfig, check_output
from .cross_validate_scores import machine
from .fitting import differences, list_some
from .unit_rows import UnitRow

FOLDS, SETTINGS, PARTIAL = "folds", "row.json", ".partial"
MEANS = ("f1", "f1_corpus_mean")


def cross_validate_units(
    clips: UnitClips,
    rows: Sequence[UnitRow],
    config: CrossValidationConfig,
    output: str | Path,
    resume: bool = False,
) -> dict[str, Any]:
    """Train and test each row on each fold, and write predictions and scores.

    Args:
        clips: The table; every row sees the same.
        rows: What is compared.
        config: Protocol and seeds; its oracle and resamples are not used.
        output: Folder of the run.
        resume: Go on with what the same call left there; what it finished is not done again.

    Returns:
        What is in `scores.json`: `rows` (name -> scores, as `unit_document` makes them), and all that they
        depend on; where rows were left out because `output` holds them with other settings, `outdated` (name
        -> what differs).

    Raises:
        ValueError: The protocol cannot split the clips, two rows have one name, or `output` holds a run, or
            one of other clips or folds, or all rows with other settings.
        FloatingPointError: If a loss is no number.
    """
    folds = make_folds(config.protocol, clips.corpora, clips.subjects, config.k)
    check_folds(folds, clips.corpora, clips.subjects)
    names = [row.name for row in rows]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"models {', '.join(names) or 'none'}: give at least one, and each once")
    output = Path(output)
    plan = _plan(clips, config, folds)
    check_output(output, resume)
    outdated = _outdated(rows, folds, config.seeds, output / FOLDS)
    if len(outdated) == len(rows):
        raise ValueError(tell_outdated(outdated, output))
    _claim(output, plan)
    rows = [row for row in rows if row.name not in outdated]
    plan |= {"seeds": list(config.seeds), "models": {row.name: _plain(row.describe()) for row in rows}}
    plan |= {"outdated": outdated} if outdated else {}
    found: dict[str, dict[str, Any]] = {}
    # In a log a bar is a mess: there each fold that is trained is a line.
    with tqdm(total=len(rows) * len(folds) * len(config.seeds), unit="fold", disable=None) as bar:
        for row in rows:
            found[row.name] = _row_document(row, clips, folds, config.seeds, output / FOLDS, bar)
            document = {"rows": found} | plan | machine()
            write_json(output / SCORES, document)  # what there is so far
    return document


def planned_frames(output: str | Path) -> tuple[int, int] | None:
    """Size (px) and number of the frames that a run reads of each clip; None where that is not known."""
    path = Path(output) / PLAN
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return tuple(reversed(told["frames"])) if "frames" in told else None


def tell_outdated(outdated: dict[str, list[str]], output: str | Path) -> str:
    """What was left out, why, and what to do, in one line.

    Args:
        outdated: Of the document of `cross_validate_units`.
        output: Folder of the run.
    """
    rows = ", ".join(f"{name} ({list_some(changed)})" for name, changed in outdated.items())
    files = ", ".join(f"{_plain_name(name)}--*" for name in outdated)
    return (
        f"{Path(output) / FOLDS} holds folds with other settings of {rows}: run that in another folder, or "
        f"remove {files} there to do it again"
    )


def unit_document(logits: np.ndarray, clips: UnitClips) -> dict[str, Any]:
    """Scores of one row.

    Args:
        logits: (runs, n, units); above 0 a unit counts as found.
        clips: The truth.

    Returns:
        `f1`, `f1_corpus_mean`, `per_unit` and `per_corpus` as `au_scores` explains them, each the mean of the
        runs; `runs`, the two means of each; `sd` of them, where there are several; `n`.
    """
    runs = [au_scores(clips.shown, one, clips.units, clips.corpora) for one in logits]
    document: dict[str, Any] = {key: float(np.mean([run[key] for run in runs])) for key in MEANS}
    for part in ("per_unit", "per_corpus"):
        document[part] = {str(key): float(np.mean([run[part][key] for run in runs])) for key in runs[0][part]}
    document["runs"] = [{key: float(run[key]) for key in MEANS} for run in runs]
    if len(runs) > 1:
        document["sd"] = {key: float(np.std([run[key] for run in runs], ddof=1)) for key in MEANS}
    return document | {"n": len(clips)}


def unit_table(document: dict[str, Any]) -> list[list[str]]:
    """Header and rows of the table, F1 in percent."""
    units = document["units"]
    lines = [["model", "average F1", "mean of corpora", *(f"AU{unit}" for unit in units)]]
    for name, row in document["rows"].items():
        means = [f"{100 * row[key]:.1f}" for key in MEANS]
        if "sd" in row:
            means = [f"{mean} ± {100 * row['sd'][key]:.1f}" for mean, key in zip(means, MEANS, strict=True)]
        lines.append([name, *means, *(f"{100 * row['per_unit'][str(unit)]:.1f}" for unit in units)])
    return lines


def _claim(output: Path, plan: dict[str, Any]) -> None:
    """Write the plan of a new run, or make sure that the old one is the same."""
    path = output / PLAN
    if path.is_file():
        found = {"frames": plan["frames"]} | json.loads(path.read_text(encoding="utf-8"))
        if found.get("task") != plan["task"]:
            raise ValueError(f"{output} holds a run of another task than {plan['task']}; give another folder")
        changed = differences(found, plan)
        if found["data"] != plan["data"]:  # a hash says nothing to a reader
            changed = [one for one in changed if not one.startswith("data: ")]
            changed.append("data: other clips, units or pictures")
        if changed:
            told = f"{output} holds a run with other settings ({list_some(changed)})"
            raise ValueError(f"{told}; give the same, or another folder")
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _plan(clips: UnitClips, config: CrossValidationConfig, folds: list[Fold]) -> dict[str, Any]:
    """All that the numbers depend on, but for models and seeds."""
    plan: dict[str, Any] = {"task": "action-units", "units": list(clips.units), "protocol": config.protocol}
    plan["folds"] = [fold.name for fold in folds]
    plan |= {"k": config.k} if config.protocol == "kfold" else {}
    corpora = np.array(clips.corpora)
    positives = {name: clips.shown[corpora == name].sum(0).tolist() for name in dict.fromkeys(clips.corpora)}
    sizes = {name: int((corpora == name).sum()) for name in positives}
    plan |= {"frames": list(clips.frames.shape[1:3])}  # of each clip; their size, px
    plan |= {"data": clips.fingerprint, "clips": sizes, "positives": positives}
    plan |= {"left_out": clips.left_out, "licenses": list(clips.licenses)}
    return _plain(plan)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _outdated(
    rows: Sequence[UnitRow], folds: Sequence[Fold], seeds: Sequence[int], folder: Path
) -> dict[str, list[str]]:
    """Rows of which `folder` has folds that were made, or begun, with other settings, and what differs."""
    found = {}
    for row in rows:
        now = _plain(row.describe())
        for fold, seed in itertools.product(folds, seeds):
            before = _settings(_path(folder, row, fold, seed))
            if before is not None and (changed := differences(before, now)):
                found[row.name] = changed
                break
    return found


def _settings(path: Path) -> dict[str, Any] | None:
    """What the fold of a file was made with, or begun with; None where there is nothing of it."""
    begun = path.with_suffix(PARTIAL) / SETTINGS
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))["model"]
    return json.loads(begun.read_text(encoding="utf-8")) if begun.is_file() else None


def _path(folder: Path, row: UnitRow, fold: Fold, seed: int) -> Path:
    """The file of a fold."""
    return folder / f"{'--'.join(map(_plain_name, (row.name, fold.name, f'seed{seed}')))}.json"


def _plain_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _row_document(
    row: UnitRow, clips: UnitClips, folds: Sequence[Fold], seeds: Sequence[int], folder: Path, bar: tqdm
) -> dict[str, Any]:
    """Scores of a row, from its files or from training."""
    logits, seconds = np.zeros((len(seeds), *clips.shown.shape)), 0.0
    bar.set_description(row.name)
    for run, seed in enumerate(seeds):
        for fold in folds:
            path = _path(folder, row, fold, seed)
            if finished := path.is_file():
                told = json.loads(path.read_text(encoding="utf-8"))
            else:
                told = _train(row, clips, fold, seed, path)
            logits[run, fold.test] = told["logits"]
            seconds += told["cpu_seconds"]
            bar.update()
            if bar.disable and not finished:
                _log(told)
    return unit_document(logits, clips) | {"cpu_seconds": round(seconds, 1)}


def _train(row: UnitRow, clips: UnitClips, fold: Fold, seed: int, path: Path) -> dict[str, Any]:
    """Train on a fold, and write what the row says of its test clips."""
    work = path.with_suffix(PARTIAL)
    resumed, start = work.exists(), time.process_time()
    model = _plain(row.describe())
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / SETTINGS, model)
    logits = np.round(row.run(clips, fold, seed, work).astype(float), 4)
    scores = au_scores(clips.shown[fold.test], logits, clips.units)
    told = {"row": row.name, "fold": fold.name, "seed": seed, "f1": scores["f1"], "n": scores["n"]}
    told |= {"per_unit": {str(unit): value for unit, value in scores["per_unit"].items()}}
    told |= {"cpu_seconds": round(time.process_time() - start, 1), "resumed": resumed}
    told |= {"model": model, "logits": logits.tolist()}
    write_json(path, told)
    shutil.rmtree(work, ignore_errors=True)
    return told


def _log(told: dict[str, Any]) -> None:
    """A line of a fold that was trained, for logs."""
    name = f"{told['row']}, fold {told['fold']}, seed {told['seed']}"
    scores = f"F1 {100 * told['f1']:.1f} %, {told['cpu_seconds']:.0f} s of processor time"
    print(f"{name}: {scores}", file=sys.stderr, flush=True)

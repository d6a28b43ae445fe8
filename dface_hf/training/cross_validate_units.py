"""Cross-validation on action units: the same clips and folds for every row, F1 in both aggregates of CD6ME.

Each (row, fold, seed) is one JSON file with its logits, written when it is finished: an interrupted run goes
on after the last of them, and in the midst of a fold after its last checkpoint. Rows and seeds can be added.
Epochs are fixed before looking, and everything that is counted or fitted comes from a fold's training clips.
"""

from __future__ import annotations

import json
import re
import shutil
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
from .cross_validate import SCORES, CrossValidationConfig, claim_run
from .cross_validate_scores import machine
from .unit_rows import UnitRow

FOLDS = "folds"
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
        resume: Go on with what the same call left there.

    Returns:
        What is in `scores.json`: `rows` (name -> scores, as `unit_document` makes them), and all that they
        depend on.

    Raises:
        ValueError: The protocol cannot split the clips, two rows have one name, or `output` holds a run, or
            one of other options.
        FloatingPointError: If a loss is no number.
    """
    folds = make_folds(config.protocol, clips.corpora, clips.subjects, config.k)
    check_folds(folds, clips.corpora, clips.subjects)
    names = [row.name for row in rows]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"models {', '.join(names) or 'none'}: give at least one, and each once")
    output = Path(output)
    plan = _plan(clips, config, folds)
    claim_run(output, plan, resume)
    plan["seeds"] = list(config.seeds)
    plan["models"] = {row.name: _plain(row.describe()) for row in rows}
    found: dict[str, dict[str, Any]] = {}
    bar = tqdm(total=len(rows) * len(folds) * len(config.seeds), unit="fold")
    with bar:
        for row in rows:
            bar.set_description(row.name)
            logits = np.zeros((len(config.seeds), *clips.shown.shape))
            seconds = 0.0
            for run, seed in enumerate(config.seeds):
                for fold in folds:
                    told = _finished(row, clips, fold, seed, output / FOLDS)
                    logits[run, fold.test] = told["logits"]
                    seconds += told["cpu_seconds"]
                    bar.update()
            found[row.name] = unit_document(logits, clips) | {"cpu_seconds": round(seconds, 1)}
            write_json(output / SCORES, {"rows": found} | plan | machine())  # what there is so far
    return {"rows": found} | plan | machine()


def unit_document(logits: np.ndarray, clips: UnitClips) -> dict[str, Any]:
    """Scores of one row.

    Args:
        logits: (runs, n, units); above 0 a unit counts as found.
        clips: The truth.

    Returns:
        `f1`, `f1_corpus_mean`, `per_unit` and `per_corpus` as `au_scores` explains them, each the mean of the
        runs; `sd` of the two means over runs, where there are several; `n`.
    """
    runs = [au_scores(clips.shown, one, clips.units, clips.corpora) for one in logits]
    document: dict[str, Any] = {key: float(np.mean([run[key] for run in runs])) for key in MEANS}
    for part in ("per_unit", "per_corpus"):
        document[part] = {str(key): float(np.mean([run[part][key] for run in runs])) for key in runs[0][part]}
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


def _plan(clips: UnitClips, config: CrossValidationConfig, folds: list[Fold]) -> dict[str, Any]:
    """All that the numbers depend on, but for models and seeds."""
    plan: dict[str, Any] = {"task": "action-units", "units": list(clips.units), "protocol": config.protocol}
    plan["folds"] = [fold.name for fold in folds]
    plan |= {"k": config.k} if config.protocol == "kfold" else {}
    corpora = np.array(clips.corpora)
    positives = {name: clips.shown[corpora == name].sum(0).tolist() for name in dict.fromkeys(clips.corpora)}
    sizes = {name: int((corpora == name).sum()) for name in positives}
    plan |= {"data": clips.fingerprint, "clips": sizes, "positives": positives}
    plan |= {"left_out": clips.left_out, "licenses": list(clips.licenses)}
    return _plain(plan)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _finished(row: UnitRow, clips: UnitClips, fold: Fold, seed: int, folder: Path) -> dict[str, Any]:
    """What a row says of a fold's test clips, from its file or from training."""
    stem = "--".join(re.sub(r"[^\w.-]+", "-", word) for word in (row.name, fold.name, f"seed{seed}"))
    path = folder / f"{stem}.json"
    model = _plain(row.describe())
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["model"] != model:
            raise ValueError(
                f"{path}: {row.name} was made otherwise; give the same options or another folder"
            )
        return told
    work = folder / f"{stem}.partial"
    resumed, start = work.exists(), time.process_time()
    logits = np.round(row.run(clips, fold, seed, work).astype(float), 4)
    scores = au_scores(clips.shown[fold.test], logits, clips.units)
    told = {"row": row.name, "fold": fold.name, "seed": seed, "f1": scores["f1"], "n": scores["n"]}
    told |= {"per_unit": {str(unit): value for unit, value in scores["per_unit"].items()}}
    told |= {"cpu_seconds": round(time.process_time() - start, 1), "resumed": resumed}
    told |= {"model": model, "logits": logits.tolist()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, told)
    shutil.rmtree(work, ignore_errors=True)
    return told

"""Scores of cross-validated models as `scores.json` and the table hold them."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from dface_hf.data.protocols import Fold
from dface_hf.metrics import bootstrap_interval, class_scores, scores_of_runs, scores_with_oracle

from .cost import machine_name
from .cross_validate_clips import ClipTable
from .cross_validate_outcome import Outcome

SCORES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}
PACKAGES = ("dface_hf", "torch", "transformers", "numpy", "scikit-learn", "opencv-python-headless")


def score_document(
    outcome: Outcome, table: ClipTable, folds: Sequence[Fold], resamples: int
) -> dict[str, Any]:
    """Scores of one row.

    Args:
        outcome: Of a candidate.
        table: The clips.
        folds: Whose best epochs the oracle takes.
        resamples: Draws of subjects for the intervals; 0 for none.

    Returns:
        As from `scores_of_runs`, with `intervals` (95 %, also of each corpus), `per_class` and `per_subject`;
        and with `by_epoch` `oracle`: mean and `sd` over runs.
    """
    truth, labels, corpora = table.clips.labels, table.scheme.labels, np.array(table.corpora)
    document = scores_of_runs(truth, outcome.predicted, labels, corpora)
    document["per_class"] = class_scores(document["confusion"])
    document["per_subject"] = _per_subject(outcome, table)
    parts = [(document, np.full(len(truth), True))]
    parts += [(part, corpora == name) for name, part in document["per_corpus"].items()]
    people = np.unique([f"{name[0]}\0{name[1]}" for name in table.names], return_inverse=True)[1]
    for part, rows in parts if resamples else ():
        drawn = people[rows].tolist()
        found = bootstrap_interval(truth[rows], outcome.predicted[:, rows], labels, drawn, resamples)
        part["intervals"] = {name: list(limits) for name, limits in found.items()}
    if outcome.by_epoch is not None:
        document["oracle"] = _oracle(outcome.by_epoch, truth, labels, folds)
    return document


def score_rows(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The table: row -> column -> mean, spread over seeds, and interval; a row for each corpus' part.

    Args:
        document: As from `cross_validate`.
    """
    table: dict[str, dict[str, str]] = {}
    for name, row in document["rows"].items():
        table[name] = _cells(row) | _oracle_cell(row)
        if len(row["per_corpus"]) > 1:
            table |= {f"{name}, {corpus}": _cells(part) for corpus, part in row["per_corpus"].items()}
    return table


def machine() -> dict[str, Any]:
    """When, on what, and with which versions."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return {"date": datetime.date.today().isoformat(), "machine": machine_name(), "versions": versions}


def _cells(part: dict[str, Any]) -> dict[str, str]:
    cells = {}
    for name, title in SCORES.items():
        text = f"{part[name]:.3f}" + (f" ± {part['sd'][name]:.3f}" if "sd" in part else "")
        if "intervals" in part:
            text += " [{:.3f}, {:.3f}]".format(*part["intervals"][name])
        cells[title] = text
    return cells | {"clips": str(part["n"])}


def _oracle_cell(row: dict[str, Any]) -> dict[str, str]:
    return {"oracle UF1": f"{row['oracle']['uf1']:.3f}"} if "oracle" in row else {}


def _oracle(by_epoch: np.ndarray, truth: np.ndarray, labels: Sequence[str], folds: Sequence[Fold]) -> dict:
    held_out = np.zeros(len(truth), np.int64)
    for number, fold in enumerate(folds):
        held_out[fold.test] = number
    runs = [scores_with_oracle(truth, run, labels, held_out.tolist())["oracle"] for run in by_epoch]
    return {name: float(np.mean([run[name] for run in runs])) for name in SCORES}


def _per_subject(outcome: Outcome, table: ClipTable) -> dict[str, dict[str, dict]]:
    """Corpus -> subject -> accuracy over all runs and number of clips."""
    right = (outcome.predicted == table.clips.labels).mean(axis=0)
    people: dict[str, dict[str, list[float]]] = {}
    for (corpus, subject, _), share in zip(table.names, right.tolist(), strict=True):
        people.setdefault(corpus, {}).setdefault(subject, []).append(share)
    return {
        corpus: {name: {"accuracy": float(np.mean(one)), "n": len(one)} for name, one in part.items()}
        for corpus, part in people.items()
    }

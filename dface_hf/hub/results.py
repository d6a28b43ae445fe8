"""Scores as cards and the Hub hold them: sections of a card, and entries of its `model-index`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from transformers import PreTrainedConfig

RECOGNITION = {"uf1": ("f1", "UF1"), "uar": ("recall", "UAR"), "accuracy": ("accuracy", "accuracy")}
UNITS = {"f1": ("f1", "F1, mean of units"), "f1_corpus_mean": ("f1", "F1, mean of units and corpora")}
TASK, UNITS_TASK = "Micro-expression recognition", "Facial action unit detection"
HEADS = {"classifier": "", "edclip": "EDCLIP, described classes"}
SYNTHETIC = {"dataset_type": "synthetic-pairs", "dataset_name": "synthetic pairs of unseen identities"}
FIGURES = (".png", ".svg", ".jpg")


@dataclass(frozen=True)
class Results:
    """What `dface cross-validate` or `dface evaluate --json` left in a folder.

    Attributes:
        name: Of its file.
        document: What is in it, without folders of the machine.
    """

    name: str
    document: dict[str, Any]

    @property
    def cross_validated(self) -> bool:
        """Whether they come from `dface cross-validate`, not from one evaluation."""
        return "rows" in self.document

    @property
    def of_units(self) -> bool:
        """Whether they are about action units, not emotions."""
        return self.document.get("task") == "action-units"

    def rows_of(self, config: PreTrainedConfig) -> list[str]:
        """The rows that are about a kind of model: its first one and, of D-FACE, that of the descriptions.

        Raises:
            ValueError: If there is none.
        """
        rows, kind = self.document["rows"], config.model_type
        for name, told in self.document["models"].items():
            of_dface = kind in ("dface", "dface_tokenizer") and "tokenizer" in told
            if of_dface or kind in (name, told.get("config", {}).get("model_type")):
                return [row for row in (name, f"{name}-edclip") if row in rows]
        raise ValueError(f"{self.name}: has no row of {kind}, only {', '.join(rows)}; nothing for its card")

    def tokenizer(self) -> str | None:
        """What the cross-validated D-FACE says of a tokenizer that it left as it was."""
        models = self.document.get("models", {}).values()
        fixed = (told for told in models if str(told.get("tokenizer trained", "")).startswith("no"))
        return next((told["tokenizer"] for told in fixed), None)


def read_results(folder: str | Path) -> list[Results]:
    """Read every document of scores in a folder.

    Raises:
        ValueError: If there is none, or a .json file cannot be read.
    """
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: is no JSON ({error}); remove or repair it") from error
        if isinstance(document, dict) and ("rows" in document or {"uf1", "logs"} <= document.keys()):
            found.append(Results(path.name, _without_folders(document)))
    if not found:
        raise ValueError(
            f"{folder}: holds no scores; give the folder of `dface cross-validate`, or one with a file of "
            "`dface evaluate --json`"
        )
    return found


def training_results(report: dict[str, Any]) -> list[EvalResult]:
    """Entries of the model index for what a run has measured of its own checkpoint."""
    found: list[EvalResult] = []
    training = report.get("training") or {}
    recipe = {name: training[name] for name in ("epochs", "seed") if name in training}
    for head, scores in (report.get("synthetic") or {}).items():
        found += _entries(scores, RECOGNITION, SYNTHETIC, {"pairs": scores["n"]} | recipe, HEADS[head])
    held_out = report.get("validation") or {}
    clips = report.get("clips") or {}
    dataset = _dataset(clips.get("corpora") or ["clips"]) | {"dataset_split": "subjects held out"}
    for head in HEADS:
        if scores := held_out.get(head):
            told = {"clips": scores["n"], "subjects": len(held_out["subjects"])} | recipe
            found += _entries(scores, RECOGNITION, dataset, told, HEADS[head])
    for name, scores in (report.get("units") or {}).items():
        dataset = {"dataset_type": _slug(name), "dataset_name": name}
        found += _entries(scores, UNITS, dataset, {"clips": scores.get("n")}, task=UNITS_TASK)
    return found


def evaluation_results(results: Results, config: PreTrainedConfig) -> list[EvalResult]:
    """Entries of the model index for a document of scores."""
    document = results.document
    if not results.cross_validated:
        people = [name for part in document["per_subject"].values() for name in part]
        told = {"clips": document["n"], "subjects": len(people), "logs": document["logs"]}
        return list(_entries(document, RECOGNITION, _dataset(list(document["per_subject"])), told))
    clips, found = document["clips"], []
    told = {"protocol": document["protocol"], "seeds": document["seeds"]}
    if results.of_units:
        metrics, dataset, task = UNITS, _dataset(list(clips)), UNITS_TASK
        told |= {"folds": len(document["folds"]), "clips": sum(clips.values())}
    else:
        metrics, dataset, task = RECOGNITION, _dataset(list(clips["per_class"])), TASK
        dataset |= {"dataset_config": document["scheme"]}
        told |= {"folds": document["folds"], "subjects": clips["subjects"], "clips": clips["n"]}
    dataset["dataset_split"] = document["protocol"]
    for name in results.rows_of(config):
        recipe = document["models"][name.removesuffix("-edclip")].get("recipe", {})
        part = "EDCLIP" if name.endswith("-edclip") else ""
        args = told | {"epochs": recipe.get("epochs")}
        found += _entries(document["rows"][name], metrics, dataset, args, part, task)
    return found


def merged(known: list[EvalResult] | None, new: list[EvalResult]) -> list[EvalResult]:
    """The known entries, those that were measured anew in their last state."""
    kept = [one for one in known or () if not any(_same(one, other) for other in new)]
    return kept + new


def figures(folder: str | Path) -> list[Path]:
    """The pictures beside the scores."""
    return sorted(path for path in Path(folder).iterdir() if path.suffix in FIGURES)


def _entries(
    scores: dict[str, Any],
    metrics: dict[str, tuple[str, str]],
    dataset: dict[str, str],
    told: dict[str, Any],
    part: str = "",
    task: str = TASK,
) -> Iterator[EvalResult]:
    """An entry for each metric that there is a number of."""
    for key, (kind, name) in metrics.items():
        if scores.get(key) is None:
            continue
        args = {name: value for name, value in told.items() if value is not None}
        for extra in ("sd", "intervals"):
            if key in scores.get(extra, {}):
                value = scores[extra][key]
                rounded = round(value, 4) if extra == "sd" else [round(limit, 4) for limit in value]
                args |= {"interval_95" if extra == "intervals" else extra: rounded}
        yield EvalResult(
            task_type="video-classification",
            task_name=task,
            **dataset,
            metric_type=kind,
            metric_name=f"{name} ({part})" if part else name,
            metric_value=round(scores[key], 4),
            metric_args=args,
        )


def _same(one: EvalResult, other: EvalResult) -> bool:
    keys = ("unique_identifier", "task_name", "metric_type", "metric_name")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _dataset(corpora: list[str]) -> dict[str, str]:
    return {"dataset_type": _slug("-".join(corpora)), "dataset_name": ", ".join(corpora)}


def _slug(name: str) -> str:
    return "-".join(re.findall(r"\w+", name.lower()))


def _without_folders(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the names of files, without the folders that they were in."""
    document = json.loads(json.dumps(document))
    if "logs" in document:
        document["logs"] = [Path(name).name for name in document["logs"]]
    if "against" in document:
        document["against"]["log"] = Path(document["against"]["log"]).name
    for told in document.get("models", {}).values():
        if "source" in told:
            told["source"] = Path(told["source"]).name
    return document

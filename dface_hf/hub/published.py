"""What a card gains when its folder is published: the name on the Hub, results, energy, code."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
from huggingface_hub import DatasetCard, ModelCard
from transformers import PreTrainedConfig

from dface_hf.training.cross_validate_scores import score_rows
from dface_hf.training.cross_validate_units import unit_table

from .cards import HERE, drop_section, put_section, read_report, render_card
from .results import Results, evaluation_results, figures, merged

LINKS_HEADING = "## From the Hub"
JOULES = 3.6e6
"""In a kilowatt hour."""


@dataclass(frozen=True)
class Power:
    """What the energy of a training is estimated with. Both are given by its owner and measured by nobody.

    Attributes:
        watts: Mean power of the machine.
        grams_per_kwh: CO2e of the grid; None: emissions are not estimated.
    """

    watts: float
    grams_per_kwh: float | None = None

    def kilowatt_hours(self, cost: list[dict[str, Any]]) -> float:
        """Of entries as `dface_hf.training.cost` writes them: hours by the clock times power."""
        return sum(part["seconds"] for part in cost) * self.watts / JOULES

    def grams(self, cost: list[dict[str, Any]]) -> float:
        """CO2e; needs `grams_per_kwh`."""
        return self.kilowatt_hours(cost) * self.grams_per_kwh


def published_card(
    text: str,
    config: PreTrainedConfig,
    folder: str | Path,
    repo_id: str,
    loaders: dict[str, str],
    results: list[Results],
    results_folder: str | Path | None = None,
    power: Power | None = None,
) -> str:
    """The card of a checkpoint as it is published; what its author wrote by hand stays.

    Args:
        text: Card of the folder.
        config: Of the model.
        folder: Of the checkpoint, for its report.
        repo_id: Name on the Hub.
        loaders: Auto class -> class, where the code of the model goes along.
        results: Scores to show.
        results_folder: Where they and their pictures are.
        power: To estimate the energy of the training with.

    Raises:
        ValueError: Energy is asked for, and the folder does not say how long the training took.
    """
    text = drop_section(text, LINKS_HEADING).replace(HERE, repo_id)
    pictures = [path.name for path in figures(results_folder)] if results_folder else []
    pictures = [name for name in pictures if "-" not in name]  # of the first row; others have theirs behind
    for number, one in enumerate(results):
        text = put_section(text, results_section(one, pictures if not number else []))
    entries = [entry for one in results for entry in evaluation_results(one, config)]
    cost = read_report(folder).get("cost")
    if power is not None:
        if not cost:
            raise ValueError(f"{folder}: its report.json holds no cost; without --watts the card says so")
        text = put_section(text, render_card("_cost", cost=cost, power=power))
    if entries or power is not None:
        text = _with_metadata(text, repo_id, entries, cost, power)
    if loaders or repo_id not in text:
        told = render_card("_from_the_hub", repo_id=repo_id, loaders=loaders, heading=LINKS_HEADING)
        text = put_section(text, told)
    return text


def results_section(results: Results, pictures: list[str]) -> str:
    """What a card shows of a document of scores."""
    document = results.document
    shown = {"document": document, "figures": pictures}
    if not results.cross_validated:
        people = document["per_subject"]
        count = sum(len(part) for part in people.values())
        return render_card("_prediction_log", **shown, corpora=list(people), subjects=count)
    if results.of_units:
        header, *lines = unit_table(document)
        return render_card("_cross_validated_units", **shown, header=header, lines=lines)
    table = score_rows(document)
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    seconds = [row["seconds"] for row in document["rows"].values()]
    return render_card(
        "_cross_validation",
        **shown,
        corpora=list(document["clips"]["per_class"]),
        table={name: dict.fromkeys(columns, "") | row for name, row in table.items()},
        columns=columns,
        reasons=Counter(one["reason"] for one in document["clips"]["left_out"]),
        seconds=None if None in seconds else sum(seconds),
    )


def published_dataset_card(text: str, folder: str | Path, paths: list[str], repo_id: str) -> str:
    """The card of prepared clips with what the files hold.

    Args:
        text: Card of the folder; what it says stays.
        folder: Of the clips, with the reports of `dface prepare`.
        paths: Its Parquet files.
        repo_id: Name on the Hub.
    """
    corpora = _count_clips(paths)
    told = render_card("_clips", corpora=corpora, left_out=_left_out(folder), repo_id=repo_id)
    text = put_section(text, told)
    if "\n## Limits and misuse\n" not in text:
        text = put_section(text, render_card("_limits_of_clips"))
    card = DatasetCard(text)
    card.data.pretty_name = card.data.pretty_name or ", ".join(corpora)
    card.data.task_categories = card.data.task_categories or ["video-classification"]
    card.data["tags"] = card.data.get("tags") or ["micro-expression", "facial-action-coding-system"]
    if card.data.license is None:
        terms = sorted({term for part in corpora.values() for term in part["licenses"]})
        known = len(terms) == 1 and terms[0] in ("cc0-1.0", "cc-by-4.0", "apache-2.0", "mit")
        card.data.license = terms[0] if known else "other"
    return str(card)


def _with_metadata(text: str, repo_id: str, entries: list, cost: list | None, power: Power | None) -> str:
    card = ModelCard(text if text.startswith("---") else f"---\nlibrary_name: transformers\n---\n\n{text}")
    if entries:
        card.data.model_name = card.data.model_name or repo_id.rpartition("/")[2]
        card.data.eval_results = merged(card.data.eval_results, entries)
    if power is not None and power.grams_per_kwh is not None:
        card.data["co2_eq_emissions"] = {
            "emissions": float(f"{power.grams(cost):.3g}"),
            "source": f"{power.watts:g} W and {power.grams_per_kwh:g} g/kWh, both given by the owner",
            "hardware_used": "; ".join(dict.fromkeys(part["machine"] for part in cost)),
        }
    return str(card)


def _count_clips(paths: list[str]) -> dict[str, dict[str, Any]]:
    """What the files hold of each corpus."""
    columns = ["corpus", "subject", "fps", "emotion", "action_units", "license"]
    rows = [row for path in paths for row in pyarrow.parquet.read_table(path, columns=columns).to_pylist()]
    parts: dict[str, list[dict]] = {}
    for row in rows:
        parts.setdefault(row["corpus"], []).append(row)
    return {
        name: {
            "clips": len(part),
            "subjects": len({row["subject"] for row in part}),
            "fps": [f"{rate:g}" for rate in sorted({row["fps"] for row in part})],
            "emotions": dict(Counter(row["emotion"] or "none" for row in part).most_common()),
            "with_units": sum(bool(row["action_units"]) for row in part),
            "licenses": sorted({row["license"] for row in part}),
        }
        for name, part in parts.items()
    }


def _left_out(folder: str | Path) -> list[dict] | None:
    """What the reports of `dface prepare` say was left out; None without a report."""
    reports = sorted(Path(folder).glob("report*.json"))
    found = [one for path in reports for one in json.loads(path.read_text(encoding="utf-8"))["skipped"]]
    return found if reports else None

"""`dface evaluate`: scores of prediction logs."""

from pathlib import Path
from typing import Annotated

import typer

from .analyzing import PICTURES
from .app import app, console

SCORES = ("uf1", "uar", "accuracy")
UNITS = ("clips", "subjects")


@app.command(
    epilog="Examples: `dface evaluate loso.txt` · `dface evaluate --log loso.txt --json -` · "
    "`dface evaluate seed0.txt seed1.txt seed2.txt --plot scores.png` · "
    "`dface evaluate ours.txt --against theirs.txt --resample subjects`"
)
def evaluate(
    files: Annotated[list[Path] | None, typer.Argument(metavar="LOG", help="More logs.")] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(
            "--log",
            help="Prediction log: lines 'corpus subject', below them 'clip truth prediction'. Several of the "
            "same clips are runs (seeds) and averaged; several of different clips are parts of one run.",
        ),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write scores as JSON; - for stdout.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Draws for the 95 % intervals; 0 for none.")
    ] = 2000,
    resample: Annotated[str, typer.Option(help="What is drawn: clips or subjects.")] = "clips",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names in order: a,b,c.",
            show_default="negative,positive,surprise for 3 classes, else numbers",
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another log of the same clips to compare with.")
    ] = None,
    plot: Annotated[str | None, typer.Option(help="Write a picture: confusion, scores, subjects.")] = None,
) -> None:
    """Score prediction logs: UF1, UAR (mean recall) and accuracy, counts pooled over all folds."""
    from dface_hf.metrics import aligned, read_log
    from dface_hf.pipelines.records import check_target, write_text

    paths = [*(log or ()), *(files or ())]
    _check_usage(paths, resample, bootstrap, against)
    inputs = [str(path) for path in (*paths, against) if path is not None]
    for target, suffixes in ((json_file, ()), (plot, PICTURES)):
        check_target(target, inputs, suffixes)
    runs = _runs(paths, [read_log(path) for path in paths])
    other = aligned(runs[0], read_log(against), (str(paths[0]), str(against))) if against else None
    labels = _labels(classes, [*sum(runs, []), *(other or ())], paths)
    document = _scores(runs, labels, resample, bootstrap, seed)
    document["logs"] = [str(path) for path in paths]
    if other:
        document["against"] = {"log": str(against)} | _comparison(
            runs, other, labels, resample, bootstrap, seed
        )
    if json_file:
        write_text(json_file, _json(document))
    if json_file != "-":
        _print_scores(document)
    if plot:
        _plot(document, plot)


def _check_usage(paths: list[Path], resample: str, bootstrap: int, against: Path | None) -> None:
    if not paths:
        raise ValueError("give a prediction log, or several")
    if len(set(paths)) < len(paths):
        raise ValueError(f"{next(p for p in paths if paths.count(p) > 1)} is given twice")
    if resample not in UNITS:
        raise ValueError(f"--resample is {resample!r}; choose {' or '.join(UNITS)}")
    if against and not bootstrap:
        raise ValueError("--against compares by bootstrap; give --bootstrap 1 or more")


def _runs(paths: list[Path], logs: list[list]) -> list[list]:
    """Logs as runs over the same clips in the same order; logs of different clips are one run."""
    from dface_hf.metrics import aligned

    seen = {one.key for one in logs[0]}
    for one in logs[1:]:
        keys = {prediction.key for prediction in one}
        if seen & keys:
            names = [str(path) for path in paths]
            return [logs[0]] + [
                aligned(logs[0], other, (names[0], name))
                for name, other in zip(names[1:], logs[1:], strict=True)
            ]
        seen |= keys
    return [sum(logs, [])]


def _labels(classes: str | None, predictions: list, paths: list[Path]) -> list[str]:
    """The class names that were asked for, those of MEGC, or numbers."""
    from dface_hf.actions import CLASS_SCHEMES

    highest = max(max(one.truth, one.predicted) for one in predictions)
    if classes is None:
        known = CLASS_SCHEMES["composite3"].labels
        labels = list(known) if highest < len(known) else [str(number) for number in range(highest + 1)]
    else:
        labels = [name.strip() for name in classes.split(",")]
        if "" in labels or len(set(labels)) < len(labels):
            raise ValueError(f"--classes is {classes!r}; give different names, a,b,c")
        if highest >= len(labels):
            one = next(one for one in predictions if highest in (one.truth, one.predicted))
            raise ValueError(
                f"{paths[0]}: clip {'/'.join(one.key)} has class {highest}, but --classes names only "
                f"{len(labels)} (0 to {len(labels) - 1}); name all classes"
            )
    there = {one.truth for one in predictions}
    for number, label in enumerate(labels):
        if number not in there:
            console.print(
                f"no clip of class {label}: it counts 0 in UF1 and UAR", markup=False, style="yellow"
            )
    return labels


def _scores(runs: list[list], labels: list[str], resample: str, bootstrap: int, seed: int) -> dict:
    import numpy as np

    from dface_hf.metrics import bootstrap_interval, class_scores, recognition_scores, scores_of_runs

    truth, predicted, corpora, groups = _columns(runs, resample)
    if len(runs) == 1:
        scores = recognition_scores(truth, predicted[0], labels, corpora)
    else:
        scores = scores_of_runs(truth, predicted, labels, corpora)
    document = scores | {"labels": labels, "per_class": class_scores(scores["confusion"])}
    document["per_subject"] = _per_subject(runs)
    if not bootstrap:
        return document
    document["bootstrap"] = {"resamples": bootstrap, "seed": seed, "of": resample, "level": 0.95}
    parts = [(document, np.full(len(truth), True))]
    parts += [(part, corpora == name) for name, part in document["per_corpus"].items()]
    for part, rows in parts:
        chosen = None if groups is None else groups[rows]
        part["intervals"] = bootstrap_interval(
            truth[rows], predicted[:, rows], labels, chosen, bootstrap, seed
        )
    return document


def _per_subject(runs: list[list]) -> dict[str, dict[str, dict]]:
    """Corpus -> subject -> accuracy over all runs and number of clips."""
    people: dict[str, dict[str, list[bool]]] = {}
    for one in sum(runs, []):
        people.setdefault(one.corpus, {}).setdefault(one.subject, []).append(one.truth == one.predicted)
    return {
        corpus: {
            name: {"accuracy": sum(right) / len(right), "n": len(right) // len(runs)}
            for name, right in subjects.items()
        }
        for corpus, subjects in people.items()
    }


def _comparison(
    runs: list[list], other: list, labels: list[str], resample: str, bootstrap: int, seed: int
) -> dict:
    import numpy as np

    from dface_hf.metrics import paired_bootstrap

    truth, predicted, _, groups = _columns(runs, resample)
    theirs = np.array([one.predicted for one in other])
    return paired_bootstrap(truth, predicted, theirs, labels, groups, bootstrap, seed)


def _columns(runs: list[list], resample: str) -> tuple:
    """Truth (n,), predictions (runs, n), corpora (n,) and, where subjects are drawn, number of each (n,)."""
    import numpy as np

    truth = np.array([one.truth for one in runs[0]])
    predicted = np.array([[one.predicted for one in run] for run in runs])
    corpora = np.array([one.corpus for one in runs[0]])
    people = {person: number for number, person in enumerate(dict.fromkeys(one.key[:2] for one in runs[0]))}
    groups = np.array([people[one.key[:2]] for one in runs[0]])
    return truth, predicted, corpora, groups if resample == "subjects" else None


def _json(document: dict) -> str:
    import json

    return json.dumps(document, indent=2) + "\n"


def _print_scores(document: dict) -> None:
    rows = [["", "UF1", "UAR", "accuracy", "clips"]]
    parts = {"all": document}
    parts |= document["per_corpus"] if len(document["per_corpus"]) > 1 else {}
    for name, part in parts.items():
        rows.append([name, *(_cell(part, score) for score in SCORES), str(part["n"])])
    _print_table(rows)
    if "runs" in document:
        print(f"mean of {len(document['runs'])} runs ± standard deviation; classes below: all runs together")
    if drawn := document.get("bootstrap"):
        print(f"[95 % interval], {drawn['resamples']} draws of {drawn['of']}")
    names, per_class = document["labels"], document["per_class"]
    rows = [["true class", "F1", "recall", "precision", "clips", *(f"as {name}" for name in names)]]
    for row, name in enumerate(names):
        values = [f"{per_class[score][row]:.4f}" for score in ("f1", "recall", "precision")]
        rows.append([name, *values, *map(str, (per_class["n"][row], *document["confusion"][row]))])
    print()
    _print_table(rows)
    if other := document.get("against"):
        print(f"\nagainst {other['log']}")
        for score in SCORES:
            one = other[score]
            span = f"[{one['low']:+.4f}, {one['high']:+.4f}]"
            print(f"{score:9} {one['difference']:+.4f} {span}  p = {one['p']:.4f}")


def _cell(part: dict, score: str) -> str:
    text = f"{part[score]:.4f}"
    if "sd" in part:
        text += f" ± {part['sd'][score]:.4f}"
    if "intervals" in part:
        low, high = part["intervals"][score]
        text += f" [{low:.4f}, {high:.4f}]"
    return text


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _plot(document: dict, target: str) -> None:
    from dface_hf.analysis import save_figure
    from dface_hf.analysis.score_plots import plot_scores

    title = " · ".join(Path(name).name for name in document["logs"])
    save_figure(plot_scores(document, document["labels"], title), target)

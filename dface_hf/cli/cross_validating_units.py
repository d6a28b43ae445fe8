"""`dface cross-validate --task action-units`: F1 of twelve units, for corpora or people left out."""

import json
from pathlib import Path

from rich.markup import escape

from dface_hf import DEFAULT_CHECKPOINT

from .app import console, row_name

TASKS = ("emotions", "action-units")
UNITS_TASK = TASKS[1]
DFACE, AC4AU = "dface", "ac4au"
DEFAULT_MODELS = (AC4AU, DFACE, "all-ones")
EXAMPLE = (
    "--task action-units --protocol lodo --data data/casme2 --data data/samm --data data/mmew --model ac4au "
    "--model sssnet --model dface --model all-ones --seeds 5 --output runs/units"
)
MODELS = (
    "ac4au (random weights), a checkpoint folder of AC4AU (its sizes, its backbone to start from), dface "
    "(tokens and logistic regressions), a folder of D-FACE, off-apexnet, ststnet, sssnet, rcn-a, htnet, "
    "resnet-18 and all-ones; its ablations: no-pretraining, no-decomposer, no-experts, bce, all"
)


def check_task(task: str, only_emotions: dict[str, object]) -> str:
    """The task, if its options fit.

    Args:
        task: One of `TASKS`.
        only_emotions: Options of the task "emotions" and what was given; its scheme is required there.

    Raises:
        ValueError: Unknown task, or an option of the other one.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; choose {' or '.join(TASKS)}")
    if task == UNITS_TASK and (given := [name for name, value in only_emotions.items() if value]):
        raise ValueError(f"{given[0]} is about emotions; leave it out with --task {UNITS_TASK}")
    if task != UNITS_TASK and only_emotions["--scheme"] is None:
        raise ValueError("--scheme is missing: the emotion classes, such as composite3")
    return task


def cross_validate_units(
    data: list[str],
    models: list[str] | None,
    ablations: list[str] | None,
    options: dict,
    config,
    output: Path,
    resume: bool,
    json_file: str | None,
    plot: bool = True,
) -> None:
    """Train and test, print the table, draw it.

    Raises:
        ValueError: Bad input; or, after all else is done, rows that `output` holds with other settings.
    """
    from dface_hf.analysis import save_figure
    from dface_hf.analysis.unit_score_plots import plot_unit_scores
    from dface_hf.data.unit_clips import read_unit_clips
    from dface_hf.pipelines.records import write_text
    from dface_hf.training.cross_validate_units import cross_validate_units as run
    from dface_hf.training.cross_validate_units import planned_frames, tell_outdated

    rows = unit_rows(models or list(DEFAULT_MODELS), ablations or [], options)
    sizes = {(row.config.image_size, row.config.num_frames) for row in rows if hasattr(row, "config")}
    if len(sizes) > 1:
        raise ValueError(f"AC4AU checkpoints of different sizes {sorted(sizes)}: cross-validate them apart")
    # A run of AC4AU goes on with the same clips when other models are added.
    clips = read_unit_clips(data, *(next(iter(sizes), None) or planned_frames(output) or ()))
    people = len({name[:2] for name in clips.names})
    corpora = ", ".join(dict.fromkeys(clips.corpora))
    console.print(f"{len(clips)} clips of {people} subjects: {corpora}", markup=False)
    for corpus, count in clips.left_out.items():
        console.print(f"  [yellow]left out[/] {count} of {escape(corpus)}: no action units coded")
    document = run(clips, rows, config, output, resume)
    if json_file:
        write_text(json_file, json.dumps(document, indent=2) + "\n")
    if json_file != "-":
        print_units(document)
    if plot:
        save_figure(plot_unit_scores(document), output / "scores.png")
    files = "scores.json, scores.png" if plot else "scores.json"
    console.print(f"{files} and logits of each fold in [bold]{escape(str(output))}[/]")
    if "outdated" in document:
        raise ValueError(tell_outdated(document["outdated"], output))


def unit_rows(models: list[str], ablations: list[str], options: dict) -> list:
    """What is compared, in order: AC4AU is followed by its ablations."""
    from dface_hf.training.unit_rows import ABLATIONS, AC4AURow, row_named, without

    rows: list = []
    wanted = list(ABLATIONS) if "all" in ablations else list(dict.fromkeys(ablations))
    for name in models:
        given = name == DFACE or Path(name).is_dir()
        row = _from_checkpoint(name, models, options) if given else row_named(name, options)
        rows.append(row)
        if isinstance(row, AC4AURow):
            untrained = "all" in ablations and row.backbone is None  # has nothing of this to leave out
            rows += [without(row, one) for one in wanted if not (untrained and one == "no-pretraining")]
    if ablations and not any(isinstance(row, AC4AURow) for row in rows):
        raise ValueError("--ablation is about AC4AU with this task; give --model ac4au, too")
    return rows


def _from_checkpoint(name: str, models: list[str], options: dict):
    """The row of D-FACE's tokens, or of AC4AU that starts from a checkpoint's backbone."""
    from dataclasses import replace

    from dface_hf import AC4AUConfig, AC4AUModel, DFaceTokenizerModel
    from dface_hf.pipelines.loading import load_config, load_model
    from dface_hf.training.unit_rows import AC4AU_RECIPE, AC4AURow, TokenRow

    if name == DFACE:
        return TokenRow(DFACE, load_model(DEFAULT_CHECKPOINT, DFaceTokenizerModel), "dface-mini")
    row = row_name(name, models)
    if not isinstance(load_config(name, system=None), AC4AUConfig):
        return TokenRow(row, load_model(name, DFaceTokenizerModel), row)
    start = load_model(name, AC4AUModel)
    recipe = replace(AC4AU_RECIPE, **options, balance_classes=False)
    return AC4AURow(row, start.config, recipe, start.backbone.state_dict(), row)


def print_units(document: dict) -> None:
    """The table as markdown on stdout."""
    from dface_hf.training.cross_validate_units import unit_table

    header, *lines = unit_table(document)
    print("| " + " | ".join(header) + " |")
    print("|---" * len(header) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")
    corpora = ", ".join(f"{name} {count}" for name, count in document["clips"].items())
    runs = (
        f"mean ± standard deviation of {len(document['seeds'])} seeds"
        if len(document["seeds"]) > 1
        else "1 seed"
    )
    print(f"\nF1 in percent, pooled over {len(document['folds'])} folds ({document['protocol']}); {runs}; "
          f"clips: {corpora}; {document['date']}.")  # fmt: skip

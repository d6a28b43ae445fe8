"""`dface au-statistics`: the action units of corpora."""

from pathlib import Path
from typing import Annotated

import typer

from .analyzing import PICTURES
from .app import app, console


@app.command(
    name="au-statistics",
    epilog="Examples: `dface au-statistics data/casme2 data/samm --plot units.png` · "
    "`dface au-statistics manifest.csv --units 1,2,4,12 --json -`",
)
def au_statistics(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Datasets of `dface prepare`, or csv files with a column action_units (and corpus, onset, "
            "offset, fps).",
        ),
    ],
    units: Annotated[
        str | None, typer.Option(help="FACS numbers: 1,2,4.", show_default="the twelve of CD6ME")
    ] = None,
    undecided: Annotated[
        str, typer.Option(help="Units of a cell such as '12 or 14' that count: certain, all or first.")
    ] = "certain",
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the numbers as JSON; - for stdout.")
    ] = None,
    plot: Annotated[str | None, typer.Option(help="Write a picture: heatmaps, imbalance, durations.")] = None,
) -> None:
    """Count action units: how rare each is, which are shown together, how they correlate, how long."""
    from dface_hf.analysis import save_figure
    from dface_hf.analysis.au_plots import plot_unit_statistics
    from dface_hf.analysis.au_statistics import unit_statistics
    from dface_hf.data.action_unit_table import read_action_units
    from dface_hf.metrics.au_detection import CD6ME_UNITS
    from dface_hf.pipelines.records import check_target, write_text

    for target, suffixes in ((json_file, ()), (plot, PICTURES)):
        check_target(target, sources, suffixes)
    if undecided not in ("certain", "all", "first"):
        raise ValueError(f"--undecided is {undecided!r}; choose certain, all or first")
    table = read_action_units(sources, CD6ME_UNITS if units is None else _numbers(units), undecided)
    found = unit_statistics(table)
    for name, count in table.uncoded.items():
        console.print(f"{name}: {count} clips without codes left out", markup=False, style="yellow")
    if json_file:
        write_text(json_file, _json(found))
    if json_file != "-":
        _print(found)
    if plot:
        title = "action units of " + " · ".join(Path(source).name for source in sources)
        save_figure(plot_unit_statistics(found, table.corpora, table.durations, title), plot)


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"--units is {text!r}; give FACS numbers, such as 1,2,4")
    return [int(word) for word in words]


def _json(document: dict) -> str:
    import json

    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _print(found: dict) -> None:
    from dface_hf.analysis import markdown_table
    from dface_hf.analysis.au_statistics import matrix_rows, strongest_pairs, unit_rows

    parts = ", ".join(f"{name} {count}" for name, count in found["corpora"].items())
    mean = sum(found["all_ones_f1"]) / len(found["units"])
    print(f"{found['n']} clips ({parts}); {found['units_per_clip']:.2f} of these units a clip")
    print(f"mean F1 of all ones {mean:.4f}\n")
    print(markdown_table(unit_rows(found)))
    print("\nPearson correlation\n")
    print(markdown_table(matrix_rows(found, "correlation")))
    pairs = (f"{a}-{b} {value:+.2f}" for a, b, value in strongest_pairs(found))
    print(f"\nstrongest: {', '.join(pairs)}")
    print("\nclips with both units\n")
    print(markdown_table(matrix_rows(found, "cooccurrence")))
    for name, one in found["durations"].items():
        median, low, high = (1000 * one[key] for key in ("median", "low", "high"))
        print(f"\n{name}: median {median:.0f} ms, 90 % from {low:.0f} to {high:.0f} ms, {one['n']} clips")

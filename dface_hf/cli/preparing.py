"""`dface prepare`: from a released corpus to one dataset."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .app import Detector, app, console

SHOWN = 5  # reasons told at the end; the report has them all


@app.command(
    epilog="Examples: `dface prepare casme2 --root CASME2 --out data/casme2 --workers 4` · "
    "`dface prepare samm --root SAMM --out data/samm --frames keyframes` · "
    "`dface prepare dfme --root DFME --out data/dfme --shard 2/8`"
)
def prepare(
    corpus: Annotated[str, typer.Argument(help="casme2, samm, smic …; an unknown name lists all.")],
    root: Annotated[Path, typer.Option(help="Folder of the release: its sheet and its frames.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; an interrupted run goes on there.")],
    size: Annotated[int, typer.Option(help="Side of the aligned crops in pixels.")] = 128,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    shard: Annotated[str, typer.Option(help="i/n: do every n-th clip, from the i-th on.")] = "1/1",
    frames: Annotated[str, typer.Option(help="all, or keyframes: onset, apex and offset.")] = "all",
    margin: Annotated[float, typer.Option(help="Seconds kept before the onset and after the offset.")] = 0.1,
    cropped: Annotated[
        bool, typer.Option("--cropped", help="Cropped faces: take the whole picture where none is found.")
    ] = False,
    detector: Detector = "haar",
) -> None:
    """Align the clips of a corpus and write them as Parquet files, with a report of what was left out."""
    from dface_hf.data import prepare as run

    options = dict(size=size, workers=workers, shard=parse_shard(shard), frames=frames)
    done = run(corpus, root, out, margin=margin, cropped=cropped, detector=detector, **options)
    for one in done.skipped[:SHOWN]:
        row = "" if one.row is None else f"row {one.row}, "
        console.print(f"  [yellow]skipped[/] {row}{escape(one.clip)}: {escape(one.reason)}")
    if len(done.skipped) > SHOWN:
        console.print(f"  … and {len(done.skipped) - SHOWN} more")
    if done.difference:
        console.print(f"  [yellow]{escape(done.difference)}[/]")
    told = f"{done.clips} clips, {len(done.skipped)} skipped, {len(done.notes)} notes"
    console.print(f"{told}; report in [bold]{escape(str(done.reports[0]))}[/]")
    print(done.output)
    if done.skipped and not done.clips:  # of many shards of few clips, some are empty
        raise typer.Exit(2)


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8).

    Raises:
        ValueError: Anything else.
    """
    first, slash, count = text.partition("/")
    if not (slash and first.isdigit() and count.isdigit()):
        raise ValueError(f"--shard {text!r} must be i/n, for example 2/8")
    return int(first), int(count)

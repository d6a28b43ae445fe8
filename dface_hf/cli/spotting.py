"""`dface spot`: expressions in the long videos of a corpus, scored."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from dface_hf import DEFAULT_CHECKPOINT

from .app import Detector, Device, Stabilise, app, checkpoint_name, console

SHOWN = 5  # warnings told at the end; the report has them all


@app.command(
    epilog="Examples: `dface spot casme2_long --root CASME2_LONG --out spotted --workers 4` · "
    "`dface spot samm_long --root SAMM_LV --out spotted-samm --sensitivity 1.5` · "
    "`dface spot folder --root my_videos --out spotted-mine --recognise`"
)
def spot(
    corpus: Annotated[str, typer.Argument(help="casme2_long, samm_long, casme3, or folder (metadata.csv).")],
    root: Annotated[Path, typer.Option(help="Folder of the release: its sheet and its frames.")],
    out: Annotated[
        Path, typer.Option(help="Folder for events and scores; an interrupted run goes on there.")
    ],
    recognise: Annotated[
        bool, typer.Option("--recognise", help="Also read the micro-expressions found, for STRS.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help="Checkpoint that reads them: folder or Hub id; implies --recognise.",
            show_default="dface-mini",
        ),
    ] = DEFAULT_CHECKPOINT,
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="Intersection over union that is a hit.")] = 0.5,
    sensitivity: Annotated[float, typer.Option(min=0.01, help="Larger finds more events.")] = 1.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    detector: Detector = "haar",
    stabilise: Stabilise = None,
    device: Device = None,
) -> None:
    """Find micro- and macro-expressions in long videos, and score them: F1 at IoU 0.5, and STRS."""
    from dface_hf.data import read_corpus
    from dface_hf.pipelines.corpus_spotting import (
        EventSearch,
        check_classes,
        corpus_scores,
        event_table,
        read_labels,
        spot_videos,
    )
    from dface_hf.pipelines.loading import load_recogniser
    from dface_hf.pipelines.recognition import crop_options
    from dface_hf.whole_files import write_text

    reader = load_recogniser(model, device) if recognise or model != DEFAULT_CHECKPOINT else None
    options = {} if reader is None else crop_options(reader.model.config.tokenizer_config)
    options |= {} if stabilise is None else {"stabilised": stabilise}
    search = EventSearch(sensitivity=sensitivity, detector=detector, **options)
    classes = [] if reader is None else list(reader.model.config.id2label.values())
    listing = read_corpus(corpus, root)
    if reader is not None and listing.videos:
        check_classes(listing.videos, classes)
    spotted = spot_videos(listing, out, search, workers)
    read = None if reader is None else read_labels(reader, spotted)
    scores = corpus_scores(spotted, iou, read, classes)
    skipped = [f"row {one.row}, {one.clip}: {one.reason}" for one in listing.skipped]
    warned = [listing.difference] if listing.difference else []
    warned += [f"{one.video.video_id}: {text}" for one in spotted for text in one.warnings]
    warned += [
        f"no {kind}-expression is annotated, so that every one found counts as wrong"
        for kind in ("micro", "macro")
        if scores["both"]["true"] and not scores[kind]["true"] and scores[kind]["found"]
    ]
    document = {"corpus": corpus, "videos": len(spotted), "iou": iou, "sensitivity": sensitivity}
    document |= {"model": None if reader is None else checkpoint_name(model)}
    document |= {"scores": scores, "skipped": skipped, "warnings": warned}
    write_text(out / "scores.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "events.csv", event_table(spotted, iou, read))
    _tell("skipped, so that what is found there counts as wrong", skipped)
    _tell("warning", warned)
    _print_scores(scores)
    print(out)


def _tell(what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        console.print(f"  [yellow]{what}[/] {escape(line)}")
    if len(lines) > SHOWN:
        console.print(f"  … and {len(lines) - SHOWN} more in scores.json")


def _print_scores(scores: dict) -> None:
    table = Table("", "true", "found", "hits", "precision", "recall", "F1")
    for name, row in scores.items():
        counts = (str(row[key]) for key in ("true", "found", "hits"))
        table.add_row(name, *counts, *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")))
    console.print(table)
    if not scores["both"]["true"]:
        console.print("no expression is annotated: the scores say nothing, what was found is in events.csv")
    if "strs" in scores["micro"]:
        row = scores["micro"]
        console.print(f"recognition F1 of the hits {row['recognition_f1']:.4f}, STRS {row['strs']:.4f}")

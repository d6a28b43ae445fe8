"""`dface explain`: what a detector of action units listens to, and what it keeps apart."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from dface_hf import AC4AU_CHECKPOINT
from dface_hf.faces.video import VIDEOS

from .app import Device, Fps, app, checkpoint_name, console

MODELS = ("ac4au",)


@app.command(
    epilog="Examples: `dface explain --data data/casme2 --out explained` · "
    "`dface explain runs/units/model --data data/casme2 --data data/samm --out explained` · "
    "`dface explain --data clip.mp4 --whole-clip --out explained`"
)
def explain(
    data: Annotated[
        list[str],
        typer.Option(help="Prepared clips (folder of `dface prepare`, Hub id), or a clip; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for figures and tables.")],
    checkpoint: Annotated[
        str, typer.Argument(help="Checkpoint: folder or Hub id.", show_default="ac4au-mini")
    ] = AC4AU_CHECKPOINT,
    model: Annotated[str, typer.Option(help="Kind of the checkpoint: ac4au.")] = "ac4au",
    whole_clip: Annotated[
        bool, typer.Option("--whole-clip", help="A clip is one event: do not look for events in it.")
    ] = False,
    fps: Fps = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the placement of clips.")] = 0,
    device: Device = None,
) -> None:
    """Show what a detector of action units makes of clips.

    Written are the gates (which experts each unit listens to), the energy of what changes (AC) and what stays
    (DC) over frames and face, and, for eight clips or more, maps of clips by AC with their units and by DC
    with their subjects.
    """
    from dface_hf.analysis.ac4au_explanations import read_clips
    from dface_hf.pipelines.loading import load_unit_detector

    if model not in MODELS:
        raise ValueError(f"--model is {model!r}; choose {', '.join(MODELS)}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; give a folder for the figures")
    detect = load_unit_detector(checkpoint, device)
    clips = _clips(detect, data, whole_clip, fps)
    reading = read_clips(detect.model, detect.image_processor, clips["frames"])
    out.mkdir(parents=True, exist_ok=True)
    title = checkpoint_name(checkpoint)
    told = _write_figures(reading, clips, out, title, seed) | {"checkpoint": checkpoint, "data": data}
    _write_numbers(reading, told, out)


def _clips(detect, sources: list[str], whole_clip: bool, fps: float | None) -> dict:
    """`frames` (n, T, S, S, 3), and `shown` (n, K) and `subjects` (n) where the clips are coded."""
    import numpy as np

    config = detect.model.config
    prepared = [source for source in sources if not _is_clip(source)]
    if prepared and len(prepared) < len(sources):
        raise ValueError("--data mixes prepared datasets and clips; give one kind")
    if prepared:
        from dface_hf.data.unit_clips import read_unit_clips

        names = [label for _, label in sorted(config.id2label.items())]
        units = [int(re.sub(r"\D", "", name) or -1) for name in names]
        clips = read_unit_clips(prepared, config.image_size, config.num_frames, units)
        people = [f"{corpus}/{subject}" for corpus, subject, _ in clips.names]
        return {"frames": clips.frames, "shown": clips.shown, "subjects": people}
    options = {"fps": fps, "whole_clip": whole_clip, "return_images": True}
    found = [event for clip in sources for event in detect(clip, **options)["events"]]
    if not found:
        raise ValueError(f"{', '.join(sources)}: no event found; --whole-clip takes a clip as one event")
    return {"frames": np.stack([event["images"] for event in found]), "shown": None, "subjects": None}


def _is_clip(source: str) -> bool:
    """A file or a folder of pictures; not a dataset, which may be on the Hub."""
    from dface_hf.data.prepared_clips import parquet_files

    path = Path(source)
    dataset = any((path / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))
    if path.suffix.lower() in VIDEOS:
        return True  # a missing one is told as such
    return path.exists() and not (path.is_dir() and (dataset or parquet_files(path)))


def _write_figures(reading, clips: dict, out: Path, title: str, seed: int) -> dict:
    """The figures that the clips allow; what else there is to tell of them."""
    from dface_hf.analysis import save_figure
    from dface_hf.analysis.ac4au_explanations import FEWEST, neighbours, subject_probes
    from dface_hf.analysis.ac4au_plots import plot_energies, plot_gates, plot_subjects, plot_units

    figures = {}
    if reading.gates is not None:
        figures["gates"] = plot_gates(reading.gates, reading.names, title)
    clip = int(reading.energy.mean(axis=1).argmax())
    figures["energies"] = plot_energies(reading, clips["frames"], clip, title)
    if clips["subjects"] is None or len(reading) < FEWEST:
        console.print(f"no maps of clips: they need {FEWEST} or more, coded and prepared", style="yellow")
        probes = {}
    else:
        plane = neighbours(reading.changing, seed)
        figures["ac_units"] = plot_units(plane, clips["shown"], reading.names, title)
        figures["dc_subjects"] = plot_subjects(neighbours(reading.constant, seed), clips["subjects"], title)
        probes = subject_probes(reading, clips["subjects"])
    for name, figure in figures.items():
        save_figure(figure, out / f"{name}.png")
        console.print(f"{out / name}.png", markup=False)
    return {"shown_clip": clip, "subject_probes": probes}


def _write_numbers(reading, told: dict, out: Path) -> None:
    """The table of gates, all numbers as JSON, and a summary on standard output."""
    from dface_hf.analysis.ac4au_explanations import gate_table
    from dface_hf.pipelines.records import write_text

    energy = reading.energy
    told |= {
        "clips": len(reading),
        "ac_energy": [round(float(value), 8) for value in energy.mean(axis=0)],
        "units": {
            name: {"mean_score": round(float(score), 5)}
            for name, score in zip(reading.names, reading.scores.mean(axis=0), strict=True)
        },
    }
    clips = "1 clip" if len(reading) == 1 else f"{len(reading)} clips"
    print(f"{clips}; energy of AC {energy.mean():.3%} of that of DC")
    if told["subject_probes"]:
        rates = "  ".join(f"{name} {value:.3f}" for name, value in told["subject_probes"].items())
        print(f"subjects told apart by a linear probe: {rates}")
    if reading.gates is not None:
        for unit, row in zip(reading.names, reading.gates.mean(axis=0), strict=True):
            told["units"][unit]["gates"] = [round(float(value), 5) for value in row]
            print(f"{unit:5} listens most to expert {row.argmax() + 1} ({row.max():.3f})")
        write_text(str(out / "gates.csv"), gate_table(reading.gates, reading.names))
    write_text(str(out / "explanation.json"), json.dumps(told, indent=2, allow_nan=False) + "\n")


__all__ = ["explain"]

"""`dface analyze`, `webcam` and `demo`: what happens in a video."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from dface_hf import AC4AU_CHECKPOINT, DEFAULT_CHECKPOINT
from dface_hf.faces.video import VIDEOS

from .app import Detector, Device, Fps, Model, Stabilise, app, complain, console, in_one_line

PICTURES = (".png", ".pdf", ".svg", ".jpg")


@app.command(
    epilog="Examples: `dface analyze clip.mp4` · `dface analyze *.mp4 --json all.json --csv events.csv` · "
    "`dface analyze clip.mp4 --onset 46 --apex 59 --json -` · "
    "`dface analyze clip.mp4 --overlay out.mp4 --plot out.png` · `dface analyze clip.mp4 --action-units`"
)
def analyze(
    clips: Annotated[list[str], typer.Argument(help="Video files or folders of numbered images.")],
    onset: Annotated[int | None, typer.Option(help="Onset frame, counted from 0; with --apex.")] = None,
    apex: Annotated[int | None, typer.Option(help="Apex frame, counted from 0.")] = None,
    offset: Annotated[int | None, typer.Option(help="Offset frame, if known.")] = None,
    fps: Fps = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write results as JSON; - for stdout.")
    ] = None,
    csv_file: Annotated[str | None, typer.Option("--csv", help="Write events as CSV; - for stdout.")] = None,
    overlay: Annotated[str | None, typer.Option(help="Write the clip with results drawn in.")] = None,
    plot: Annotated[str | None, typer.Option(help="Write a picture of the clip's events.")] = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Events that go through the model at once.")] = 32,
    faces: Annotated[str, typer.Option(help="largest or all; no effect with --onset.")] = "largest",
    detector: Detector = "haar",
    sensitivity: Annotated[
        float, typer.Option(min=0.01, help="Larger finds more events; no effect with --onset.")
    ] = 1.0,
    macro: Annotated[
        bool, typer.Option("--macro", help="Also report longer expressions; no effect with --onset.")
    ] = False,
    stabilise: Stabilise = None,
    action_units: Annotated[
        bool, typer.Option("--action-units", help="Also read each event's action units.")
    ] = False,
    units_model: Annotated[
        str,
        typer.Option(
            help="AC4AU checkpoint that reads them: folder or Hub id; implies --action-units.",
            show_default="ac4au-mini",
        ),
    ] = AC4AU_CHECKPOINT,
    explain: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Tell what moves, and which tokens matter.")
    ] = True,
) -> None:
    """Find the micro-expressions of clips and read their tokens and emotions."""
    from dface_hf.faces import make_detector
    from dface_hf.pipelines.action_units import with_action_units
    from dface_hf.pipelines.loading import load_recogniser, load_unit_detector
    from dface_hf.pipelines.records import check_target, to_csv, to_json, write_text

    _check_usage(len(clips), onset, apex, offset, overlay, plot, faces, json_file, csv_file)
    for target, suffixes in ((json_file, ()), (csv_file, ()), (overlay, VIDEOS), (plot, PICTURES)):
        check_target(target, clips, suffixes)
    options = dict(onset=onset, apex=apex, offset=offset, fps=fps, faces=faces, sensitivity=sensitivity)
    options |= dict(detector=make_detector(detector), batch_size=batch_size, explain=explain)
    options |= {} if stabilise is None else {"stabilised": stabilise}
    options |= dict(kinds=("micro", "macro") if macro else ("micro",), return_images=bool(plot))
    recognise = load_recogniser(model, device)
    if action_units or units_model != AC4AU_CHECKPOINT:
        recognise = with_action_units(recognise, load_unit_detector(units_model, device))
    results, failed = _analyse_all(recognise, clips, options)
    if json_file:
        write_text(json_file, to_json(model, results))
    if csv_file:
        write_text(csv_file, to_csv(results))
    if "-" not in (json_file, csv_file):
        _print_results([result for number, result in enumerate(results) if number not in failed])
    if len(failed) == len(clips):
        raise typer.Exit(2)
    if not _draw(results[0], clips[0], fps, overlay, plot) or failed:
        raise typer.Exit(3)


@app.command(epilog="Examples: `dface webcam` · `dface webcam --camera 1 --seconds 30`")
def webcam(
    camera: Annotated[int, typer.Option(help="Number of the camera.")] = 0,
    seconds: Annotated[
        float, typer.Option(min=1, help="Stop after this long; ends with Ctrl-C, too.")
    ] = 60.0,
    window: Annotated[float, typer.Option(min=1, help="Seconds that are analysed at once.")] = 4.0,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
) -> None:
    """Watch a camera and print the events of each stretch of video. Nothing is stored."""
    from dface_hf.faces import open_frames
    from dface_hf.pipelines.loading import load_recogniser
    from dface_hf.pipelines.watching import watch

    stream = open_frames(f"webcam:{camera}", max_side=640)
    recognise = load_recogniser(model, device)
    for start, result in watch(recognise, stream, min(window, seconds), seconds):
        _print_events(result, start)


@app.command(epilog="Example: `dface demo --output demo`")
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the clip, the picture and the page.")] = Path(
        "demo"
    ),
    model: Model = DEFAULT_CHECKPOINT,
    expression: Annotated[
        str, typer.Option(help="Action units of the expression, in FACS notation.")
    ] = "1+2+5",
    peak: Annotated[float, typer.Option(min=0.1, max=10, help="Largest motion, px of a 128 px face.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of the sensor noise and the time course.")] = 0,
) -> None:
    """Animate a real portrait with a micro-expression, analyse it, and write a picture and a page."""
    from dface_hf.pipelines.demo import run_demo

    result, page = run_demo(output, model, expression, peak, seed)
    _print_results([result])
    console.print(
        f"open [bold]{escape(str(page))}[/]; the picture is {escape(str(page.with_suffix('.png')))}"
    )


def _check_usage(count, onset, apex, offset, overlay, plot, faces, json_file, csv_file) -> None:
    """Refuse options that do not go together."""
    if (onset is None) != (apex is None):
        raise typer.BadParameter("--onset and --apex go together")
    if offset is not None and onset is None:
        raise typer.BadParameter("--offset goes with --onset and --apex")
    if onset is not None and count > 1:
        raise typer.BadParameter("--onset and --apex are for one clip")
    if count > 1 and (overlay or plot):
        raise typer.BadParameter("--overlay and --plot are for one clip")
    if faces not in ("largest", "all"):
        raise typer.BadParameter(f"--faces is {faces!r}; choose largest or all")
    if json_file == "-" and csv_file == "-":
        raise typer.BadParameter("only one of --json and --csv can go to standard output")


def _analyse_all(recognise, clips: list[str], options: dict) -> tuple[list[dict], set[int]]:
    """Results of all clips in order, and which of them failed: those have no events and a warning."""
    from tqdm import tqdm

    results, failed = [], set()
    quiet = len(clips) == 1 or not sys.stderr.isatty()
    for number, clip in enumerate(tqdm(clips, desc="analyze", unit="clip", disable=quiet)):
        try:
            results.append(recognise(clip, **options))
        except Exception as error:  # noqa: BLE001 - the other clips are still to be analysed
            message = in_one_line(error)
            complain(message if clip in message else f"{clip}: {message}")
            failed.add(number)
            results.append({"path": clip, "fps": 0.0, "frames": 0, "events": [], "warnings": [message]})
    return results, failed


def _draw(result: dict, clip: str, fps: float | None, overlay: str | None, plot: str | None) -> bool:
    """Draw what was asked for; False, after a line on standard error, where that failed."""
    try:
        if plot:
            from dface_hf.analysis import plot_clip, save_figure

            save_figure(plot_clip(result, result["score"], result["threshold"]), plot)
        if overlay:
            from dface_hf.analysis import write_overlay
            from dface_hf.analysis.overlay import MAX_SIDE
            from dface_hf.faces import open_frames

            frames = open_frames(clip, fps=fps, max_side=MAX_SIDE)
            boxes = [[value * frames.scale for value in event["box"]] for event in result["events"]]
            events = [event | {"box": box} for event, box in zip(result["events"], boxes, strict=True)]
            write_overlay(frames, result | {"events": events}, overlay)
    except Exception as error:  # noqa: BLE001 - the results are written and must count
        complain(in_one_line(error))
        return False
    return True


def _print_results(results: list[dict]) -> None:
    for result in results:
        print(f"{result['path']}  {result['frames']} frames at {result['fps']:.4g} fps")
        _print_events(result)


def _print_events(result: dict, start: float = 0.0) -> None:
    for event in result["events"]:
        times = f"{start + event['onset_s']:7.2f}-{start + event['offset_s']:.2f} s"
        frames = f"frames {event['onset']}/{event['apex']}/{event['offset']}"
        read = f"{event['label']:10} {event['scores'][event['label']]:.2f}"
        tokens = " ".join(f"{code:2d}" for code in event["action_ids"])
        told = (times, f"{frames:24}", read, f"confidence {event['confidence']:.2f}", f"tokens {tokens}")
        print("  " + "  ".join((*told, *_strongest_units(event))), flush=True)
        if "explanation" in event:
            print(f"{'':11}{_explained(event['explanation'])}", flush=True)
    for warning in result["warnings"]:
        console.print(f"  [yellow]{escape(warning)}[/]")


def _strongest_units(event: dict, count: int = 3) -> list[str]:
    """The likeliest action units of an event, where they were read."""
    scores = event.get("action_units", {})
    strongest = sorted(scores, key=scores.get, reverse=True)[:count]
    return ["units " + " ".join(f"{unit} {scores[unit]:.2f}" for unit in strongest)] if strongest else []


def _explained(explanation: dict, count: int = 3) -> str:
    """What moves, and the tokens that matter most: position in the grid and where it acts."""
    weighty = [token for token in explanation["tokens"] if token["weight"] > 0][:count]
    named = (f"{t['position']} ({t['region']})" if t["region"] else str(t["position"]) for t in weighty)
    return f"{explanation['sentence']}" + (f" · tokens that matter: {', '.join(named)}" if weighty else "")

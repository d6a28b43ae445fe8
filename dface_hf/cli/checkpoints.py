"""`dface tokenize`, `info` and `convert`: checkpoints and what they make of a pair of photos."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from dface_hf import DEFAULT_CHECKPOINT

from .app import Detector, Model, Stabilise, app, console


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
    """Print what a checkpoint is: sizes, classes, descriptions; of an AC4AU one, its units."""
    from dface_hf import DFaceForVideoClassification, DFaceTokenizerModel
    from dface_hf.pipelines.loading import load_config, load_model

    config = load_config(model, system=None)
    if config.model_type == "ac4au":
        return _tell_rows(_unit_detector_rows(model, config))
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
    _tell_rows(rows)


def _unit_detector_rows(model: str, config) -> dict[str, object]:
    from dface_hf import AC4AUForActionUnitDetection, AC4AUModel
    from dface_hf.pipelines.loading import load_model

    whole = AC4AUModel.__name__ not in (config.architectures or ())
    loaded = load_model(model, AC4AUForActionUnitDetection if whole else AC4AUModel)
    rows = {
        "model type": config.model_type,
        "parameters": f"{sum(parameter.numel() for parameter in loaded.parameters()):,}",
        "input": f"{config.num_frames} frames of {config.image_size} px",
        "backbone": f"{list(config.stage_channels)} maps, {config.hidden_size} features",
    }
    if not whole:
        return rows | {"units": "none yet: a start for training"}
    rows["experts"] = config.num_experts if config.use_experts else "none"
    rows["units"] = ", ".join(label for _, label in sorted(config.id2label.items()))
    return rows | {"active from": config.unit_threshold}


def _tell_rows(rows: dict[str, object]) -> None:
    for name, value in rows.items():
        print(f"{name:18} {value}")


@app.command(
    epilog="Examples: `dface convert laq.pt dface-base` · "
    "`dface convert laq.pt dface-casme3 --classifier cls.pt --labels happy,surprise,negative,others` · "
    "`dface convert laq_openx.pt lapa --preset lapa` · "
    "`dface convert mobilefacenet.pth backbone --preset mobilefacenet`"
)
def convert(
    original: Annotated[Path, typer.Argument(help="File of the published weights (.pt).")],
    output: Annotated[Path, typer.Argument(help="Folder for the checkpoint.")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the training images in pixels.", show_default="256")
    ] = None,
    classifier: Annotated[Path | None, typer.Option(help="File of the classifier's weights.")] = None,
    num_labels: Annotated[int | None, typer.Option(min=1, help="Number of classes, to be checked.")] = None,
    labels: Annotated[str | None, typer.Option(help="Class names in the order of the logits: a,b,c.")] = None,
    preset: Annotated[str, typer.Option(help="dface, lapa or mobilefacenet.")] = "dface",
    channels: Annotated[
        str | None,
        typer.Option(
            help="Order of colours a mobilefacenet was trained with: bgr or rgb.", show_default="bgr"
        ),
    ] = None,
) -> None:
    """Turn weights of the published D-FACE, of LAPA, or of a MobileFaceNet, into a checkpoint folder.

    A MobileFaceNet for face recognition (PyTorch) becomes the backbone of AC4AU.
    """
    from dface_hf.hub import check_output, write_converted
    from dface_hf.models.dface.convert_dface_original import convert_original

    check_output(output)
    if preset == "mobilefacenet":
        classes = {"--classifier": classifier, "--num-labels": num_labels, "--labels": labels}
        if given := [name for name, value in classes.items() if value is not None]:
            raise ValueError(f"{given[0]} is about a classifier; leave it out with --preset {preset}")
        if image_size is not None:
            raise ValueError(f"--image-size is told by the weights; leave it out with --preset {preset}")
        return _convert_backbone(original, output, channels or "bgr")
    if channels is not None:
        raise ValueError(f"--channels is about a mobilefacenet; leave it out with --preset {preset}")
    names = None if labels is None else [name.strip() for name in labels.split(",")]
    conversion = convert_original(original, image_size or 256, preset, classifier, num_labels, names)
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
    _tell_rows(rows)
    for note in conversion.notes:
        console.print(f"[yellow]{escape(note)}[/]")


def _convert_backbone(original: Path, output: Path, channels: str) -> None:
    from dface_hf.hub import write_backbone
    from dface_hf.models.ac4au.convert_mobilefacenet import convert_mobilefacenet

    conversion = convert_mobilefacenet(original, channels)
    told, config = write_backbone(conversion, output), conversion.model.config
    rows = {
        "tensors read": f"{told['tensors']}, all placed",
        "left aside": ", ".join(conversion.aside) or "nothing",
        "stages": f"{list(config.stage_channels)} maps, {list(config.stage_depths)} residual blocks",
        "image size": f"{config.image_size} px",
        "embedding": config.hidden_size,
        "written": output,
    }
    _tell_rows(rows)
    if channels == "bgr":
        told = "the network is taken to see blue, green, red; if it was trained on RGB: --channels rgb"
        console.print(told, markup=False, style="yellow")

"""`dface export`: a checkpoint as ONNX or as a program of `torch.export`, to run without this package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dface_hf import DEFAULT_CHECKPOINT

from .app import app, checkpoint_name, console

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@app.command(
    epilog="Examples: `dface export --out onnx` · "
    "`dface export runs/dface/model --format torch-export --out exported --part tokenizer` · "
    "`dface export me/ac4au-cd6me --out onnx --opset 18` · for ONNX: `pip install dface-hf[export]`"
)
def export(
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Folder or Hub id, of D-FACE, AC4AU or a flow baseline.", show_default="dface-mini"
        ),
    ] = DEFAULT_CHECKPOINT,
    format: Annotated[Literal["onnx", "torch-export"], typer.Option(help="Kind of file.")] = "onnx",
    part: Annotated[
        Literal["tokenizer", "classifier", "heads", "all"],
        typer.Option(
            help="tokenizer: frames to tokens; classifier: frames to scores; heads: tokens to scores."
        ),
    ] = "all",
    opset: Annotated[
        int | None, typer.Option(min=18, help="Version of ONNX's operators.", show_default="torch's choice")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference to the model that a file may have.")
    ] = 1e-3,
) -> None:
    """Write a model as files that run without dface_hf, and compare each with the model."""
    from dface_hf.hub.export import BATCHES, export_model

    model, name = load_exportable(checkpoint)
    batches = ", ".join(map(str, BATCHES))
    for done in export_model(model, out, format, part, name, opset, tolerance):
        given = f"{done.part.input_name} ({', '.join(['batch', *map(str, done.part.shape)])})"
        print(f"{done.path}: {given} -> {', '.join(done.part.outputs)}")
        apart = max(done.differences.values())
        ids = "" if done.equal_ids is None else f", equal action ids {done.equal_ids:.2%}"
        print(f"  batches of {batches}: largest difference to the model {apart:.2g}{ids}")
    console.print(f"written to [bold]{out}[/]")


def load_exportable(checkpoint: str) -> "tuple[PreTrainedModel, str]":
    """Load a model of any system of this package, and give it a name without a path.

    Args:
        checkpoint: Folder or Hub id.

    Raises:
        CheckpointError: If configuration or weights cannot be used.
    """
    from dface_hf import (
        AC4AUConfig,
        AC4AUForActionUnitDetection,
        DFaceConfig,
        DFaceForVideoClassification,
        DFaceTokenizerConfig,
        DFaceTokenizerModel,
    )
    from dface_hf.pipelines.loading import load_config, load_model

    name = checkpoint_name(checkpoint)
    baseline = _flow_baseline(checkpoint)
    if baseline is not None:
        return baseline, name
    classes = {
        DFaceTokenizerConfig: DFaceTokenizerModel,
        DFaceConfig: DFaceForVideoClassification,
        AC4AUConfig: AC4AUForActionUnitDetection,
    }
    return load_model(checkpoint, classes[type(load_config(checkpoint, None))]), name


def _flow_baseline(checkpoint: str):
    """The model where the checkpoint is one of a flow baseline, else None."""
    from transformers import AutoConfig, AutoModelForImageClassification

    from dface_hf import FlowBaselineConfig
    from dface_hf.pipelines.loading import CheckpointError

    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except Exception:  # noqa: BLE001 - what is wrong with it, `load_config` tells
        return None
    if not isinstance(config, FlowBaselineConfig):
        return None
    model, info = AutoModelForImageClassification.from_pretrained(checkpoint, output_loading_info=True)
    if info["missing_keys"]:
        raise CheckpointError(checkpoint, f"the weights lack {sorted(info['missing_keys'])[0]}")
    return model

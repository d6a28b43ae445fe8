"""Load a checkpoint with errors a user can act on."""

from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForVideoClassification, PreTrainedModel, pipeline

from .recognition import MicroExpressionRecognitionPipeline


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line that names it."""

    def __init__(self, checkpoint: object, problem: object) -> None:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        super().__init__(f"{checkpoint}: {' '.join(lines[:3])[:400]}")


def load_model(checkpoint: str | Path, model_class=AutoModelForVideoClassification) -> PreTrainedModel:
    """Load and check a model: nothing missing, nothing of another size, no NaN.

    Args:
        checkpoint: Folder or Hub id.
        model_class: Auto class or model class.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: If configuration or weights cannot be used.
    """
    try:
        model, info = model_class.from_pretrained(str(checkpoint), output_loading_info=True)
    except Exception as error:  # noqa: BLE001 - the loader raises anything from KeyError to RuntimeError
        raise CheckpointError(checkpoint, f"cannot load the checkpoint: {error}") from error
    if info["mismatched_keys"]:
        name, *shapes = sorted(info["mismatched_keys"])[0]
        sizes = " in the file, ".join(str(tuple(shape)) for shape in shapes)
        raise CheckpointError(
            checkpoint, f"{name} is {sizes} by its config.json; they do not belong together"
        )
    if info["missing_keys"]:
        raise CheckpointError(
            checkpoint, f"the weights lack {sorted(info['missing_keys'])[0]}; is it a D-FACE checkpoint?"
        )
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(checkpoint, f"{name} holds NaN or infinite values; the file is damaged")
    return model.eval()


def load_recogniser(checkpoint: str | Path, device: str | None = None) -> MicroExpressionRecognitionPipeline:
    """Return the recognition pipeline of a checkpoint.

    Args:
        checkpoint: Folder or Hub id with model and image processor.
        device: For example "cpu" or "cuda:0"; the CPU by default.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or is of another kind.
    """
    model = load_model(checkpoint)
    if model.config.model_type != "dface":
        raise CheckpointError(
            checkpoint, f"is a {model.config.model_type!r} model; a D-FACE classifier is needed"
        )
    try:
        processor = AutoImageProcessor.from_pretrained(str(checkpoint))
    except Exception as error:  # noqa: BLE001
        raise CheckpointError(checkpoint, f"cannot load preprocessor_config.json: {error}") from error
    try:
        return pipeline(
            "micro-expression-recognition", model=model, image_processor=processor, device=device or "cpu"
        )
    except (RuntimeError, AssertionError, ValueError) as error:
        raise CheckpointError(checkpoint, f"cannot use device {device!r}: {error}") from error

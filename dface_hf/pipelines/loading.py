"""Load a checkpoint with errors a user can act on."""

import os
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    Pipeline,
    PreTrainedConfig,
    PreTrainedModel,
    pipeline,
)
from transformers.image_processing_utils import BaseImageProcessor

from dface_hf.models import (
    AC4AUConfig,
    AC4AUForActionUnitDetection,
    DFaceConfig,
    DFaceForVideoClassification,
    DFaceTokenizerConfig,
)

from .action_units import ActionUnitDetectionPipeline
from .recognition import MicroExpressionRecognitionPipeline

SYSTEMS = {"D-FACE": (DFaceConfig, DFaceTokenizerConfig), "AC4AU": (AC4AUConfig,)}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line that names it."""

    def __init__(self, checkpoint: object, problem: object) -> None:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        super().__init__(f"{checkpoint}: {' '.join(lines[:3])[:400]}")


def load_config(checkpoint: str | Path, system: str | None = "D-FACE") -> PreTrainedConfig:
    """Read the configuration of a checkpoint, of D-FACE a classifier with its tokenizer, or a tokenizer.

    Args:
        checkpoint: Folder or Hub id.
        system: Key of `SYSTEMS` that the checkpoint must be of; None for any of them.

    Raises:
        CheckpointError: If there is none, it cannot be read, or it is that of another system.
    """
    name = os.fspath(checkpoint)
    if os.path.isdir(name):
        if not os.path.isfile(os.path.join(name, "config.json")):
            raise CheckpointError(name, "the folder holds no config.json; give the folder of a checkpoint")
    elif os.path.exists(name) or name.startswith((".", "~", os.sep)) or name.count("/") > 1:
        raise CheckpointError(name, "no such folder; give one with config.json and weights, or a Hub id")
    missing = "" if os.path.isdir(name) else "no such folder here, and from the Hub: "
    try:
        config = AutoConfig.from_pretrained(name)
    except Exception as error:  # noqa: BLE001 - a broken file makes the loader raise anything
        raise CheckpointError(name, f"{missing}cannot read config.json: {error}") from error
    known = SYSTEMS if system is None else {system: SYSTEMS[system]}
    if not isinstance(config, sum(known.values(), ())):
        wanted = " or ".join(known)
        told = f"config.json is of a {config.model_type!r} model, not of {wanted}; give one of {wanted}"
        raise CheckpointError(name, told)
    return config


def load_model(
    checkpoint: str | Path, model_class: type[PreTrainedModel] = DFaceForVideoClassification
) -> PreTrainedModel:
    """Load and check a model: nothing missing, nothing of another size, no NaN.

    Args:
        checkpoint: Folder or Hub id.
        model_class: Model class; a tokenizer is also found inside a classifier's checkpoint.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: If configuration or weights cannot be used.
    """
    system = next(name for name, configs in SYSTEMS.items() if model_class.config_class in configs)
    config = load_config(checkpoint, system)
    if isinstance(config, DFaceTokenizerConfig) and model_class.config_class is not DFaceTokenizerConfig:
        raise CheckpointError(checkpoint, "holds a tokenizer only; a D-FACE classifier is needed")
    options = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, with the sizes
    try:
        model, info = model_class.from_pretrained(os.fspath(checkpoint), **options)
    except Exception as error:  # noqa: BLE001
        raise CheckpointError(checkpoint, f"cannot load the weights: {error}") from error
    _check_weights(checkpoint, model, info)
    return model.eval()


def _check_weights(checkpoint: str | Path, model: PreTrainedModel, info: dict) -> None:
    if info["mismatched_keys"]:
        name, found, expected = sorted(info["mismatched_keys"])[0]
        told = f"{name} is {tuple(found)} in the weights, {tuple(expected)} by config.json"
        raise CheckpointError(checkpoint, f"{told}; they do not belong together")
    if info["missing_keys"]:
        name = sorted(info["missing_keys"])[0]
        raise CheckpointError(checkpoint, f"the weights lack {name}; they do not belong to this config.json")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(checkpoint, f"{name} holds NaN or infinite values; the file is damaged")


def load_processor(checkpoint: str | Path) -> BaseImageProcessor:
    """Load the image processor of a checkpoint.

    Args:
        checkpoint: Folder or Hub id.

    Raises:
        CheckpointError: If `preprocessor_config.json` is missing or broken.
    """
    name = os.fspath(checkpoint)
    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "preprocessor_config.json")):
        raise CheckpointError(name, "the folder holds no preprocessor_config.json; save the processor there")
    try:
        return AutoImageProcessor.from_pretrained(name)
    except Exception as error:  # noqa: BLE001
        raise CheckpointError(name, f"cannot read preprocessor_config.json: {error}") from error


def load_recogniser(checkpoint: str | Path, device: str | None = None) -> MicroExpressionRecognitionPipeline:
    """Return the recognition pipeline of a checkpoint.

    Args:
        checkpoint: Folder or Hub id with model and image processor.
        device: For example "cpu" or "cuda:0"; the CPU by default.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or is of another kind.
        ValueError: If there is no such device.
    """
    return load_pipeline("micro-expression-recognition", checkpoint, device)


def load_unit_detector(checkpoint: str | Path, device: str | None = None) -> ActionUnitDetectionPipeline:
    """Return the action-unit pipeline of an AC4AU checkpoint; else as `load_recogniser`."""
    return load_pipeline("action-unit-detection", checkpoint, device, AC4AUForActionUnitDetection)


def load_pipeline(
    task: str,
    checkpoint: str | Path,
    device: str | None = None,
    model_class: type[PreTrainedModel] = DFaceForVideoClassification,
) -> Pipeline:
    """Return the pipeline of one of the package's tasks; else as `load_recogniser`."""
    model, processor = load_model(checkpoint, model_class), load_processor(checkpoint)
    try:
        return pipeline(task, model=model, image_processor=processor, device=device or "cpu")
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"device {device!r} cannot be used ({reason}); choose cpu, cuda or cuda:N"
        ) from error

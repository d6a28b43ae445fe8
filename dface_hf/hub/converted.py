"""Publishable folders made of weights that others have trained."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dface_hf.models import AC4AUImageProcessor, DFaceForVideoClassification
from dface_hf.models.ac4au.convert_mobilefacenet import BackboneConversion
from dface_hf.models.dface.convert_dface_original import Conversion
from dface_hf.training.checkpointing import write_folder

from .cards import HERE, render_card
from .checkpoint import write_checkpoint

# What a checkpoint consists of: a folder with anything else in it is not replaced.
CHECKPOINT_FILES = (
    "config.json",
    "preprocessor_config.json",
    "report.json",
    "README.md",
    "model*.safetensors*",
)


def check_output(folder: str | Path) -> None:
    """Refuse a target that holds anything but an older checkpoint.

    Raises:
        ValueError: If it is a file, or holds other files.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; give a folder for the checkpoint")
    others = [
        path.name
        for path in (sorted(folder.iterdir()) if folder.exists() else ())
        if not any(path.match(pattern) for pattern in CHECKPOINT_FILES)
    ]
    if others:
        raise ValueError(f"{folder}: the folder holds {others[0]}; give a new folder for the checkpoint")


def write_converted(conversion: Conversion, folder: str | Path) -> dict[str, Any]:
    """Write a converted model with its image processor and a card that says whose weights they are.

    Args:
        conversion: From `convert_original`.
        folder: Target; an older checkpoint there is replaced.

    Returns:
        What the card tells: `classes`, `files` (name and SHA-256), `null_action_ids`, and the counts of
        tensors; besides `tokenizer`, its configuration.
    """
    check_output(folder)
    model = conversion.model
    whole = isinstance(model, DFaceForVideoClassification)
    tokenizer = model.dface.tokenizer if whole else model
    told = {
        "preset": conversion.preset,
        "classes": [label for _, label in sorted(model.config.id2label.items())] if whole else [],
        "files": {name: _sha256(path) for name, path in _names(conversion.files).items()},
        "tensors": conversion.tensors,
        "empty": conversion.empty,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "null_action_ids": tokenizer.null_action_ids().tolist(),
    }
    write_checkpoint(model, folder, report={"name": Path(folder).resolve().name, "conversion": told})
    return told | {"tokenizer": tokenizer.config}


def write_backbone(conversion: BackboneConversion, folder: str | Path) -> dict[str, Any]:
    """Write a converted backbone as an `AC4AUModel`: a start for training, with transformers yet untrained.

    `AC4AUModel.from_pretrained(folder).backbone` is the backbone;
    `AC4AUForActionUnitDetection.from_pretrained(folder)` starts a detector, to which sizes that MobileFaceNet
    does not set, such as `num_experts`, can be given.

    Args:
        conversion: From `convert_mobilefacenet`.
        folder: Target; an older checkpoint there is replaced.

    Returns:
        What the card tells: `name`, `tensors`, `file`, `sha256` and `channels`.
    """
    check_output(folder)
    side, file = conversion.model.config.image_size, Path(conversion.file)
    told = {
        "name": Path(folder).resolve().name,
        "tensors": len(conversion.state),
        "file": file.name,
        "sha256": _sha256(conversion.file),
        "channels": conversion.channels.upper(),
    }

    def fill(partial: str) -> None:
        conversion.model.save_pretrained(partial)
        AC4AUImageProcessor(size={"height": side, "width": side}).save_pretrained(partial)
        card = render_card("backbone", **told, checkpoint=HERE)
        (Path(partial) / "README.md").write_text(card, encoding="utf-8")

    write_folder(folder, fill)
    return told


def _names(files: Sequence[str]) -> dict[str, Path]:
    """Files by their names, with the folder before those of one name."""
    paths = [Path(file).resolve() for file in files]
    alone = len({path.name for path in paths}) == len(paths)
    return {path.name if alone else f"{path.parent.name}/{path.name}": path for path in paths}


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

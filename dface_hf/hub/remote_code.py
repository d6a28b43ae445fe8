"""The code of a model beside its weights: flat files, for loading with `trust_remote_code=True`."""

import ast
import inspect
import json
import shutil
from pathlib import Path

import transformers
from transformers import PreTrainedConfig

import dface_hf.models

# A repository of the Hub names the class for each of these in its configuration.
AUTO_CLASSES = ("AutoModel", "AutoModelForVideoClassification", "AutoModelForImageClassification")


def add_code(stage: str | Path, config: PreTrainedConfig) -> dict[str, str]:
    """Copy the files of a model into a checkpoint's folder and name its classes in the configurations.

    Args:
        stage: Folder with `config.json` and, perhaps, `preprocessor_config.json`.
        config: That of the model.

    Returns:
        Auto class -> class that it loads, without the configuration.
    """
    stage = Path(stage)
    classes = {"AutoConfig": type(config)}
    for auto in AUTO_CLASSES:
        mapping = getattr(transformers, auto)._model_mapping
        if type(config) in mapping:
            classes[auto] = mapping[type(config)]
    _name_classes(stage / "config.json", classes)
    processor = stage / "preprocessor_config.json"
    if processor.exists():
        named = json.loads(processor.read_text(encoding="utf-8"))["image_processor_type"]
        classes["AutoImageProcessor"] = getattr(dface_hf.models, named)
        _name_classes(processor, {"AutoImageProcessor": classes["AutoImageProcessor"]})
    for path in sorted(_with_siblings(Path(inspect.getfile(found)) for found in classes.values())):
        shutil.copyfile(path, stage / path.name)
    return {auto: found.__name__ for auto, found in classes.items() if auto != "AutoConfig"}


def _name_classes(path: Path, classes: dict[str, type]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["auto_map"] = {
        auto: f"{found.__module__.rpartition('.')[2]}.{found.__name__}" for auto, found in classes.items()
    }
    path.unlink()  # it may be a link to the file of the checkpoint, which stays as it is
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _with_siblings(files) -> set[Path]:
    """The files and all that they import from their own folder, by `from .x import y`."""
    found, waiting = set(), list(files)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                waiting.append(path.with_name(f"{node.module}.py"))
    return found

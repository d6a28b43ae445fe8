"""Files of published weights, read without running code from them: what all converters begin with."""

import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch


def read_leaves(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a file of weights, flat.

    Args:
        path: A file of `torch.save` or a safetensors file: a state dict, or dictionaries around state dicts.

    Returns:
        What its nested dictionaries hold, tensors on the CPU, by their dotted names.

    Raises:
        ValueError: The file is missing, empty, damaged, no file of weights, or reading it could run code;
            one line that names it.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: {'is a folder; give the file' if os.path.isdir(path) else 'no such file'}")
    if not os.path.getsize(path):
        raise ValueError(f"{path}: the file is empty")
    try:
        return dict(_flatten(_load(path)))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken file makes the loader raise anything
        raise ValueError(f"{path}: {_problem(path, error)}") from error


def _load(path: str) -> Any:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told by the error, in one line
        return torch.load(path, map_location="cpu", weights_only=True)


def _problem(path: str, error: Exception) -> str:
    code = re.search(r"Unsupported (?:global|class): (?:GLOBAL )?(\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        return (
            f"holds the Python object {code[1]}, and reading it could run code; "
            "save the tensors alone, as in torch.save(model.state_dict(), path)"
        )
    with open(path, "rb") as file:
        start = file.read(2)
    if start == b"PK" or start[:1] == b"\x80" or path.endswith(".safetensors"):
        return "damaged or truncated, or no state dict; fetch or save the file again"
    return "not a torch pickle; give the .pt file of the published weights"


def _flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries with their dotted names."""
    if not isinstance(tree, Mapping):
        yield prefix.removesuffix("."), tree
        return
    for key, value in tree.items():
        yield from _flatten(value, f"{prefix}{key}.")


__all__ = ["read_leaves"]

"""The parts of a file of published weights of D-FACE."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..weight_files import read_leaves

State = dict[str, torch.Tensor]

#: A tensor that each part of a file has, by which it is found below any prefix.
MARKS = {"tokenizer": "vq.codebooks", "classifier": "sparse_pool.query"}


@dataclass(frozen=True)
class OriginalWeights:
    """What a published file holds.

    Attributes:
        path: The file.
        tokenizer: Published name -> tensor, without prefix; None where the file has no tokenizer.
        classifier: The same of the classifier.
        aside: Names of what belongs to neither part: the optimizer, the epoch.
    """

    path: str
    tokenizer: State | None
    classifier: State | None
    aside: tuple[str, ...] = ()


def read_original(path: str | os.PathLike) -> OriginalWeights:
    """Read a published file without running code from it.

    Args:
        path: A file of `torch.save` or a safetensors file: a state dict, with or without a prefix such as
            `module.`; or dictionaries around state dicts, such as `{"model": classifier, "laq": tokenizer}`,
            in which the parts are found by the tensors they hold.

    Raises:
        ValueError: If the file cannot be read, would run code, or holds neither part or one of them twice.
    """
    path = os.fspath(path)
    tensors = read_leaves(path)
    prefixes = {kind: _prefix(path, kind, tensors) for kind in MARKS}
    if set(prefixes.values()) == {None}:
        count, marks = sum(map(torch.is_tensor, tensors.values())), " or ".join(MARKS.values())
        raise ValueError(f"{path}: no file of D-FACE: none of its {count} tensors is {marks}")
    parts: dict[str | None, State] = {kind: {} for kind, prefix in prefixes.items() if prefix is not None}
    aside = []
    for name, value in tensors.items():
        owners = [kind for kind in parts if name.startswith(prefixes[kind]) and torch.is_tensor(value)]
        if owners:
            kind = max(owners, key=lambda kind: len(prefixes[kind]))
            parts[kind][name.removeprefix(prefixes[kind])] = value
        else:
            aside.append(name.split(".")[0])
    return OriginalWeights(path, parts.get("tokenizer"), parts.get("classifier"), tuple(dict.fromkeys(aside)))


def _prefix(path: str, kind: str, tensors: Mapping[str, Any]) -> str | None:
    """What stands before the names of a part; None where the file does not hold it."""
    ends = re.compile(rf"(^|.*\.){re.escape(MARKS[kind])}$")
    found = [match[1] for match in map(ends.match, tensors) if match]
    if len(found) > 1:
        raise ValueError(
            f"{path}: holds {len(found)} {kind}s ({', '.join(found)}); save the one you want alone"
        )
    return found[0] if found else None


__all__ = ["MARKS", "OriginalWeights", "State", "read_original"]

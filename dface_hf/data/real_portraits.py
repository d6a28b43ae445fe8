"""Real portraits as identities to animate: aligned stills of a folder of faces, split by person.

The folder holds an ``index.csv`` with at least the columns file, kind (``still`` or ``video``), identity,
tier and split. Tier A is footage whose own licence is open; only that may be trained on.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from tqdm import tqdm

from dface_hf.faces import align, fit_similarity, locate, make_detector, open_frames
from dface_hf.synthesis.seeds import seed_of

Part = Literal["train", "test"]
COLUMNS = ("file", "kind", "identity", "tier", "split")
RECIPE = 1
"""Raised whenever the crops change, so that no stale cache is read."""


@dataclass(frozen=True)
class RealPortraits:
    """Aligned portraits of one part.

    Attributes:
        faces: (n, 3, size, size) float32 in [0, 1].
        identities: Person of each.
        files: File of each, as in the index.
        skipped: Files of this part in which no face was found.
    """

    faces: torch.Tensor
    identities: tuple[str, ...]
    files: tuple[str, ...]
    skipped: tuple[str, ...]


def real_portraits(
    folder: str | Path, part: Part, size: int = 192, cache: str | Path | None = None
) -> RealPortraits:
    """Read the portraits that a tokenizer may be trained on, or those that it is tested on.

    No person is in both parts: half of the persons, by a hash of the name, are for training. A person who is
    seen in a training video is for training too.

    Args:
        folder: Holds ``index.csv`` and the files it names.
        part: ``"train"`` (tier A only) or ``"test"``.
        size: Side of the crops in pixels.
        cache: Folder to keep the aligned crops in; aligning takes some 50 ms a still. The crops are pictures
            of people: it must not be a folder that is published.

    Returns:
        [`RealPortraits`], in the order of the index.

    Raises:
        ValueError: An unknown part, no index, a column that it lacks, an unreadable still, or a part without
            a portrait.
    """
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is unknown; choose 'train' or 'test'")
    rows = read_index(folder)
    stills = [row for row in rows if row["kind"] == "still"]
    crops, found = _aligned([row["file"] for row in stills], Path(folder), size, cache)
    of_part = part_of_identities(rows)
    mine = np.array([of_part[row["identity"]] == part and _allowed(row, part) for row in stills], bool)
    if not (mine & found).any():
        raise ValueError(f"{folder}: no portrait for part {part!r} among {len(stills)} stills")
    kept, lost = (np.flatnonzero(mine & which) for which in (found, ~found))
    faces = torch.from_numpy(crops[kept]).permute(0, 3, 1, 2).contiguous().float() / 255
    names, files = (tuple(stills[i][column] for i in kept) for column in ("identity", "file"))
    return RealPortraits(faces, names, files, tuple(stills[i]["file"] for i in lost))


def read_index(folder: str | Path) -> list[dict[str, str]]:
    """The rows of the ``index.csv`` of a folder of faces.

    Raises:
        ValueError: There is none, or it lacks a column.
    """
    path = Path(folder) / "index.csv"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a folder of faces with an index.csv")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := sorted(set(COLUMNS) - set(reader.fieldnames or ())):
            raise ValueError(f"{path}: lacks column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
        return list(reader)


def part_of_identities(rows: list[dict[str, str]]) -> dict[str, Part]:
    """The part, ``"train"`` or ``"test"``, of every person of an index."""
    filmed = {row["identity"] for row in rows if row["kind"] == "video" and row["split"] == "train"}
    held_out = {row["identity"] for row in rows if row["split"] != "train"}
    parts: dict[str, Part] = {}
    for name in {row["identity"] for row in rows}:
        by_hash: Part = "train" if seed_of("portraits", name) % 2 else "test"
        parts[name] = "test" if name in held_out else "train" if name in filmed else by_hash
    return parts


def _allowed(row: dict[str, str], part: Part) -> bool:
    return part == "test" or row["tier"] == "A"


def _aligned(
    files: list[str], folder: Path, size: int, cache: str | Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Crops (n, size, size, 3) uint8 of all stills, black where no face was found, and whether one was."""
    key = hashlib.blake2b("\n".join([*files, str(size), str(RECIPE)]).encode(), digest_size=6).hexdigest()
    path = None if cache is None else Path(cache) / f"portraits-{size}-{key}.npz"
    if path is not None and path.is_file():
        with np.load(path) as kept:
            return kept["crops"], kept["found"]
    detector, crops, found = make_detector("haar"), [], []
    for name in tqdm(files, desc="aligning portraits", unit="still", leave=False):
        image = open_frames(folder / name, fps=1).read([0])[0].image
        faces = detector.detect(image)
        found.append(bool(faces))
        blank = np.zeros((size, size, 3), np.uint8)
        crops.append(align(image, fit_similarity(*locate(image, faces[0])), size) if faces else blank)
    crops, found = np.stack(crops), np.array(found, bool)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, crops=crops, found=found)
        partial.replace(path)
    return crops, found

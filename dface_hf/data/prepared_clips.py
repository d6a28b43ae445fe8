"""Prepared datasets read back: clips in the schema, and their onset/apex pairs with class labels."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
from datasets import (
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)

from dface_hf.actions import ClassScheme, get_class_scheme

from .clip import CLIP_FEATURES, SPLITS, TRAIN
from .pair_clips import PairClips, keyframe_clips

# As `datasets` reads them.
SPLIT_WORDS = {"train": TRAIN, "training": TRAIN, "validation": "validation", "valid": "validation"}
SPLIT_WORDS |= {"val": "validation", "dev": "validation", "test": "test", "testing": "test", "eval": "test"}


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Onset/apex pairs of labelled clips.

    Attributes:
        pairs: Stabilised pairs of n clips.
        labels: (n,) int64 class ids of the scheme.
        subjects: "corpus/subject" of each clip.
        left_out: Number of clips by emotion that the scheme has no class for.
        licenses: Of the pictures.
        splits: "train", "validation" or "test" of each clip, as its source declares it; empty for all train.
    """

    pairs: PairClips
    labels: np.ndarray
    subjects: tuple[str, ...]
    left_out: dict[str, int]
    licenses: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    @property
    def corpora(self) -> tuple[str, ...]:
        """Names of the corpora."""
        return tuple(sorted({subject.split("/")[0] for subject in self.subjects}))

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: np.ndarray) -> LabelledClips:
        """Some of the clips, by index or mask."""
        index = np.arange(len(self))[chosen]
        pairs = PairClips(*(column[index] for column in self.pairs.arrays))
        subjects = tuple(self.subjects[i] for i in index)
        splits = tuple(self.splits[i] for i in index) if self.splits else ()
        return replace(self, pairs=pairs, labels=self.labels[index], subjects=subjects, splits=splits)


def parquet_files(source: str | Path, split: str | None = None) -> list[str]:
    """The Parquet files below a folder (of a split), sorted; those in hidden folders are not meant."""
    folder = Path(source)
    found = (path.relative_to(folder) for path in folder.rglob("*.parquet"))
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(str(folder / path) for path in shown if split in (None, split_of(path)))


def split_of(path: Path) -> str:
    """The split that a file is of, by the first word of its name or of a folder's, as in `datasets`: "test"
    for data/test-00000-of-00001.parquet, "train" where nothing is said."""
    for part in path.parts:
        word = re.match(r"[a-z]*", part.lower())[0]
        if word in SPLIT_WORDS:
            return SPLIT_WORDS[word]
    return TRAIN


def open_clips(source: str | Path | Sequence[str], split: str | None = None) -> IterableDataset:
    """Stream the clips of a prepared dataset; their frames stay encoded until `read_frame`.

    Args:
        source: A folder with Parquet files, as `dface prepare` and `Dataset.to_parquet` write them; a folder
            of `Dataset.save_to_disk`; a dataset on the Hub; or a list of Parquet files.
        split: "train", "validation" or "test"; None for all of them.

    Raises:
        ValueError: None of these, no such split, or columns other than those of `CLIP_FEATURES`; the message
            names them.
    """
    found = open_splits(source)
    if split is not None and split not in found:
        raise ValueError(f"{source}: has no split {split}, but {', '.join(found)}")
    parts = [found[split]] if split else list(found.values())
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def open_splits(source: str | Path | Sequence[str]) -> dict[str, IterableDataset]:
    """As `open_clips`, split by split; "train" alone where the source declares none."""
    return {split: _checked(part, source) for split, part in _open(source).items()}


def _checked(found: IterableDataset, source: str | Path | Sequence[str]) -> IterableDataset:
    lacking = [] if found.features is None else sorted(set(CLIP_FEATURES) - set(found.features))
    if lacking:
        raise ValueError(
            f"{source}: no dataset of clips, it lacks the columns {lacking}; `dface prepare` makes one"
        )
    return found.decode(False) if found.features else found.cast(CLIP_FEATURES).decode(False)


def _open(source: str | Path | Sequence[str]) -> dict[str, IterableDataset]:
    if not isinstance(source, str | Path):
        return {TRAIN: _stream_of(list(source))}
    found = {split: parquet_files(source, split) for split in SPLITS}
    if any(found.values()):
        _check_whole([file for files in found.values() for file in files])
        return {split: _stream_of(files) for split, files in found.items() if files}
    try:
        if (Path(source) / "dataset_info.json").is_file() or (Path(source) / "dataset_dict.json").is_file():
            return _by_split(load_from_disk(str(source)))
        if not Path(source).exists():
            return _by_split(load_dataset(str(source), streaming=True))
    except Exception as error:  # of the Hub, of the network, of half a dataset: one line for all
        missing = "" if Path(source).exists() else "no such folder here, and from the Hub: "
        raise ValueError(f"{source}: {missing}{' '.join(str(error).split())}") from error
    raise ValueError(f"{source}: no .parquet file in it, and no dataset of `save_to_disk`")


def _stream_of(files: list[str]) -> IterableDataset:
    return load_dataset("parquet", data_files=files, split="train", streaming=True)


def _check_whole(files: Sequence[str]) -> None:
    for file in files:
        try:
            pq.read_metadata(file)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file}: no whole Parquet file; copy it again, or remove it and run the same `dface prepare`"
            ) from error


def _by_split(found: Dataset | DatasetDict | IterableDatasetDict) -> dict[str, IterableDataset]:
    """The parts of a dataset by their canonical names; parts of one name are joined."""
    if isinstance(found, Dataset):
        found = {TRAIN: found}
    parts: dict[str, list[IterableDataset]] = {}
    for name, part in found.items():
        stream = part
        if isinstance(part, Dataset):
            stream = part.to_iterable_dataset(num_shards=max(1, min(64, len(part))))
        parts.setdefault(split_of(Path(name)), []).append(stream)
    joined = {name: some[0] if len(some) == 1 else concatenate_datasets(some) for name, some in parts.items()}
    return {split: joined[split] for split in SPLITS if split in joined}


def read_frame(row: Mapping[str, Any], index: int) -> np.ndarray:
    """Return frame `index` of a clip as (height, width, 3) uint8 RGB.

    Raises:
        ValueError: The clip has no frames, or none of that index, or it cannot be read.
    """
    name = f"clip {row['corpus']}/{row['clip_id']}"
    if row["frames"] is None:
        raise ValueError(f"{name} names a path and holds no frames; `dface prepare` puts them in")
    if not 0 <= index < len(row["frames"]):
        raise ValueError(f"{name} has no frame {index}; it has {len(row['frames'])}, counted from 0")
    frame = row["frames"][index]
    try:
        if isinstance(frame, Mapping):
            frame = PIL.Image.open(io.BytesIO(frame["bytes"]) if frame["bytes"] else frame["path"])
        return np.asarray(frame.convert("RGB"))
    except (OSError, ValueError) as error:
        told = "it is no picture" if isinstance(error, PIL.UnidentifiedImageError) else error
        raise ValueError(f"{name}: frame {index} cannot be read: {told}; prepare the clip again") from error


def labelled_clips(sources: Sequence[str | Path], scheme: ClassScheme | str) -> LabelledClips:
    """The onset/apex pairs of prepared datasets, as far as their emotions have a class.

    Args:
        sources: As `open_clips` takes them; pictures of one size.
        scheme: Class scheme or its name.

    Raises:
        ValueError: No clip at all, or none with a class of the scheme.
    """
    scheme, left_out, labels, subjects, licenses = get_class_scheme(scheme), Counter(), [], [], set()
    splits: list[str] = []

    def with_a_class() -> Iterator[dict[str, Any]]:
        for split, rows in chain.from_iterable(open_splits(source).items() for source in sources):
            for row in rows:
                label = _label_of(scheme, row["emotion"])
                if label is None:
                    left_out[row["emotion"] or "no emotion"] += 1
                    continue
                labels.append(scheme.label2id[label])
                subjects.append(f"{row['corpus']}/{row['subject']}")
                licenses.add(row["license"])
                splits.append(split)
                yield _keyframes(row)

    rows = with_a_class()
    if (first := next(rows, None)) is None:
        told = ", ".join(f"{count} x {name}" for name, count in left_out.items()) or "they hold no clips"
        raise ValueError(f"{_names(sources)}: no clip with a class of {scheme.name}: {told}")
    pairs = keyframe_clips(chain([first], rows))
    terms, declared = tuple(sorted(licenses)), tuple(splits) if set(splits) != {TRAIN} else ()
    return LabelledClips(pairs, np.array(labels), tuple(subjects), dict(left_out), terms, declared)


def _label_of(scheme: ClassScheme, emotion: str | None) -> str | None:
    try:
        return None if emotion is None else scheme.label_of(emotion)
    except ValueError:  # a word that nobody knows is left out and listed as it is
        return None


def _keyframes(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its onset and apex frame only, decoded."""
    frames = [PIL.Image.fromarray(read_frame(row, row[key])) for key in ("onset", "apex")]
    return dict(row) | {"frames": frames, "onset": 0, "apex": 1, "offset": 1}


def _names(sources: Sequence[str | Path]) -> str:
    return ", ".join(map(str, sources))

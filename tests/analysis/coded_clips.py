"""Twelve small clips of three people, with units, as `dface prepare` writes them."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
from datasets import Dataset

from dface_hf.data.clip import CLIP_FEATURES

PEOPLE, CLIPS = 3, 4


def moving_clips(count: int = PEOPLE * CLIPS, size: int = 32) -> np.ndarray:
    """(n, 8, size, size, 3) uint8: each person a noise picture, its lower right changes."""
    generator = np.random.default_rng(0)
    people = generator.integers(40, 200, (PEOPLE, size, size, 3))
    frames = np.repeat(people[np.arange(count) % PEOPLE, None], 8, axis=1)
    changes = generator.integers(-40, 40, (count, 8, size // 2, size // 2, 3))
    frames[:, :, size // 2 :, size // 2 :] += changes
    return frames.astype(np.uint8)


def write_coded_clips(folder: Path) -> None:
    """The clips as a Parquet file."""
    Dataset.from_list(
        list(map(_row, range(PEOPLE * CLIPS), moving_clips())), features=CLIP_FEATURES
    ).to_parquet(folder / "clips.parquet")


def _row(number: int, frames: np.ndarray) -> dict:
    return {
        "clip_id": f"c{number}",
        "corpus": "made",
        "subject": f"s{number % PEOPLE}",
        "frames": [{"bytes": _png(frame), "path": None} for frame in frames],
        "path": None,
        "fps": 30.0,
        "onset": 0,
        "apex": 4,
        "offset": 7,
        "emotion": None,
        "action_units": "1+2" if number % 2 else "12",
        "license": "cc0-1.0",
    }


def _png(frame: np.ndarray) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(frame).save(stream, "png")
    return stream.getvalue()

"""Prepared datasets for cross-validation: keyframes only, and clips whose keyframes were set too wide."""

import numpy as np
import PIL.Image
from datasets import Dataset

from dface_hf.data import CLIP_FEATURES

from ..data.clip_sets import rows


def write_keyframes(folder) -> str:
    """12 clips of 4 subjects, each with three frames: onset, apex and offset."""
    found = rows(12, frames=12)
    for row in found:
        frames = [row["frames"][row[name]] for name in ("onset", "apex", "offset")]
        row |= {"frames": frames, "onset": 0, "apex": 1, "offset": 2}
    return _write(folder, found)


def write_brightening(folder) -> str:
    """12 clips that grow brighter from 3 frames after the annotated onset, 10, to 2 before the apex, 50.

    The apex of the first one is 13: a tenth of 3 frames is none.
    """
    levels = np.interp(np.arange(60), [13, 48], [40, 200])
    levels[49:] = 180
    found = rows(12)
    for number, row in enumerate(found):
        frames = [
            PIL.Image.fromarray(np.full((32, 32, 3), round(tone) + number, np.uint8)) for tone in levels
        ]
        apex = 50 if number else 13
        row |= {"frames": frames, "onset": 10, "apex": apex, "offset": apex}
    return _write(folder, found)


def _write(folder, found: list[dict]) -> str:
    folder.mkdir(parents=True)
    Dataset.from_list(found, features=CLIP_FEATURES).to_parquet(folder / "part.parquet")
    return str(folder)

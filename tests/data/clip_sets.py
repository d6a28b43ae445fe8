"""Small prepared datasets whose frames say where they come from, without a face being drawn."""

import numpy as np
import PIL.Image
from datasets import Dataset

from dface_hf.data import CLIP_FEATURES

SIZE = 32
FRAMES = 30
EMOTIONS = ("disgust", "happiness", "surprise")


def frame(clip: int, index: int) -> np.ndarray:
    """Texture of brightness 40 + 12 x clip; both upper corners hold 8 x the frame's index."""
    texture = np.random.default_rng(clip).integers(-15, 16, (SIZE, SIZE, 1))
    picture = np.repeat(np.clip(40 + 12 * clip + texture, 0, 255), 3, axis=2).astype(np.uint8)
    picture[:2, :2] = picture[:2, -2:] = 8 * index
    return picture


def clip_of(onset) -> int:
    """Which clip an onset (3, SIZE, SIZE) in [0, 1] is of."""
    return round((onset[:, 4:].mean().item() * 255 - 40) / 12)


def index_of(onset) -> int:
    """Which frame it is."""
    return round(onset[0, 0, 0].item() * 255 / 8)


def rows(clips: int, emotions=EMOTIONS, frames: int = FRAMES) -> list[dict]:
    """Clips of 4 subjects at 25 frames a second, with onset 2 and apex 5."""
    return [
        {
            "clip_id": f"c{clip}",
            "corpus": "look-alike",
            "subject": f"s{clip % 4}",
            "frames": [PIL.Image.fromarray(frame(clip, index)) for index in range(frames)],
            "path": None,
            "fps": 25.0,
            "onset": 2,
            "apex": 5,
            "offset": min(8, frames - 1),
            "emotion": emotions[clip % len(emotions)],
            "action_units": "",
            "license": "cc0-1.0",
        }
        for clip in range(clips)
    ]


def clip_set(clips: int = 12, **options) -> Dataset:
    return Dataset.from_list(rows(clips, **options), features=CLIP_FEATURES)


def write_clips(folder, clips: int = 12, shards: int = 3, **options) -> str:
    """A folder as `dface prepare` leaves it: Parquet files in `data`."""
    (folder / "data").mkdir(parents=True)
    found = clip_set(clips, **options)
    for shard in range(shards):
        found.shard(shards, shard).to_parquet(folder / "data" / f"part-{shard}.parquet")
    return str(folder)

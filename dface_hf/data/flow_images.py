"""Onset-to-apex flow pictures of real micro-expressions (the MEGC2019 composite), as motion to animate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

from .megc2019 import manifest_rows

COLUMNS = ("corpus", "subject", "label", "flow")


@dataclass(frozen=True)
class FlowImages:
    """Flow pictures and what they show.

    Attributes:
        images: (n, 28, 28, 3) uint8: u, v and optical strain, each stretched to 0..255 on its own.
        labels: (n,) int64: 0 negative, 1 positive, 2 surprise.
        subjects: (n,) names, unique over corpora ("casme2/sub01").
        corpora: (n,) names of the corpora.
        clips: (n,) names of the clips, as in MEGC's logs.
    """

    images: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    corpora: np.ndarray
    clips: np.ndarray

    def motion(self, size: int) -> torch.Tensor:
        """Forward motion (n, 2, size, size) whose longest vector is 1 px of the crop, in crop half-widths.

        The pictures have lost scale and zero: the median of each channel counts as stillness, and the two
        channels, stretched apart, are taken to have been stretched alike.
        """
        flow = torch.from_numpy(self.images[..., :2].astype(np.float32)).permute(0, 3, 1, 2)
        flow = flow - flow.flatten(2).median(dim=-1).values[..., None, None]
        flow = F.interpolate(flow, (size, size), mode="bicubic", align_corners=False)
        return flow / flow.norm(dim=1).amax((1, 2))[:, None, None, None].clamp_min(1e-6) * (2 / size)


def read_flow_images(folder: str | Path) -> FlowImages:
    """Read a ``manifest.csv`` (columns corpus, subject, label, flow; clip, if it has it) and its pictures.

    Raises:
        ValueError: No manifest, a column that it lacks, a label other than 0, 1 and 2, or a picture that
            cannot be read; the message names it.
    """
    folder = Path(folder)
    path = folder / "manifest.csv"
    rows = manifest_rows(path, COLUMNS)
    try:
        images = np.stack([np.asarray(PIL.Image.open(folder / row["flow"]).convert("RGB")) for row in rows])
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return FlowImages(
        images,
        np.array([int(row["label"]) for row in rows]),
        np.array([f"{row['corpus']}/{row['subject']}" for row in rows]),
        np.array([row["corpus"] for row in rows]),
        np.array([row.get("clip") or Path(row["flow"]).stem for row in rows]),
    )

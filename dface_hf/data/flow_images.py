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
PLACED = ("crop", "eyes")
# From crop to picture: the eyes at y -.21 fall on row 7 of 28, the mouth at .48 on row 22.
SCALE, SHIFT = 1.552, -0.138
FADE = 0.4  # crop half-widths of the picture over which motion beyond its border dies away


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

    @property
    def names(self) -> list[tuple[str, str, str]]:
        """Corpus, subject and clip of each, as prediction logs have them."""
        subjects = (subject.split("/", 1)[-1] for subject in self.subjects)
        return [tuple(map(str, name)) for name in zip(self.corpora, subjects, self.clips, strict=True)]

    def motion(self, size: int, placed: str = "crop") -> torch.Tensor:
        """Forward motion (n, 2, size, size) of an aligned crop, in crop half-widths.

        The pictures have lost scale and zero: the median of each channel counts as stillness, the two
        channels, stretched apart, are taken to have been stretched alike, and the 98th percentile of the
        lengths, which a few odd pixels do not move, becomes 1 px of the crop.

        Args:
            size: Of the crop, px.
            placed: "crop": the picture is stretched over the whole crop. "eyes": its eyes (row 7 of 28) and
                mouth (row 22) lie on those of the crop; what the picture does not show fades to stillness.

        Raises:
            ValueError: Another `placed`.
        """
        if placed not in PLACED:
            raise ValueError(f"placed is {placed!r}; use one of {', '.join(PLACED)}")
        flow = torch.from_numpy(self.images[..., :2].astype(np.float32)).permute(0, 3, 1, 2)
        flow = flow - flow.flatten(2).median(dim=-1).values[..., None, None]
        if placed == "crop":
            flow = F.interpolate(flow, (size, size), mode="bicubic", align_corners=False)
        else:
            flow = _on_the_eyes(flow, size)
        length = flow.norm(dim=1).flatten(1).quantile(0.98, dim=1)
        return flow / length[:, None, None, None].clamp_min(1e-6) * (2 / size)


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


def _on_the_eyes(flow: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures of flow (n, 2, h, w) laid on a crop by eyes and mouth; still where there is no picture."""
    at = (torch.arange(size) * 2 + 1) / size - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    grid = torch.stack([SCALE * x, SCALE * y + SHIFT], dim=-1)
    # The border's motion is continued, so that fading does not look like a contraction.
    laid = F.grid_sample(
        flow, grid.expand(len(flow), -1, -1, -1), "bicubic", padding_mode="border", align_corners=False
    )
    outside = (grid.abs().amax(dim=-1) - 1).clamp_min(0)
    return laid * (1 - outside / FADE).clamp(0, 1)

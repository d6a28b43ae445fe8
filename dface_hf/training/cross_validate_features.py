"""What scikit-learn estimators read of the clips of a cross-validation: flow pictures, MDMO, LBP-TOP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from dface_hf.data.prepared_clips import read_frame
from dface_hf.faces.features import lbp_top, mdmo, resample_frames
from dface_hf.faces.flow import grey_image
from dface_hf.models import FlowImageProcessor

from .cross_validate_clips import ClipTable, check_frames

Both = tuple[np.ndarray, np.ndarray]
"""Features (n, d) of the clips as annotated, and as they are trained on."""


def flow_pictures(table: ClipTable, size: int, channels: int = 3) -> list[Tensor]:
    """Flow as the networks read it, (n, channels, size, size): annotated pairs, and those to train on."""
    processor = FlowImageProcessor(size={"height": size, "width": size}, num_channels=channels)
    flows = table.flows if table.reselected else table.flows[:1]
    return [processor(list(flow), return_tensors="pt").pixel_values for flow in flows]


def flow_features(table: ClipTable) -> Both:
    """The 28 px flow pictures as rows of numbers in [0, 1]."""
    found = [pictures.flatten(1).numpy() for pictures in flow_pictures(table, 28)]
    return found[0], found[-1]


def mdmo_features(table: ClipTable) -> Both:
    """MDMO of the pairs' flow: (n, 72)."""
    flows = table.flows if table.reselected else table.flows[:1]
    found = [np.stack([mdmo(flow) for flow in one]) for one in flows]
    return found[0], found[-1]


def lbp_top_features(table: ClipTable) -> Both:
    """LBP-TOP from onset to offset, each clip brought to ten frames: (n, 1200)."""
    spans = [table.annotated, table.keyframes][: 1 + table.reselected]
    clips = zip(table.rows(), *spans, strict=True)
    bar = tqdm(clips, desc="LBP-TOP", unit="clip", total=len(table), leave=False)
    found = [np.stack([_clip_lbp_top(row, *one[[0, 2]].tolist()) for one in each]) for row, *each in bar]
    features = np.stack(found, axis=1)
    return features[0], features[-1]


def check_videos(table: ClipTable) -> None:
    """Make sure that the clips hold their frames between the keyframes.

    Raises:
        ValueError: One holds keyframes only.
    """
    for row in table.rows():
        check_frames(row, "LBP-TOP reads all frames from onset to offset", "leave out svm-lbp-top")


def _clip_lbp_top(row: dict[str, Any], onset: int, offset: int) -> np.ndarray:
    video = np.stack([grey_image(read_frame(row, index)) for index in range(onset, offset + 1)])
    return lbp_top(resample_frames(video))


@dataclass(frozen=True)
class Features:
    """What an estimator reads.

    Attributes:
        read: Table -> features.
        facts: What is told of them.
        check: Raises ValueError for a table that does not hold what is needed.
    """

    read: Callable[[ClipTable], Both]
    facts: str
    check: Callable[[ClipTable], None] = lambda table: None


FEATURES = {
    "svm": Features(
        flow_features,
        "u, v and strain of Farneback flow of the stabilised pair, 28 px, each stretched to [0, 1]",
    ),
    "svm-mdmo": Features(mdmo_features, "MDMO of Farneback flow of the stabilised pair, 6 x 6 regions"),
    "svm-lbp-top": Features(
        lbp_top_features,
        "LBP-TOP of the aligned crops from onset to offset, 10 frames by linear interpolation, "
        "radii 1, 1, 4, 5 x 5 blocks",
        check_videos,
    ),
}
"""By the name of the estimator."""

"""Synthetic clips, written with PyAV, whose frames can be told apart by their brightness."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

FACES = Path(__file__).resolve().parents[2] / "../shared/data/faces"


def level(index: int) -> int:
    """Brightness of frame ``index`` of `encode`."""
    return 30 + 5 * (index % 40)


def encode(
    path: Path,
    count: int = 12,
    codec: str = "libx264",
    size=(64, 48),
    times=None,
    fmt="yuv420p",
    fps=25,
    gop=6,
    **muxing: str,
) -> Path:
    """Frame i has grey level `level(i)` and a white left top quarter; ``times`` in milliseconds."""
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, fmt
        stream.codec_context.gop_size = gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(count):
            picture = np.full((size[1], size[0], 3), level(index), np.uint8)
            picture[: size[1] // 2, : size[0] // 2] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=fmt)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real faces beside the repository."""
    if not (FACES / "index.csv").exists():
        pytest.skip("the folder of real faces is absent")
    return FACES


@pytest.fixture(scope="session")
def validation_videos(real_faces: Path) -> list[Path]:
    """Every validation video of that folder."""
    with open(real_faces / "index.csv", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["kind"] == "video" and r["split"] == "validation"]
    return [real_faces / row["file"] for row in rows]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The public-domain portrait of scikit-image, (512, 512, 3) uint8."""
    data = pytest.importorskip("skimage.data")
    return data.astronaut()

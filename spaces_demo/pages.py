"""The parts of the page that are HTML: filled templates, everything in them escaped, nothing fetched."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(template: str, **values: Any) -> str:
    """A template of this folder, filled.

    Args:
        template: Name of the file without `.html.j2`.
        values: What it names.
    """
    return _environment().get_template(f"{template}.html.j2").render(**values)


def data_uri(image: NDArray[np.uint8], kind: str = ".png") -> str:
    """A picture as part of the page.

    Args:
        image: (H, W, 3) uint8 RGB.
        kind: ".png" where differences of one grey level matter, ".webp" or ".jpg" for large pictures.
    """
    options = [cv2.IMWRITE_WEBP_QUALITY, 90] if kind == ".webp" else []
    _, data = cv2.imencode(kind, np.ascontiguousarray(image[..., ::-1]), options)
    return f"data:image/{kind[1:]};base64," + base64.b64encode(data.tobytes()).decode("ascii")

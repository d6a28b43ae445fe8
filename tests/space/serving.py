"""The Space, served in this process on a free port of the loopback."""

import contextlib
from collections.abc import Iterator

import numpy as np

from dface_hf.faces import write_video
from dface_hf.faces.animation import write_picture


@contextlib.contextmanager
def running(app) -> Iterator[str]:
    """Address of the Space while it runs.

    Args:
        app: The module `app` of the Space.
    """
    demo = app.build_demo()
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        yield url
    finally:
        demo.close()


def write_clip(path, frames: np.ndarray, fps: float = 30) -> str:
    """Frames (T, H, W, 3) as a video file."""
    write_video(path, frames, fps)
    return str(path)


def write_face(path, frame: np.ndarray) -> str:
    """A frame (H, W, 3) as a picture."""
    write_picture(path, frame)
    return str(path)

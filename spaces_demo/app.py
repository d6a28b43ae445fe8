"""The demonstration of D-FACE as a Gradio Space: recognise, explore tokens, transfer, action units.

Run it with `python -m dface_hf.spaces_demo.app`, or, as a Space does, with `python app.py` in this folder.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

try:
    import spaces  # noqa: F401 - ZeroGPU must be imported before torch
except ImportError:
    pass

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
HERE = Path(__file__).parent
if not __package__:  # run as a file: its folder stands for the package that it is in a wheel
    __package__ = "dface_space"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [str(HERE)]

import gradio as gr  # noqa: E402

from . import engine, explore, limits, recognise, transfer, units  # noqa: E402
from .look import INTRODUCTION, NAME_PICTURES, NOTICE, PRIVATE, THEME  # noqa: E402


def build_demo() -> gr.Blocks:
    """The page with its four tabs; `launch` serves it."""
    demo = gr.Blocks(
        title="D-FACE: facial actions as tokens",
        analytics_enabled=False,
        delete_cache=(limits.DELETE_EVERY, limits.DELETE_AFTER),
    )
    with demo:
        gr.HTML(INTRODUCTION, padding=False)
        gr.HTML(NOTICE, padding=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Recognise", id="recognise"):
                found = recognise.build()
            with gr.Tab("Explore", id="explore") as tab:
                edited = explore.build(tab)
            with gr.Tab("Transfer", id="transfer"):
                transfer.build()
            with gr.Tab("Action units", id="units"):
                units.build()
        found.explore.click(
            lambda tokens: (tokens, gr.Tabs(selected="explore")),
            found.tokens,
            [edited.tokens, tabs],
            **PRIVATE,
        )
    return demo.queue(max_size=limits.QUEUE, default_concurrency_limit=limits.CONCURRENCY)


def launch(demo: gr.Blocks, **options: Any) -> tuple[Any, str, str | None]:
    """Serve a demo within the limits of this Space.

    Args:
        demo: From `build_demo`.
        options: Further ones of `gr.Blocks.launch`, such as `server_port` and `prevent_thread_lock`.

    Returns:
        What `gr.Blocks.launch` does: app, local address, public address.
    """
    engine.recogniser()  # loaded before the first visitor comes, and on the GPU where ZeroGPU asks for it
    engine.transferrer()
    engine.unit_detector()
    ours: dict[str, Any] = {
        "theme": THEME,
        "css_paths": [HERE / "style.css"],
        "js": NAME_PICTURES,
        "max_file_size": limits.MAX_FILE,
        "allowed_paths": [],
        "state_session_capacity": limits.SESSIONS,
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "share": False,
    }
    return demo.launch(**ours | options)


if __name__ == "__main__":
    engine.share_cores()
    launch(build_demo())

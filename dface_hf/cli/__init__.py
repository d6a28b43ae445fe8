"""The command line, `dface …`: one thin function a command, composed of the rooms below.

Exit codes: 0 done; 2 bad usage or nothing usable; 3 a clip or a picture failed, the rest was written.
"""

from . import (  # noqa: F401 - their commands register with the app
    analyzing,
    checkpoints,
    cross_validating,
    evaluating,
    explaining,
    exporting,
    learning,
    mapping,
    preparing,
    publishing,
    spotting,
    statistics,
    transferring,
)
from .app import app, main

__all__ = ["app", "main"]

"""D-FACE for micro-expressions: a clip in, facial-action tokens and an emotion out.

A bare `import dface_hf` registers configs, models, processors and pipeline tasks with transformers.
"""

from pathlib import Path

from . import models
from .models import *  # noqa: F403
from .pipelines import (
    ActionUnitDetectionPipeline,
    FacialActionTransferPipeline,
    MicroExpressionRecognitionPipeline,
)

__version__ = "0.1.0"

#: Folder of the embedded default checkpoint: tokenizer, classifier and EDCLIP head in one.
DEFAULT_CHECKPOINT = str(Path(__file__).parent / "checkpoints" / "dface-mini")

#: Folder of the embedded detector of action units.
AC4AU_CHECKPOINT = str(Path(__file__).parent / "checkpoints" / "ac4au-mini")

__all__ = [
    "AC4AU_CHECKPOINT",
    "DEFAULT_CHECKPOINT",
    "ActionUnitDetectionPipeline",
    "FacialActionTransferPipeline",
    "MicroExpressionRecognitionPipeline",
    "__version__",
    *models.__all__,
]

"""D-FACE for micro-expressions: a clip in, facial-action tokens and an emotion out.

A bare `import dface_hf` registers configs, models, processors and the pipeline task with transformers.
"""

from pathlib import Path

from . import models
from .models import *  # noqa: F403
from .pipelines import MicroExpressionRecognitionPipeline

__version__ = "0.1.0"

#: Folder of the embedded default checkpoint: tokenizer, classifier and EDCLIP head in one.
DEFAULT_CHECKPOINT = str(Path(__file__).parent / "checkpoints" / "dface-mini")

__all__ = ["DEFAULT_CHECKPOINT", "MicroExpressionRecognitionPipeline", "__version__", *models.__all__]

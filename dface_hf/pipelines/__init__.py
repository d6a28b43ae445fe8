"""Pipelines of transformers; importing this package registers their tasks."""

from transformers import AutoModelForVideoClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .recognition import MicroExpressionRecognitionPipeline

RECOGNITION_TASK = "micro-expression-recognition"

PIPELINE_REGISTRY.register_pipeline(
    RECOGNITION_TASK,
    pipeline_class=MicroExpressionRecognitionPipeline,
    pt_model=AutoModelForVideoClassification,
    type="video",
)

__all__ = ["RECOGNITION_TASK", "MicroExpressionRecognitionPipeline"]

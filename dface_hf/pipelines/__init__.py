"""Pipelines of transformers; importing this package registers their tasks."""

from transformers import AutoModelForVideoClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .action_units import ActionUnitDetectionPipeline
from .recognition import MicroExpressionRecognitionPipeline
from .transfer import FacialActionTransferPipeline

RECOGNITION_TASK = "micro-expression-recognition"
TRANSFER_TASK = "facial-action-transfer"
UNITS_TASK = "action-unit-detection"

for _task, _class in (
    (RECOGNITION_TASK, MicroExpressionRecognitionPipeline),
    (TRANSFER_TASK, FacialActionTransferPipeline),
    (UNITS_TASK, ActionUnitDetectionPipeline),
):
    PIPELINE_REGISTRY.register_pipeline(
        _task, pipeline_class=_class, pt_model=AutoModelForVideoClassification, type="video"
    )
    # Otherwise a pipeline that is saved takes its code along and wants trust_remote_code when it is loaded,
    # though whoever has the task has the code.
    del _class._registered_impl

__all__ = [
    "RECOGNITION_TASK",
    "TRANSFER_TASK",
    "UNITS_TASK",
    "ActionUnitDetectionPipeline",
    "FacialActionTransferPipeline",
    "MicroExpressionRecognitionPipeline",
]

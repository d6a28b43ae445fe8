"""Baselines on optical flow: OFF-ApexNet, STSTNet, RCN-A, SSSNet and HTNet on one flow processor.

Importing this folder registers them with the Auto classes.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from .configuration_flow_baselines import (
    FlowBaselineConfig,
    HTNetConfig,
    OffApexNetConfig,
    RCNAConfig,
    SSSNetConfig,
    STSTNetConfig,
)
from .image_processing_flow import FlowImageProcessor
from .modeling_flow_baselines import (
    OffApexNetForImageClassification,
    RCNAForImageClassification,
    SSSNetForImageClassification,
    STSTNetForImageClassification,
)
from .modeling_htnet import HTNetForImageClassification

for _config, _model in (
    (OffApexNetConfig, OffApexNetForImageClassification),
    (STSTNetConfig, STSTNetForImageClassification),
    (RCNAConfig, RCNAForImageClassification),
    (SSSNetConfig, SSSNetForImageClassification),
    (HTNetConfig, HTNetForImageClassification),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForImageClassification.register(_config, _model, exist_ok=True)
    AutoImageProcessor.register(_config, image_processor_classes={"pil": FlowImageProcessor}, exist_ok=True)

__all__ = [
    "FlowBaselineConfig",
    "FlowImageProcessor",
    "HTNetConfig",
    "HTNetForImageClassification",
    "OffApexNetConfig",
    "OffApexNetForImageClassification",
    "RCNAConfig",
    "RCNAForImageClassification",
    "SSSNetConfig",
    "SSSNetForImageClassification",
    "STSTNetConfig",
    "STSTNetForImageClassification",
]

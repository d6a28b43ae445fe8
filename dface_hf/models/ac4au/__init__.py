"""AC4AU: action units of a clip without a known apex, from what changes between its frames.

Importing this folder registers the models with the Auto classes.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForVideoClassification

from .configuration_ac4au import AC4AUConfig
from .frequency_ac4au import split_frequencies
from .image_processing_ac4au import AC4AUImageProcessor
from .modeling_ac4au import AC4AUForActionUnitDetection, AC4AUModel, AC4AUModelOutput, AC4AUOutput

AutoConfig.register(AC4AUConfig.model_type, AC4AUConfig, exist_ok=True)
AutoModel.register(AC4AUConfig, AC4AUModel, exist_ok=True)
AutoModelForVideoClassification.register(AC4AUConfig, AC4AUForActionUnitDetection, exist_ok=True)
AutoImageProcessor.register(AC4AUConfig, image_processor_classes={"pil": AC4AUImageProcessor}, exist_ok=True)

__all__ = [
    "AC4AUConfig",
    "AC4AUForActionUnitDetection",
    "AC4AUImageProcessor",
    "AC4AUModel",
    "AC4AUModelOutput",
    "AC4AUOutput",
    "split_frequencies",
]

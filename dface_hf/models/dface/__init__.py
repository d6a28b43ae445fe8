"""D-FACE: discrete facial-action tokens (ICLR 2026), tokenizer, classifier and EDCLIP head.

Importing this folder registers the three models with the Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForVideoClassification,
)

from .configuration_dface import DFaceConfig
from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .image_processing_dface import DFaceImageProcessor
from .modeling_dface import DFaceEDCLIPModel, DFaceForVideoClassification, DFaceModel
from .modeling_dface_tokenizer import DFaceTokenizerModel
from .outputs_dface import DFaceDecoderOutput, DFaceModelOutput, DFaceTokenizerOutput

AutoConfig.register(DFaceTokenizerConfig.model_type, DFaceTokenizerConfig, exist_ok=True)
AutoConfig.register(DFaceConfig.model_type, DFaceConfig, exist_ok=True)
AutoModel.register(DFaceTokenizerConfig, DFaceTokenizerModel, exist_ok=True)
AutoModel.register(DFaceConfig, DFaceModel, exist_ok=True)
AutoModelForVideoClassification.register(DFaceConfig, DFaceForVideoClassification, exist_ok=True)
for _config in (DFaceTokenizerConfig, DFaceConfig):
    AutoImageProcessor.register(_config, image_processor_classes={"pil": DFaceImageProcessor}, exist_ok=True)

__all__ = [
    "DFaceConfig",
    "DFaceDecoderOutput",
    "DFaceEDCLIPModel",
    "DFaceForVideoClassification",
    "DFaceImageProcessor",
    "DFaceModel",
    "DFaceModelOutput",
    "DFaceTokenizerConfig",
    "DFaceTokenizerModel",
    "DFaceTokenizerOutput",
]

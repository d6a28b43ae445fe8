"""Write a checkpoint folder: model, image processor and card, whole or not at all."""

from pathlib import Path

from transformers import PreTrainedModel

from dface_hf.models import DFaceImageProcessor
from dface_hf.training.checkpointing import write_folder


def write_checkpoint(model: PreTrainedModel, folder: str | Path, card: str) -> None:
    """Write `config.json`, `model.safetensors`, `preprocessor_config.json` and `README.md`.

    Args:
        model: A tokenizer, or a classifier with its tokenizer.
        folder: Target; an older checkpoint there is replaced once the new one is complete.
        card: Text of README.md.
    """
    config = model.config
    size = getattr(config, "tokenizer_config", config).image_size

    def fill(partial: str) -> None:
        model.save_pretrained(partial)
        DFaceImageProcessor(size={"height": size, "width": size}).save_pretrained(partial)
        (Path(partial) / "README.md").write_text(card, encoding="utf-8")

    write_folder(folder, fill)

"""Write a checkpoint folder: model, image processor, report and card, whole or not at all."""

from pathlib import Path
from typing import Any

from transformers import BaseImageProcessor, PreTrainedModel

from dface_hf.models import DFaceImageProcessor
from dface_hf.training.checkpointing import write_folder, write_json

from .cards import REPORT, checkpoint_card


def write_checkpoint(
    model: PreTrainedModel,
    folder: str | Path,
    card: str | None = None,
    report: dict[str, Any] | None = None,
    processor: BaseImageProcessor | None = None,
) -> None:
    """Write `config.json`, `model.safetensors`, `preprocessor_config.json`, `report.json` and `README.md`.

    Args:
        model: A tokenizer, a classifier with its tokenizer, or any other model with its processor.
        folder: Target; an older checkpoint there is replaced once the new one is complete.
        card: Text of README.md; by default the card that the other files make.
        report: What its run tells of it, the source of the card's numbers; None for none.
        processor: Makes the model's input; that of D-FACE by default.
    """
    if processor is None:
        size = getattr(model.config, "tokenizer_config", model.config).image_size
        processor = DFaceImageProcessor(size={"height": size, "width": size})

    def fill(partial: str) -> None:
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        if report is not None:
            write_json(Path(partial) / REPORT, report)
        text = checkpoint_card(partial) if card is None else card
        (Path(partial) / "README.md").write_text(text, encoding="utf-8")

    write_folder(folder, fill)

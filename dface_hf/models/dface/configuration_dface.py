"""Configuration of the D-FACE classifier and its EDCLIP head."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_dface_tokenizer import DFaceTokenizerConfig

#: Values of the fields that choose a part of the head.
CHOICES = {
    "head": ("transformer", "conv"),
    "positions": ("1d", "2d"),
    "pooling": ("attention", "mean", "class_token"),
}


@strict
class DFaceConfig(PreTrainedConfig):
    r"""
    Configuration of [`DFaceModel`], [`DFaceForVideoClassification`] and [`DFaceEDCLIPModel`], which share one
    checkpoint.

    Args:
        tokenizer_config (`dict` or [`DFaceTokenizerConfig`], *optional*): The tokenizer that makes the action
            tokens.
        hidden_size (`int`): Width of the 1-D transformer.
        num_hidden_layers (`int`), num_attention_heads (`int`), intermediate_size (`int`): Its size.
        hidden_dropout_prob (`float`): Dropout of its layers.
        head (`str`): What mixes the tokens: `"transformer"` (paper) or `"conv"`, 3x3 convolutions over their
            grid.
        positions (`str`): `"1d"`, a learned vector a token (paper), or `"2d"`, a row's plus a column's.
        pooling (`str`): `"attention"` (paper), `"mean"` or `"class_token"`; the other two are the paper's
            ablations and give equal `pooling_attention`.
        pooling_temperature (`float`): Temperature of the attention pooling.
        projection_dim (`int`): Dimension of the text encoder's space.
        anchor_texts (`dict`, *optional*): Class label -> the description whose embedding is its text anchor,
            in the order of the rows of `text_anchors`. The class named `others_label` has none.
        text_encoder (`str`, *optional*): The text encoder that made the anchors.
        others_label (`str`, *optional*): The class without a description, pushed away from all anchors.
        edclip_temperature (`float`), others_margin (`float`), others_weight (`float`): EDCLIP: CE over cosine
            / temperature, and `others_weight * relu(max cosine - others_margin)` for `others_label`.
        entropy_weight (`float`), edclip_weight (`float`), reconstruction_weight (`float`): Loss weights; the
            last acts only with `train_tokenizer`.
        class_weights (`tuple[float, ...]`, *optional*): Weights of the classes in the cross-entropy.
        train_tokenizer (`bool`): Keep training the tokenizer on its reconstruction loss; off, its tokens can
            be cached.
    """

    model_type = "dface"
    sub_configs_defaults = {"tokenizer_config": DFaceTokenizerConfig}

    tokenizer_config: dict | DFaceTokenizerConfig | None = None
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 8
    intermediate_size: int = 512
    hidden_dropout_prob: float | int = 0.2
    layer_norm_eps: float = 1e-5
    head: str = "transformer"
    positions: str = "1d"
    pooling: str = "attention"
    pooling_temperature: float | int = 1.0
    projection_dim: int = 384
    anchor_texts: dict | None = None
    text_encoder: str | None = None
    others_label: str | None = None
    edclip_temperature: float = 0.07
    others_margin: float = 0.2
    others_weight: float = 0.2
    entropy_weight: float = 1e-3
    edclip_weight: float = 0.3
    reconstruction_weight: float = 0.1
    class_weights: list[float] | tuple[float, ...] | None = None
    train_tokenizer: bool = False
    initializer_range: float = 0.02

    @property
    def anchor_labels(self) -> tuple[str, ...]:
        """The class labels that have a text anchor, in the order of `text_anchors`."""
        return tuple(self.anchor_texts or ())

    @property
    def num_anchors(self) -> int:
        """Rows of `text_anchors`: the described classes, or all but `others_label` before descriptions are
        set."""
        named = [label for label in self.id2label.values() if label != self.others_label]
        return len(self.anchor_texts) if self.anchor_texts else len(named)

    def validate_architecture(self):
        """Refuse sizes and class names that do not fit together."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; choose {' or '.join(choices)}")
        if self.head == "conv" and self.pooling == "class_token":
            raise ValueError("a class token has no place on the grid that head 'conv' reads; choose mean")
        if self.pooling_temperature <= 0 or self.edclip_temperature <= 0:
            raise ValueError("pooling_temperature and edclip_temperature must be above 0")
        labels = list((self.id2label or {}).values())
        if self.others_label is not None and self.others_label not in labels:
            raise ValueError(f"others_label {self.others_label!r} is not one of the classes {labels}")
        strangers = [name for name in self.anchor_labels if name not in labels]
        if strangers:
            raise ValueError(f"anchor_texts describe {strangers}, which are not among the classes {labels}")
        if self.class_weights is not None and len(self.class_weights) != len(labels):
            raise ValueError(f"{len(self.class_weights)} class_weights for {len(labels)} classes")


__all__ = ["DFaceConfig"]

"""D-FACE classifier and EDCLIP: from 16 facial-action tokens to an emotion and to descriptions of emotions.

From "From Pixels to Semantics" (ICLR 2026): a 1-D transformer over the tokens, attention pooling with one
learned query and an entropy penalty, class logits, and a projection into a text encoder's space (EDCLIP).
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_dface import DFaceConfig
from .modeling_dface_tokenizer import DFaceTokenizerModel, check_ids
from .outputs_dface import DFaceClassifierOutput, DFaceEDCLIPOutput, DFaceModelOutput
from .pooling_dface import (
    POOLINGS,
    DFaceAttentionPooling,
    DFaceClassTokenPooling,
    DFaceConvLayer,
    DFaceGridPositions,
)


def edclip_loss(
    similarities: torch.Tensor,
    labels: torch.Tensor,
    label_to_anchor: torch.Tensor,
    temperature: float = 0.07,
    others_margin: float = 0.2,
    others_weight: float = 0.2,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Emotion-description contrastive loss (paper, EDCLIP).

    Args:
        similarities: (batch, anchors) cosines in [-1, 1].
        labels: (batch,) class ids.
        label_to_anchor: (num_labels,) row of each class's anchor, -1 for a class without a description.
        temperature: Divides the cosines of described classes before the cross-entropy.
        others_margin: Cosine up to which an undescribed sample may resemble its nearest description.
        others_weight: Weight of the undescribed part.

    Returns:
        The total, the part of described samples and the part of the others; a part without samples is 0.
    """
    target = label_to_anchor[labels]
    named = (target >= 0).to(similarities.dtype)
    cross_entropy = F.cross_entropy(similarities / temperature, target.clamp_min(0), reduction="none")
    named_loss = (cross_entropy * named).sum() / named.sum().clamp_min(1)
    excess = (similarities.amax(dim=-1) - others_margin).relu()
    others_loss = (excess * (1 - named)).sum() / (1 - named).sum().clamp_min(1)
    return named_loss + others_weight * others_loss, named_loss, others_loss


def pooling_entropy(attention: torch.Tensor) -> torch.Tensor:
    """Return the mean entropy of pooling weights (batch, tokens), in nats: low when few tokens are read."""
    attention = attention.float()  # 1e-8 is 0 in float16
    return -(attention * attention.clamp_min(1e-8).log()).sum(dim=-1).mean()


class DFacePreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading shared by the D-FACE heads."""

    config: DFaceConfig
    base_model_prefix = "dface"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["DFaceTokenizerLayer"]
    _supports_sdpa = True
    _supports_attention_backend = True
    # The two heads share one checkpoint; each leaves the other's part alone.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]

    @classmethod
    def from_pretrained(cls, *args, use_safetensors: bool | None = True, **kwargs):
        """As of `PreTrainedModel`, but a pickle (pytorch_model.bin) is refused unless it is asked for."""
        return super().from_pretrained(*args, use_safetensors=use_safetensors, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, DFaceModel):
            if module.position_embeddings is not None:
                init.normal_(module.position_embeddings, std=1.0)
            init.zeros_(module.text_anchors)
        elif isinstance(module, DFaceGridPositions):
            # Their sum is as large as a position of the one-dimensional kind.
            init.normal_(module.rows, std=0.5**0.5)
            init.normal_(module.columns, std=0.5**0.5)
        elif isinstance(module, DFaceAttentionPooling):
            init.normal_(module.query, std=self.config.initializer_range)
        elif isinstance(module, DFaceClassTokenPooling):
            init.normal_(module.class_token, std=1.0)
            init.ones_(module.norm.weight)
            init.zeros_(module.norm.bias)
        elif isinstance(module, nn.TransformerEncoderLayer):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    init.xavier_uniform_(parameter)
            init.zeros_(module.self_attn.in_proj_bias)
        else:
            super()._init_weights(module)
            if isinstance(module, nn.Linear):
                init.kaiming_uniform_(module.weight, a=5**0.5)


def _transformer_layer(config: DFaceConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        dropout=config.hidden_dropout_prob,
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
        norm_first=True,
    )


class DFaceModel(DFacePreTrainedModel):
    """Tokenizer, 1-D transformer, attention pooling and text projection, without a class head."""

    def __init__(self, config: DFaceConfig):
        super().__init__(config)
        self.tokenizer = DFaceTokenizerModel(config.tokenizer_config)
        self.token_embeddings = nn.Linear(config.tokenizer_config.hidden_size, config.hidden_size)
        tokens = config.tokenizer_config.num_action_tokens
        in_line = config.positions == "1d"
        self.position_embeddings = (
            nn.Parameter(torch.empty(1, tokens, config.hidden_size)) if in_line else None
        )
        self.grid_positions = None if in_line else DFaceGridPositions(config)
        make_layer = _transformer_layer if config.head == "transformer" else DFaceConvLayer
        self.layers = nn.ModuleList(make_layer(config) for _ in range(config.num_hidden_layers))
        self.pooling = POOLINGS[config.pooling](config)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim)
        self.register_buffer("text_anchors", torch.zeros(config.num_anchors, config.projection_dim))
        self.post_init()

    def train(self, mode: bool = True) -> "DFaceModel":
        """Switch the mode; a frozen tokenizer stays in evaluation mode, so that its tokens do not change."""
        super().train(mode)
        if not self.config.train_tokenizer:
            self.tokenizer.eval()
        return self

    def forward(
        self, pixel_values: torch.Tensor | None = None, action_ids: torch.Tensor | None = None, **kwargs
    ) -> DFaceModelOutput:
        """Read a pair of frames, or its tokens.

        Args:
            pixel_values: (batch, 2, 3, height, width), onset and apex, RGB in [0, 1].
            action_ids: (batch, 16) int64; given instead of frames, the tokenizer is not run.

        Returns:
            [`DFaceModelOutput`].

        Raises:
            ValueError: Unless exactly one of the two inputs is given, and fits the tokenizer.
        """
        if (pixel_values is None) == (action_ids is None):
            raise ValueError("give either pixel_values or action_ids")
        tokenizer_loss = None
        if action_ids is None:
            action_ids, tokenizer_loss = self._tokenize(pixel_values)
        else:
            config = self.config.tokenizer_config
            check_ids("action_ids", action_ids, config.num_action_tokens, config.codebook_size)
        states = self.token_embeddings(self.tokenizer.action_features(action_ids).detach())
        positions = self.position_embeddings if self.grid_positions is None else self.grid_positions()
        states = self.pooling.begin(states + positions)
        for layer in self.layers:
            states = layer(states)
        pooled, attention = self.pooling(states)
        return DFaceModelOutput(
            pooler_output=pooled,
            pooling_attention=attention,
            action_embeds=F.normalize(self.text_projection(pooled), dim=-1),
            action_ids=action_ids,
            last_hidden_state=states,
            tokenizer_loss=tokenizer_loss,
        )

    def similarities(
        self, action_embeds: torch.Tensor, text_embeds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Cosine (batch, texts) of action embeddings to `text_embeds` (texts, projection_dim), or to the
        anchors."""
        text_embeds = self.text_anchors if text_embeds is None else text_embeds
        return action_embeds @ F.normalize(text_embeds.to(action_embeds.dtype), dim=-1).T

    def set_text_anchors(self, anchors: torch.Tensor, texts: dict[str, str], text_encoder: str) -> None:
        """Store the class descriptions' embeddings, so that inference needs no text encoder.

        Args:
            anchors: (classes, projection_dim), in the order of `texts`; they are normalised here.
            texts: Class label -> description.
            text_encoder: Name of the encoder that embedded them.

        Raises:
            ValueError: If the number of rows or their width does not fit.
        """
        if tuple(anchors.shape) != (len(texts), self.config.projection_dim):
            raise ValueError(
                f"text anchors of shape {tuple(anchors.shape)} do not fit: expected "
                f"({len(texts)}, {self.config.projection_dim})"
            )
        self.config.anchor_texts, self.config.text_encoder = dict(texts), text_encoder
        self.text_anchors = F.normalize(anchors.to(self.text_anchors), dim=-1)

    def edclip_loss(self, output: DFaceModelOutput, labels: torch.Tensor) -> torch.Tensor:
        """Return the EDCLIP loss of a batch with class ids (batch,); 0 while no anchors are stored."""
        config = self.config
        if not config.anchor_texts:
            return output.action_embeds.sum() * 0
        rows = [
            config.anchor_labels.index(label) if label in config.anchor_labels else -1
            for _, label in sorted(config.id2label.items())
        ]
        similarities = self.similarities(output.action_embeds)
        mapping = torch.tensor(rows, device=labels.device)
        weights = (config.edclip_temperature, config.others_margin, config.others_weight)
        return edclip_loss(similarities, labels, mapping, *weights)[0]

    def _tokenize(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        self.tokenizer.check_frames(pixel_values)
        if self.config.train_tokenizer and self.training:
            output = self.tokenizer(pixel_values)
            return output.action_ids, output.loss
        with torch.no_grad():
            return self.tokenizer.encode(*pixel_values.unbind(dim=1)), None


class DFaceForVideoClassification(DFacePreTrainedModel):
    """D-FACE with a class head; also returns pooling attention and the similarity to each class description.

    Example:

    ```python
    >>> import torch, dface_hf
    >>> from transformers import AutoModelForVideoClassification
    >>> model = AutoModelForVideoClassification.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).eval()
    >>> size = model.config.tokenizer_config.image_size
    >>> output = model(torch.rand(1, 2, 3, size, size))  # onset and apex
    >>> tuple(output.logits.shape), tuple(output.pooling_attention.shape)
    ((1, 4), (1, 16))

    ```
    """

    def __init__(self, config: DFaceConfig):
        super().__init__(config)
        self.dface = DFaceModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        action_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> DFaceClassifierOutput:
        """Classify pairs of frames, or cached tokens.

        Args:
            pixel_values: (batch, 2, 3, height, width), RGB in [0, 1]; or give `action_ids` (batch, 16).
            labels: (batch,) class ids; with them the output has a loss: weighted cross-entropy +
                entropy_weight x pooling entropy + edclip_weight x EDCLIP (+ reconstruction_weight x
                reconstruction).

        Returns:
            [`DFaceClassifierOutput`].
        """
        output = self.dface(pixel_values=pixel_values, action_ids=action_ids)
        logits = self.classifier(output.pooler_output)
        return DFaceClassifierOutput(
            loss=None if labels is None else self._loss(logits, output, labels),
            logits=logits,
            similarities=self.dface.similarities(output.action_embeds) if self.config.anchor_texts else None,
            pooling_attention=output.pooling_attention,
            action_embeds=output.action_embeds,
            action_ids=output.action_ids,
        )

    def _loss(self, logits: torch.Tensor, output: DFaceModelOutput, labels: torch.Tensor) -> torch.Tensor:
        config = self.config
        weight = None if config.class_weights is None else logits.new_tensor(config.class_weights)
        if weight is not None and len(weight) != logits.shape[-1]:
            raise ValueError(
                f"the checkpoint's {len(weight)} class_weights do not fit {logits.shape[-1]} classes; "
                "load it with class_weights=None, or give one a class"
            )
        loss = F.cross_entropy(logits, labels, weight=weight)
        loss = loss + config.entropy_weight * pooling_entropy(output.pooling_attention)
        loss = loss + config.edclip_weight * self.dface.edclip_loss(output, labels)
        if output.tokenizer_loss is not None:
            loss = loss + config.reconstruction_weight * output.tokenizer_loss
        return loss


class DFaceEDCLIPModel(DFacePreTrainedModel):
    """D-FACE against descriptions: the similarity of a facial action to any sentence, in the text encoder's
    space."""

    def __init__(self, config: DFaceConfig):
        super().__init__(config)
        self.dface = DFaceModel(config)
        self.post_init()

    def get_action_features(
        self, pixel_values: torch.Tensor | None = None, action_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed pairs (batch, 2, 3, height, width), or tokens (batch, 16), as unit vectors (batch,
        projection_dim)."""
        return self.dface(pixel_values=pixel_values, action_ids=action_ids).action_embeds

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        action_ids: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> DFaceEDCLIPOutput:
        """Compare facial actions with texts.

        Args:
            pixel_values: (batch, 2, 3, height, width), RGB in [0, 1]; or give `action_ids` (batch, 16).
            text_embeds: (texts, projection_dim) from the checkpoint's text encoder; the class anchors by
                default.
            labels: (batch,) class ids for the EDCLIP loss against the class anchors.

        Returns:
            [`DFaceEDCLIPOutput`].
        """
        output = self.dface(pixel_values=pixel_values, action_ids=action_ids)
        similarities = self.dface.similarities(output.action_embeds, text_embeds)
        return DFaceEDCLIPOutput(
            loss=None if labels is None else self.dface.edclip_loss(output, labels),
            logits_per_action=similarities / self.config.edclip_temperature,
            similarities=similarities,
            action_embeds=output.action_embeds,
            action_ids=output.action_ids,
            pooling_attention=output.pooling_attention,
        )


__all__ = [
    "DFaceClassifierOutput",
    "DFaceEDCLIPModel",
    "DFaceEDCLIPOutput",
    "DFaceForVideoClassification",
    "DFaceModel",
    "DFaceModelOutput",
    "DFacePreTrainedModel",
    "edclip_loss",
    "pooling_entropy",
]

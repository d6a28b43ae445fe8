"""AC4AU: the action units of a clip from what changes between its frames, without a known apex.

Each frame passes MobileFaceNet with spatial transformers; a Fourier transform over time takes the constant
part, the face, away (redundancy decomposer); a temporal transformer reads the rest; a gate for each unit
mixes experts that all units share. In training, an angular-margin loss makes the constant part tell subjects
apart, so that the identity goes there.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .backbone_ac4au import AC4AUBackbone, AC4AUSpatialTransformer, transformer_layer
from .configuration_ac4au import AC4AUConfig
from .frequency_ac4au import split_frequencies
from .losses_ac4au import binary_loss, focal_loss, subject_loss


@dataclass
class AC4AUModelOutput(ModelOutput):
    """Output of [`AC4AUModel`].

    Args:
        pooler_output (`torch.FloatTensor`, (batch, hidden_size)): Mean over time of the last states.
        last_hidden_state (`torch.FloatTensor`, (batch, num_frames, hidden_size)): States after the temporal
            transformer.
        frame_features (`torch.FloatTensor`, (batch, num_frames, hidden_size)): Of the backbone.
        changing (`torch.FloatTensor`, (batch, num_frames, hidden_size)): AC, the features minus their mean
            over time. None without the decomposer.
        constant (`torch.FloatTensor`, (batch, hidden_size)): DC, num_frames times that mean. None without the
            decomposer.
    """

    pooler_output: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    frame_features: torch.FloatTensor | None = None
    changing: torch.FloatTensor | None = None
    constant: torch.FloatTensor | None = None


@dataclass
class AC4AUOutput(ModelOutput):
    """Output of [`AC4AUForActionUnitDetection`].

    Args:
        loss (`torch.FloatTensor`, scalar): unit_loss + subject_weight x subject_loss, with labels.
        logits (`torch.FloatTensor`, (batch, num_labels)): Their sigmoid is the probability of each unit.
        unit_loss (`torch.FloatTensor`, scalar): With labels.
        subject_loss (`torch.FloatTensor`, scalar): With labels and subject_ids.
        gate_weights (`torch.FloatTensor`, (batch, num_labels, num_experts)): How much each unit listens to
            each expert; each row sums to 1. None without experts.
        pooler_output (`torch.FloatTensor`, (batch, hidden_size)): As of [`AC4AUModel`].
        changing (`torch.FloatTensor`, (batch, num_frames, hidden_size)): As of [`AC4AUModel`].
        constant (`torch.FloatTensor`, (batch, hidden_size)): As of [`AC4AUModel`].
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    unit_loss: torch.FloatTensor | None = None
    subject_loss: torch.FloatTensor | None = None
    gate_weights: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    changing: torch.FloatTensor | None = None
    constant: torch.FloatTensor | None = None


class AC4AUTemporalTransformer(nn.Module):
    """Learned positions of the frames, pre-norm layers, layer norm."""

    def __init__(self, config: AC4AUConfig):
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.empty(1, config.num_frames, config.hidden_size))
        self.layers = nn.ModuleList(
            transformer_layer(config, config.hidden_size) for _ in range(config.num_temporal_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map (batch, num_frames, hidden_size) to the same shape."""
        states = states + self.position_embeddings
        for layer in self.layers:
            states = layer(states)
        return self.norm(states)


class AC4AUExperts(nn.Module):
    """Experts shared by all units and one softmax gate for each unit: y_k = sum_m gate_km(f) expert_m(f)."""

    def __init__(self, config: AC4AUConfig):
        super().__init__()
        self.shape = (config.num_labels, config.num_experts)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(config.hidden_size, config.expert_size),
                nn.GELU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.expert_size, 1),
            )
            for _ in range(config.num_experts)
        )
        self.gates = nn.Linear(config.hidden_size, config.num_labels * config.num_experts)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, hidden_size) to logits (batch, units) and gate weights (batch, units, experts)."""
        said = torch.cat([expert(features) for expert in self.experts], dim=-1)
        gates = self.gates(features).unflatten(-1, self.shape).softmax(dim=-1)
        return (gates * said[:, None]).sum(dim=-1), gates


class AC4AUPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading of the AC4AU models."""

    config: AC4AUConfig
    base_model_prefix = "ac4au"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    _no_split_modules = ["AC4AUBottleneck", "TransformerEncoderLayer"]
    _supports_sdpa = True
    # Directions of the training subjects are of no use to who detects units.
    _keys_to_ignore_on_load_unexpected = [r"^subject_directions$"]

    @classmethod
    def from_pretrained(cls, *args, use_safetensors: bool | None = True, **kwargs):
        """As of `PreTrainedModel`, but a pickle (pytorch_model.bin) is refused unless it is asked for."""
        return super().from_pretrained(*args, use_safetensors=use_safetensors, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif isinstance(module, AC4AUSpatialTransformer):
            init.normal_(module.position_embeddings, std=self.config.initializer_range)
            init.constant_(module.mapping[-1][1].weight, self.config.residual_scale)
        elif isinstance(module, AC4AUTemporalTransformer):
            init.normal_(module.position_embeddings, std=self.config.initializer_range)
        elif isinstance(module, nn.MultiheadAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
        elif getattr(module, "subject_directions", None) is not None:
            init.normal_(module.subject_directions)


class AC4AUModel(AC4AUPreTrainedModel):
    """Backbone, decomposer and temporal transformer, without a head."""

    def __init__(self, config: AC4AUConfig):
        super().__init__(config)
        self.backbone = AC4AUBackbone(config)
        self.temporal = AC4AUTemporalTransformer(config)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs) -> AC4AUModelOutput:
        """Read clips.

        Args:
            pixel_values: (batch, num_frames, channels, image_size, image_size), RGB in [-1, 1], as
                [`AC4AUImageProcessor`] gives them: the first frame is the onset.

        Returns:
            [`AC4AUModelOutput`].

        Raises:
            ValueError: For clips of another shape.
        """
        pixel_values = self.checked(pixel_values)
        features = self.backbone(pixel_values.flatten(0, 1)).unflatten(0, pixel_values.shape[:2])
        changing = constant = None
        if self.config.use_decomposer:
            changing, constant = split_frequencies(features)
        states = self.temporal(features if changing is None else changing)
        return AC4AUModelOutput(
            pooler_output=states.mean(dim=1),
            last_hidden_state=states,
            frame_features=features,
            changing=changing,
            constant=constant,
        )

    def checked(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the clips in the type of the weights; refuse those that the model is not made for."""
        config = self.config
        shape = (config.num_frames, config.num_channels, config.image_size, config.image_size)
        if pixel_values.ndim != 5 or tuple(pixel_values.shape[1:]) != shape:
            raise ValueError(
                f"expected pixel_values of shape (batch, {', '.join(map(str, shape))}), got "
                f"{tuple(pixel_values.shape)}; prepare clips with the AC4AUImageProcessor of this checkpoint"
            )
        return pixel_values.to(self.dtype)


class AC4AUForActionUnitDetection(AC4AUPreTrainedModel):
    """AC4AU with its experts: which of twelve action units a clip shows.

    Example:

    ```python
    >>> import torch
    >>> from dface_hf import AC4AUConfig, AC4AUForActionUnitDetection
    >>> model = AC4AUForActionUnitDetection(AC4AUConfig()).eval()
    >>> output = model(torch.zeros(1, 8, 3, 112, 112))
    >>> tuple(output.logits.shape), model.config.id2label[0]
    ((1, 12), 'AU1')

    ```
    """

    def __init__(self, config: AC4AUConfig):
        super().__init__(config)
        self.ac4au = AC4AUModel(config)
        if config.use_experts:
            self.classifier = AC4AUExperts(config)
        else:
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        subjects = config.num_subjects
        self.subject_directions = (
            nn.Parameter(torch.empty(subjects, config.hidden_size)) if subjects else None
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        subject_ids: torch.Tensor | None = None,
        **kwargs,
    ) -> AC4AUOutput:
        """Detect units.

        Args:
            pixel_values: (batch, num_frames, channels, image_size, image_size), RGB in [-1, 1].
            labels: (batch, num_labels) of 0 and 1; with them the output has a loss.
            subject_ids: (batch,) int64 in [0, num_subjects), subjects of *training* clips; -1 for none. With
                them the loss has the subject part.

        Returns:
            [`AC4AUOutput`].

        Raises:
            ValueError: Shapes or values other than these.
        """
        output = self.ac4au(pixel_values)
        read = self.classifier(output.pooler_output)
        logits, gates = read if self.config.use_experts else (read, None)
        unit_loss, of_subjects, loss = self._losses(logits, output.constant, labels, subject_ids)
        return AC4AUOutput(
            loss=loss,
            logits=logits,
            unit_loss=unit_loss,
            subject_loss=of_subjects,
            gate_weights=gates,
            pooler_output=output.pooler_output,
            changing=output.changing,
            constant=output.constant,
        )

    def _losses(self, logits, constant, labels, subject_ids) -> tuple[torch.Tensor | None, ...]:
        """The loss of units, that of subjects, and their weighted sum; None for what was not given."""
        config, of_subjects = self.config, None
        if labels is None:
            return None, None, None
        self._check_labels(logits, labels, subject_ids)
        if config.unit_loss == "bce":
            unit_loss = binary_loss(logits, labels)
        else:
            rates = 0.5 if config.positive_rates is None else torch.tensor(config.positive_rates).to(logits)
            unit_loss = focal_loss(logits, labels, rates, config.focal_exponent)
        if subject_ids is None:
            return unit_loss, None, unit_loss
        margin = (config.subject_scale, config.subject_margin)
        of_subjects = subject_loss(constant, self.subject_directions, subject_ids, *margin)
        return unit_loss, of_subjects, unit_loss + config.subject_weight * of_subjects

    def _check_labels(self, logits, labels, subject_ids) -> None:
        if labels.shape != logits.shape:
            raise ValueError(f"labels of shape {tuple(labels.shape)}; expected {tuple(logits.shape)}")
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError("labels must be 0 and 1 for each clip and unit")
        if subject_ids is None:
            return
        subjects = self.config.num_subjects
        if not subjects:
            raise ValueError("subject_ids are given, but num_subjects is 0; set it to the training subjects")
        if subject_ids.shape != logits.shape[:1]:
            raise ValueError(f"subject_ids of shape {tuple(subject_ids.shape)}; give one for each clip")
        if subject_ids.min() < -1 or subject_ids.max() >= subjects:
            raise ValueError(f"subject_ids must lie in [0, {subjects}), or be -1 for a clip without subject")


__all__ = ["AC4AUForActionUnitDetection", "AC4AUModel", "AC4AUModelOutput", "AC4AUOutput"]

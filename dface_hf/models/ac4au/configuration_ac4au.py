"""Configuration of AC4AU: action units of a clip without a known apex."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
"""FACS numbers of the twelve units of the CD6ME bench, in its order."""
UNIT_LOSSES = ("focal", "bce")
STRIDE = 16
"""Pixels of the frame to one cell of MobileFaceNet's last map, along each side."""


@strict
class AC4AUConfig(PreTrainedConfig):
    r"""
    Configuration of [`AC4AUModel`] and [`AC4AUForActionUnitDetection`].

    The paper gives the number of frames, the side of 112 px, MobileFaceNet, 4 heads and learned positions in
    the spatial transformer, 12 experts with softmax gates, the focal loss, s = 32, m = 0.5 and the weight 0.1
    of the subject loss. What it does not give was chosen here and is marked *chosen*.

    Args:
        num_frames (`int`): Frames of a clip.
        image_size (`int`): Side of a frame in pixels, a multiple of 16.
        num_channels (`int`): Colours of a frame.
        stem_channels (`int`): Feature maps of the first two convolutions.
        stage_channels (`tuple[int, int, int]`): Feature maps of the three stages.
        stage_depths (`tuple[int, int, int]`): Residual bottlenecks of each stage, after its first one of
            stride 2.
        stage_expansions (`tuple[int, int, int]`): Expansion of the first bottleneck of each stage.
        expansion (`int`): Expansion of the residual bottlenecks.
        head_channels (`int`): Feature maps before the global depth-wise convolution.
        spatial_stages (`tuple[int, ...]`): Stages, from 0, that a spatial transformer follows. *Chosen*: the
            first two, that is, between the stages, at 28 x 28 and 14 x 14 tokens.
        num_spatial_layers (`int`): Layers of each spatial transformer. *Chosen*.
        residual_scale (`float`): What the last batch norm of each residual mapping multiplies by at the
            start. *Chosen*: small, so that face-recognition weights are hardly disturbed, but not 0, so that
            all layers learn from the first step.
        hidden_size (`int`): Size of a frame's features. *Chosen*: MobileFaceNet's usual embedding of 512.
        num_temporal_layers (`int`): Layers of the temporal transformer. *Chosen*.
        num_attention_heads (`int`): Heads of both kinds of transformer; for the temporal one *chosen*.
        mlp_ratio (`int`): Width of the transformers' feed-forward relative to theirs. *Chosen*.
        dropout (`float`): In transformers and experts. *Chosen*.
        use_decomposer (`bool`): Whether only the part that changes over time is read. Without it the temporal
            transformer reads all of the features and there is no subject loss.
        use_experts (`bool`): Whether units are read by experts and gates, or by one linear layer.
        num_experts (`int`): Experts, shared by all units.
        expert_size (`int`): Hidden layer of an expert. *Chosen*. An expert gives one number, since the paper
            sums the gated experts to the logit.
        unit_loss (`str`): "focal" or "bce".
        focal_exponent (`float`): Power that plays down what is right already.
        positive_rates (`list[float]`, *optional*): Share of clips with each unit in the *training* clips,
            strictly between 0 and 1, see [`positive_rates`]. The paper computes it over all corpora, which
            tells about those held out. 0.5 each when not given. Only the focal loss reads it.
        num_subjects (`int`): Subjects among the training clips; 0 for no subject loss.
        subject_weight (`float`): Weight of the subject loss.
        subject_scale (`float`): What cosines are multiplied by in the subject loss.
        subject_margin (`float`): Angle in radians that is added to that of the true subject.
        unit_threshold (`float`): Probability from which a unit counts as found.
    """

    model_type = "ac4au"

    num_frames: int = 8
    image_size: int = 112
    num_channels: int = 3
    stem_channels: int = 64
    stage_channels: list[int] | tuple[int, ...] = (64, 128, 128)
    stage_depths: list[int] | tuple[int, ...] = (4, 6, 2)
    stage_expansions: list[int] | tuple[int, ...] = (2, 4, 4)
    expansion: int = 2
    head_channels: int = 512
    spatial_stages: list[int] | tuple[int, ...] = (0, 1)
    num_spatial_layers: int = 1
    residual_scale: float | int = 0.1
    hidden_size: int = 512
    num_temporal_layers: int = 2
    num_attention_heads: int = 4
    mlp_ratio: int = 2
    dropout: float | int = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    use_decomposer: bool = True
    use_experts: bool = True
    num_experts: int = 12
    expert_size: int = 128
    unit_loss: str = "focal"
    focal_exponent: float | int = 2.0
    positive_rates: list[float] | tuple[float, ...] | None = None
    num_subjects: int = 0
    subject_weight: float | int = 0.1
    subject_scale: float | int = 32.0
    subject_margin: float | int = 0.5
    unit_threshold: float | int = 0.5

    def __post_init__(self, **kwargs):
        if self.id2label is None and kwargs.get("num_labels") in (None, len(UNITS)):
            self.id2label = {index: f"AU{unit}" for index, unit in enumerate(UNITS)}
            self.label2id = {label: index for index, label in self.id2label.items()}
        self.problem_type = self.problem_type or "multi_label_classification"
        super().__post_init__(**kwargs)

    @property
    def grid_size(self) -> int:
        """Cells along one side of the backbone's last map."""
        return self.image_size // STRIDE

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit together."""
        if self.image_size < STRIDE or self.image_size % STRIDE:
            raise ValueError(f"image_size {self.image_size} is not a multiple of {STRIDE}")
        if self.num_frames < 2:
            raise ValueError(f"num_frames {self.num_frames}: motion needs at least 2")
        lengths = [len(self.stage_channels), len(self.stage_depths), len(self.stage_expansions)]
        if lengths != [3, 3, 3]:
            raise ValueError(
                f"stage_channels, stage_depths and stage_expansions have lengths {lengths}, need 3"
            )
        if wrong := [stage for stage in self.spatial_stages if stage not in (0, 1, 2)]:
            raise ValueError(f"spatial_stages holds {wrong[0]}; stages are 0, 1 and 2")
        widths = [self.hidden_size, *(self.stage_channels[stage] for stage in self.spatial_stages)]
        if wrong := [width for width in widths if width % self.num_attention_heads]:
            raise ValueError(f"width {wrong[0]} cannot be split into {self.num_attention_heads} heads")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} is not in [0, 1)")
        if not 0 < self.unit_threshold < 1:
            raise ValueError(f"unit_threshold {self.unit_threshold} is not between 0 and 1")

    def validate_losses(self) -> None:
        """Refuse losses that cannot be computed."""
        if self.unit_loss not in UNIT_LOSSES:
            raise ValueError(f"unit_loss {self.unit_loss!r}: use one of {', '.join(UNIT_LOSSES)}")
        if self.problem_type != "multi_label_classification":
            raise ValueError(f"problem_type {self.problem_type!r}: units are multi_label_classification")
        labels, rates = len(self.id2label or {}), self.positive_rates
        if rates is not None and len(rates) != labels:
            raise ValueError(f"{len(rates)} positive_rates for {labels} units")
        if wrong := [rate for rate in rates or () if not 0 < rate < 1]:
            raise ValueError(f"positive_rates holds {wrong[0]}; each must be between 0 and 1")
        if self.num_subjects < 0:
            raise ValueError(f"num_subjects {self.num_subjects} is negative")
        if self.num_subjects and not self.use_decomposer:
            raise ValueError("num_subjects needs use_decomposer: the subject loss reads its constant part")


__all__ = ["AC4AUConfig"]

"""Configurations of the flow baselines; the defaults are the published sizes."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

PROBLEM_TYPES = (None, "single_label_classification", "multi_label_classification")


@strict
class FlowBaselineConfig(PreTrainedConfig):
    r"""
    What all networks on flow pictures share.

    Args:
        image_size (`int`): Side of the flow picture in pixels.
        num_channels (`int`): 3 for u, v and optical strain; 2 for u and v.
        dropout (`float`): Share of features dropped in training.
        class_weights (`tuple[float, ...]`, *optional*): Weights of the classes in the cross-entropy; of the
            positive samples of each label, where `problem_type` is "multi_label_classification".
    """

    image_size: int = 28
    num_channels: int = 3
    dropout: float | int = 0.5
    class_weights: list[float] | tuple[float, ...] | None = None

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit together."""
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} is not in [0, 1)")
        labels = len(self.id2label or {})
        if self.class_weights is not None and len(self.class_weights) != labels:
            raise ValueError(f"{len(self.class_weights)} class_weights for {labels} classes")
        if self.problem_type not in PROBLEM_TYPES:
            raise ValueError(f"problem_type {self.problem_type!r}: use one of {', '.join(PROBLEM_TYPES[1:])}")


@strict
class OffApexNetConfig(FlowBaselineConfig):
    r"""
    Configuration of [`OffApexNetForImageClassification`].

    Args:
        conv_channels (`tuple[int, int]`): Filters of the two convolutions of each stream.
        kernel_size (`int`): Their side. The CD6ME bench has 3; 5 is also found in re-implementations.
        dense_sizes (`tuple[int, ...]`): Dense layers before the classifier. The CD6ME bench has one.
    """

    model_type = "off-apexnet"

    num_channels: int = 2
    conv_channels: list[int] | tuple[int, ...] = (6, 16)
    kernel_size: int = 3
    dense_sizes: list[int] | tuple[int, ...] = (1024,)


@strict
class STSTNetConfig(FlowBaselineConfig):
    r"""
    Configuration of [`STSTNetForImageClassification`].

    Args:
        stream_channels (`tuple[int, ...]`): Filters of each parallel stream.
    """

    model_type = "ststnet"

    stream_channels: list[int] | tuple[int, ...] = (3, 5, 8)


@strict
class RCNAConfig(FlowBaselineConfig):
    r"""
    Configuration of [`RCNAForImageClassification`].

    Args:
        hidden_size (`int`): Feature maps.
        recurrent_steps (`int`): Times that the recurrent convolution is applied, with the same weights.
        pooled_size (`int`): Side of the map that is classified.
    """

    model_type = "rcn-a"

    image_size: int = 60
    hidden_size: int = 64
    recurrent_steps: int = 2
    pooled_size: int = 5


@strict
class SSSNetConfig(FlowBaselineConfig):
    r"""
    Configuration of [`SSSNetForImageClassification`].

    Args:
        conv_channels (`tuple[int, int]`): Filters of the 5x5 and of the 3x3 convolution.
        hidden_size (`int`): Dense layer before the classifier.
    """

    model_type = "sssnet"

    image_size: int = 64
    conv_channels: list[int] | tuple[int, ...] = (32, 64)
    hidden_size: int = 256


@strict
class HTNetConfig(FlowBaselineConfig):
    r"""
    Configuration of [`HTNetForImageClassification`].

    Args:
        patch_size (`int`): Side of a patch.
        hidden_size (`int`): Width of the first level; each further level doubles it.
        num_attention_heads (`int`): Heads of the first level; each further level doubles them.
        depths (`tuple[int, ...]`): Transformer layers of each level.
        mlp_ratio (`int`): Width of the feed-forward relative to its level.
        region_centers (`list[list[float]]`, *optional*): Centres (x, y) of the crops at image-left eye,
            image-right eye, image-left and image-right lip corner as parts of the side; the default is where
            dface_hf's aligned crops have them. None where pictures are tiled already.
    """

    model_type = "htnet"

    dropout: float | int = 0.0
    patch_size: int = 7
    hidden_size: int = 256
    num_attention_heads: int = 3
    depths: list[int] | tuple[int, ...] = (2, 2, 10)
    mlp_ratio: int = 4
    layer_norm_eps: float = 1e-5
    region_centers: list | tuple | None = ((0.325, 0.395), (0.675, 0.395), (0.4, 0.74), (0.6, 0.74))

    @property
    def grid_size(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    def validate_architecture(self) -> None:
        """Refuse a grid that the levels cannot halve."""
        super().validate_architecture()
        blocks = 2 ** (len(self.depths) - 1)
        if self.image_size % self.patch_size or self.grid_size % blocks:
            side = self.image_size / self.patch_size
            raise ValueError(
                f"{len(self.depths)} levels need a grid of patches that {blocks} divides; image_size "
                f"{self.image_size} and patch_size {self.patch_size} give {side:g}"
            )
        centers = self.region_centers
        if centers is not None and [len(center) for center in centers] != [2, 2, 2, 2]:
            raise ValueError("region_centers must be four pairs (x, y)")
        if centers is not None and self.image_size % 2:
            raise ValueError(f"image_size {self.image_size} cannot be halved, as the four crops need it")


__all__ = [
    "FlowBaselineConfig",
    "HTNetConfig",
    "OffApexNetConfig",
    "RCNAConfig",
    "SSSNetConfig",
    "STSTNetConfig",
]

"""Small networks on the flow picture of onset and apex: OFF-ApexNet, STSTNet, RCN-A and SSSNet.

All take `pixel_values` (batch, channels, height, width): horizontal flow u, vertical flow v, optical strain.
The layers follow the papers and the CD6ME bench (meb, Varanka et al. 2023); what is not published is said in
the docstrings. Weights start as PyTorch's layers do (Kaiming uniform), unless a docstring says otherwise.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_flow_baselines import (
    FlowBaselineConfig,
    OffApexNetConfig,
    RCNAConfig,
    SSSNetConfig,
    STSTNetConfig,
)


def classification_loss(
    logits: torch.Tensor, labels: torch.Tensor, config: FlowBaselineConfig
) -> torch.Tensor:
    """Weighted cross-entropy, or binary cross-entropy for several labels a picture.

    Args:
        logits: (batch, num_labels).
        labels: (batch,) class ids; (batch, num_labels) of 0 and 1 with `problem_type`
            "multi_label_classification".
        config: Its `class_weights` weigh the classes, or the positives of each label.
    """
    weight = None if config.class_weights is None else logits.new_tensor(config.class_weights)
    if config.problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weight)
    return F.cross_entropy(logits, labels, weight=weight)


class FlowBaselinePreTrainedModel(PreTrainedModel):
    """Loading, initialisation and the forward pass of a network that maps a flow picture to logits.

    Each network has a `classify`: pictures (batch, num_channels, image_size, image_size) to logits (batch,
    num_labels).
    """

    config: FlowBaselineConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    @classmethod
    def from_pretrained(cls, *args, use_safetensors: bool | None = True, **kwargs):
        """As of `PreTrainedModel`, but a pickle (pytorch_model.bin) is refused unless it is asked for."""
        return super().from_pretrained(*args, use_safetensors=use_safetensors, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs
    ) -> ImageClassifierOutput:
        """Classify flow pictures.

        Args:
            pixel_values: (batch, num_channels, image_size, image_size), u, v (and strain), each in [0, 1].
            labels: (batch,) class ids, or (batch, num_labels) of 0 and 1 for "multi_label_classification".

        Returns:
            `ImageClassifierOutput` with `logits` (batch, num_labels), and `loss` where labels are given.

        Raises:
            ValueError: For pictures of another shape.
        """
        logits = self.classify(self.checked(pixel_values))
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def checked(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the pictures in the type of the weights, laid channels last, which makes pooling and grouped
        convolutions several times as fast on a CPU; refuse those that the network is not made for."""
        size, channels = self.config.image_size, self.config.num_channels
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (channels, size, size):
            raise ValueError(
                f"expected pixel_values of shape (batch, {channels}, {size}, {size}), got "
                f"{tuple(pixel_values.shape)}; prepare flow with the FlowImageProcessor of this checkpoint"
            )
        return pixel_values.to(self.dtype).movedim(1, -1).contiguous().movedim(-1, 1)  # as vmap can, too


class OffApexNetForImageClassification(FlowBaselinePreTrainedModel):
    """OFF-ApexNet (Gan et al., Signal Processing: Image Communication 74, 2019): one stream for u, one for v.

    Each stream is conv, ReLU, 2x2 max pooling, twice; the streams meet in a dense layer. Unpublished: where
    dropout stands (here before every dense layer).
    """

    config: OffApexNetConfig

    def __init__(self, config: OffApexNetConfig):
        super().__init__(config)
        streams, width, layers = config.num_channels, 1, []
        for channels in config.conv_channels:  # of a stream; groups of one convolution are the streams
            sides = {"padding": config.kernel_size // 2, "groups": streams}
            layers.append(nn.Conv2d(streams * width, streams * channels, config.kernel_size, **sides))
            layers += [nn.MaxPool2d(2), nn.ReLU()]  # in this order a quarter of the work, the same values
            width = channels
        self.streams = nn.Sequential(*layers)
        sizes = [streams * width * (config.image_size // 2 // 2) ** 2, *config.dense_sizes]
        self.dense = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sizes[-1], config.num_labels)
        self.post_init()

    def classify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map (batch, 2, 28, 28) to logits."""
        states = self.streams(pixel_values).flatten(1)
        for layer in self.dense:
            states = layer(self.dropout(states)).relu()
        return self.classifier(self.dropout(states))


class STSTNetForImageClassification(FlowBaselinePreTrainedModel):
    """STSTNet (Liong et al., FG 2019): three parallel convolutions of 3, 5 and 8 filters, 400 features.

    Each stream is conv 3x3 (padding 2), ReLU, batch norm, 3x3 max pooling of stride 3, dropout; the streams
    are joined and averaged 2x2. Streams that see the same picture through filters of the same size are one
    convolution of 16 filters, and that is how they are computed. Not in the paper, but in the CD6ME bench:
    dropout and batch norm.
    """

    config: STSTNetConfig

    def __init__(self, config: STSTNetConfig):
        super().__init__(config)
        channels = sum(config.stream_channels)
        self.streams = nn.Sequential(
            nn.Conv2d(config.num_channels, channels, 3, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
            nn.MaxPool2d(3, padding=1),
            nn.Dropout(config.dropout),
            nn.AvgPool2d(2),
        )
        side = ((config.image_size + 2 + 2 - 3) // 3 + 1) // 2
        self.classifier = nn.Linear(channels * side**2, config.num_labels)
        self.post_init()

    def classify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, 28, 28) to logits."""
        return self.classifier(self.streams(pixel_values).flatten(1))


class RCNAForImageClassification(FlowBaselinePreTrainedModel):
    """RCN-A (Xia et al., IEEE TIP 2020): a recurrent convolution and attention without parameters.

    Stem conv 5x5, batch norm, ReLU, 2x2 max pooling, dropout. The recurrent block starts from a 1x1
    convolution and applies ONE 3x3 convolution to input + state `recurrent_steps` times, then pools 2x2. The
    attention is the mean over classes of the class activation maps of the pooled stem, each stretched to
    [0, 1]: it is read from the classifier's weights and adds none. Convolutions start from Kaiming normal
    (fan out), the classifier from N(0, 0.01).
    """

    config: RCNAConfig

    def __init__(self, config: RCNAConfig):
        super().__init__(config)
        width = config.hidden_size
        self.stem = nn.Sequential(
            nn.Conv2d(config.num_channels, width, 5),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(config.dropout),
        )
        self.feed_forward = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.recurrent = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.downsample = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(config.dropout))
        self.pooling = nn.AdaptiveAvgPool2d(config.pooled_size)
        self.classifier = nn.Linear(width * config.pooled_size**2, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.01)
            init.zeros_(module.bias)

    def classify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, 60, 60) to logits."""
        stem = self.stem(pixel_values)
        state = self.feed_forward(stem)
        for _ in range(self.config.recurrent_steps):
            state = self.recurrent(stem + state)
        pooled = self.pooling(self.downsample(state))
        return self.classifier((pooled * self.attention(self.pooling(stem))).flatten(1))

    def attention(self, states: torch.Tensor) -> torch.Tensor:
        """Map (batch, hidden_size, 5, 5) to attention (batch, 1, 5, 5) in [0, 1]."""
        weights = self.classifier.weight.unflatten(1, states.shape[1:])
        maps = torch.einsum("bchw,lchw->blhw", states, weights)
        maps = maps - maps.amin(dim=(2, 3), keepdim=True)
        maps = maps / maps.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
        return maps.mean(dim=1, keepdim=True)


class SSSNetForImageClassification(FlowBaselinePreTrainedModel):
    """SSSNet (Varanka et al., Electronic Imaging 2021): a shallow single stream.

    Conv 5x5, ReLU, 3x3 max pooling, batch norm, channel dropout; conv 3x3, ReLU, 2x2 max pooling, batch norm,
    channel dropout; a dense layer of 256, dropout. Neither convolution is padded.
    """

    config: SSSNetConfig

    def __init__(self, config: SSSNetConfig):
        super().__init__(config)
        first, second = config.conv_channels
        self.features = nn.Sequential(
            nn.Conv2d(config.num_channels, first, 5),
            nn.MaxPool2d(3),  # before ReLU: the same values, a ninth of the work
            nn.ReLU(),
            nn.BatchNorm2d(first),
            nn.Dropout2d(config.dropout),
            nn.Conv2d(first, second, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.BatchNorm2d(second),
            nn.Dropout2d(config.dropout),
        )
        side = ((config.image_size - 4) // 3 - 2) // 2
        self.dense = nn.Linear(second * side**2, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def classify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, 64, 64) to logits."""
        states = self.dense(self.features(pixel_values).flatten(1)).relu()
        return self.classifier(self.dropout(states))


__all__ = [
    "FlowBaselinePreTrainedModel",
    "OffApexNetForImageClassification",
    "RCNAForImageClassification",
    "SSSNetForImageClassification",
    "STSTNetForImageClassification",
    "classification_loss",
]

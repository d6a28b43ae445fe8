"""Turn published MobileFaceNet weights for face recognition into the backbone of AC4AU.

Names and shapes are those of the PyTorch port in TreB1eN/InsightFace_Pytorch (MIT), from which many others
were made; in some of them the last layers stand below `output_layer`. Sizes are read from the tensors'
shapes. Every tensor of the file must find its place, and every place of the backbone its tensor, but for the
spatial transformers, which MobileFaceNet does not have: like the temporal one they are new, and always the
same.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from ..weight_files import read_leaves
from .configuration_ac4au import STRIDE, AC4AUConfig
from .modeling_ac4au import AC4AUModel

State = dict[str, torch.Tensor]

#: The order of colours that the network was trained with.
CHANNELS = ("bgr", "rgb")
# A tensor that every port has, by which the network is found below any prefix.
MARK = "conv_6_sep.conv.weight"
DOWN, REST = ("conv_23", "conv_34", "conv_45"), ("conv_3", "conv_4", "conv_5")
# Published name -> our name, applied in this order.
NAMES = (
    (r"^output_layer\.", ""),
    (r"^linear\.", "projection."),
    (r"^bn\.", "norm."),
    (r"\.conv\.weight$", ".0.weight"),
    (r"\.bn\.", ".1."),
    (r"\.prelu\.", ".2."),
    (r"^conv1\.", "stem.0."),
    (r"^conv2_dw\.", "stem.1."),
    (r"^conv_6_sep\.", "head.0."),
    (r"^conv_6_dw\.", "head.1."),
    (r"^conv_(?:23|34|45)\.", lambda found: f"stages.{DOWN.index(found[0][:-1])}.0."),
    (r"^(conv_[345])\.model\.(\d+)\.", lambda found: f"stages.{REST.index(found[1])}.{int(found[2]) + 1}."),
    (r"^(stages\.\d+\.\d+\.)conv\.", r"\1layers.0."),
    (r"^(stages\.\d+\.\d+\.)conv_dw\.", r"\1layers.1."),
    (r"^(stages\.\d+\.\d+\.)project\.", r"\1layers.2."),
)


@dataclass(frozen=True)
class BackboneConversion:
    """A converted backbone.

    Attributes:
        model: Its `backbone` has the published weights; its transformers are untrained.
        state: The published tensors only, by their names in the model.
        file: The file that was read.
        channels: Order of colours that the file's network was trained with; the model takes RGB.
        aside: What the file holds beside the network.
    """

    model: AC4AUModel
    state: State
    file: str
    channels: str
    aside: tuple[str, ...]


def convert_mobilefacenet(path: str | os.PathLike, channels: str = "bgr") -> BackboneConversion:
    """Convert published weights.

    Args:
        path: A file of `torch.save` or a safetensors file: a state dict, with or without a prefix such as
            `module.`, or dictionaries around it.
        channels: Order of colours the network was trained with. InsightFace_Pytorch cuts its training
            pictures with OpenCV and never swaps them, so its networks see blue first.

    Returns:
        The backbone, for RGB in [-1, 1]. It gives what the port gives before the length is divided out.

    Raises:
        ValueError: The file cannot be read, is of another network, or a tensor is missing, unknown or of
            another shape; one line that names the file and the first such tensor.
    """
    if channels not in CHANNELS:
        raise ValueError(f"channels {channels!r} is unknown; choose {' or '.join(CHANNELS)}")
    path = os.fspath(path)
    published, aside = _network(path, read_leaves(path))
    config = _config(path, published)
    found = {f"backbone.{_our_name(name)}": (name, tensor) for name, tensor in published.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a start that differs from run to run could not be resumed or compared
        model = AC4AUModel(config).eval()
    expected = {name: tensor for name, tensor in model.state_dict().items() if _is_published(name)}
    _check(path, found, expected)
    state = {name: found[name][1] if name in found else tensor for name, tensor in expected.items()}
    state = {name: tensor.to(expected[name].dtype).contiguous() for name, tensor in state.items()}
    if channels == "bgr":
        state["backbone.stem.0.0.weight"] = state["backbone.stem.0.0.weight"].flip(1)
    model.load_state_dict(state, strict=False)
    return BackboneConversion(model, state, path, channels, aside)


def _is_published(name: str) -> bool:
    return name.startswith("backbone.") and not name.startswith("backbone.spatial.")


def _our_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _config(path: str, state: State) -> AC4AUConfig:
    """Sizes of the network from the shapes of its tensors."""

    def shape(name: str) -> torch.Size:
        for full in (name, f"output_layer.{name}"):
            if full in state and state[full].ndim == (2 if name.startswith("linear") else 4):
                return state[full].shape
        raise ValueError(f"{path}: lacks {name}, or it is of another kind; no MobileFaceNet as known here")

    stem, colours = shape("conv1.conv.weight")[:2]
    stages = [shape(f"{name}.project.conv.weight")[0] for name in DOWN]
    inner = [shape(f"{name}.conv.conv.weight")[0] for name in DOWN]
    depths = [len({key.split(".")[2] for key in state if key.startswith(f"{name}.model.")}) for name in REST]
    first = next((i for i, depth in enumerate(depths) if depth), None)
    wide = 2 * stages[0] if first is None else shape(f"{REST[first]}.model.0.conv.conv.weight")[0]
    try:
        return AC4AUConfig(
            image_size=STRIDE * shape("conv_6_dw.conv.weight")[-1],
            num_channels=colours,
            stem_channels=stem,
            stage_channels=stages,
            stage_depths=depths,
            stage_expansions=[w // c for w, c in zip(inner, [stem, *stages], strict=False)],
            expansion=wide // stages[first or 0],
            head_channels=shape(MARK)[0],
            hidden_size=shape("linear.weight")[0],
        )
    except StrictDataclassError as error:
        raise ValueError(f"{path}: {' '.join(str(error.__cause__ or error).split())}") from error


def _check(path: str, found: dict[str, tuple[str, torch.Tensor]], expected: State) -> None:
    for name, (published, tensor) in found.items():
        if name not in expected:
            raise ValueError(f"{path}: holds {published}, which MobileFaceNet as known here does not have")
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, needed is {tuple(expected[name].shape)}"
            raise ValueError(f"{path}: {published} is {shapes}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {published} holds NaN or infinite values; the file is damaged")
    # Counted from torch 0.4.1 on, and read by nothing here.
    missing = [name for name in expected if name not in found and not name.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"{path}: lacks the tensor of {missing[0]} ({len(missing)} are missing)")


def _network(path: str, leaves: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """The network's tensors without their prefix, and the first part of the names of all else."""
    tensors = {name: value for name, value in leaves.items() if torch.is_tensor(value)}
    ends = [name for name in tensors if name == MARK or name.endswith(f".{MARK}")]
    if len(ends) != 1:
        told = f"{len(ends)} networks" if ends else f"none of its {len(tensors)} tensors is {MARK}"
        raise ValueError(f"{path}: no file of one MobileFaceNet: {told}")
    prefix = ends[0].removesuffix(MARK)
    state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    aside = (name.split(".")[0] for name in leaves if name not in tensors or not name.startswith(prefix))
    return state, tuple(dict.fromkeys(aside))


__all__ = ["CHANNELS", "BackboneConversion", "convert_mobilefacenet"]

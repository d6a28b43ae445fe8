"""Turn weights of the published D-FACE implementation, or of its parent LAPA, into models of this folder.

Sizes are read from the tensors' shapes. What shapes do not reveal is asked for or known from the published
code: the image size, the strides of the reduction (`PRESETS`), and the classifier's 8 attention heads. Every
tensor of the file must find its place, and every place its tensor; the first that does not is named.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel

from .configuration_dface import DFaceConfig
from .configuration_dface_tokenizer import REFERENCE_SETTINGS, DFaceTokenizerConfig
from .modeling_dface import DFaceForVideoClassification
from .modeling_dface_tokenizer import DFaceTokenizerModel
from .reading_dface_original import MARKS, OriginalWeights, State, read_original

#: Strides and paddings of the reduction: None halves the grid with each convolution. At four tokens LAPA's
#: second convolution has stride 1 and no padding.
PRESETS: dict[str, list[list[int]] | None] = {"dface": None, "lapa": [[2, 1], [1, 0]]}
# What our models keep beside the published parameters.
OWN_BUFFERS = ("running_rms", "usage", "text_anchors")

# Our name -> published name, applied in this order.
TOKENIZER_NAMES = (
    (r"(_attn\.(?:context_)?norm)\.weight$", r"\1.gamma"),
    (r"(_attn\.(?:context_)?norm)\.bias$", r"\1.beta"),
    (r"^(spatial_encoder|temporal_encoder|decoder)\.norm\.weight$", r"\1.norm_out.gamma"),
    (r"^(spatial_encoder|temporal_encoder|decoder)\.norm\.bias$", r"\1.norm_out.beta"),
    (r"^spatial_encoder\.", "enc_spatial_transformer."),
    (r"^temporal_encoder\.", "enc_temporal_transformer."),
    (r"^decoder\.", "dec_spatial_transformer."),
    (r"\.position_conv\.conv\.", ".0.dsconv."),
    (r"\.self_attn\.", ".1."),
    (r"\.cross_attn\.", ".2."),
    (r"\.q_proj\.", ".to_q."),
    (r"\.kv_proj\.", ".to_kv."),
    (r"\.o_proj\.", ".to_out."),
    (r"\.null_key_values$", ".null_kv"),
    (r"\.feed_forward\.norm\.", ".3.0."),
    (r"\.feed_forward\.up_proj\.", ".3.1."),
    (r"\.feed_forward\.down_proj\.", ".3.4."),
    (r"^position_bias\.in_proj\.", "spatial_rel_pos_bias.net.0.0."),
    (r"^position_bias\.hidden_proj\.", "spatial_rel_pos_bias.net.1.0."),
    (r"^position_bias\.out_proj\.", "spatial_rel_pos_bias.net.2."),
    (r"^patch_embeddings\.patch_norm\.", "to_patch_emb_first_frame.1."),
    (r"^patch_embeddings\.projection\.", "to_patch_emb_first_frame.2."),
    (r"^patch_embeddings\.norm\.", "to_patch_emb_first_frame.3."),
    (r"^decoder_head\.projection\.", "to_pixels_first_frame.0."),
    (r"^quantizer\.codebook$", "vq.codebooks"),
    (r"^reduction\.projection\.", "vq.project_in."),
    (r"^action_projection\.", "vq.project_out."),
    # A ReLU stands between two convolutions.
    (r"^reduction\.convs\.(\d+)\.", lambda found: f"vq.cnn_encoder.{2 * int(found[1])}."),
)
CLASSIFIER_NAMES = (
    (r"^dface\.token_embeddings\.", "token_embed."),
    (r"^dface\.position_embeddings$", "pos_embed"),
    (r"^dface\.layers\.", "transformer.layers."),
    (r"^dface\.pooling\.norm\.", "sparse_pool.ln."),
    (r"^dface\.pooling\.", "sparse_pool."),
    (r"^dface\.text_projection\.", "clip_proj.0."),
    (r"^classifier\.", "cls_proj.0."),
)


@dataclass(frozen=True)
class Conversion:
    """A converted model.

    Attributes:
        model: [`DFaceTokenizerModel`], or [`DFaceForVideoClassification`] with the tokenizer in it.
        files: The files that were read: the one of the tokenizer, and the one of the classifier.
        preset: Key of `PRESETS`.
        tensors: How many tensors were read; each has its place in the model, or is one of the empty ones.
        empty: How many of them hold no value (null keys and values of self-attention).
        aside: What the files hold beside the weights.
        notes: What the user should know.
    """

    model: PreTrainedModel
    files: tuple[str, ...]
    preset: str
    tensors: int
    empty: int
    aside: tuple[str, ...]
    notes: tuple[str, ...]


def convert_original(
    path: str | os.PathLike,
    image_size: int = 256,
    preset: str = "dface",
    classifier: str | os.PathLike | None = None,
    num_labels: int | None = None,
    labels: Sequence[str] | None = None,
) -> Conversion:
    """Convert a published tokenizer, and a classifier where there is one.

    Args:
        path: File with the tokenizer's weights; a classifier beside them (`{"model", "laq"}`) is
            converted, too.
        image_size: Side of the images the tokenizer was trained on, in pixels.
        preset: Key of `PRESETS`.
        classifier: File with the classifier's weights.
        num_labels: Number of classes, if it is to be checked.
        labels: Class names in the order of the logits; LABEL_0 and so on by default.

    Raises:
        ValueError: If a file cannot be read, holds something else, or does not fit; one line that names the
            file and the first wrong tensor, its shape and the shape needed.
    """
    weights = read_original(path)
    if weights.tokenizer is None:
        raise ValueError(f"{path}: holds no tokenizer (no tensor {MARKS['tokenizer']!r})")
    alone = classifier is None or os.path.realpath(classifier) == os.path.realpath(path)
    heads = weights if alone else read_original(classifier)
    if heads.classifier is None and (classifier or num_labels or labels):
        raise ValueError(f"{heads.path}: holds no classifier (no tensor {MARKS['classifier']!r})")
    _check_same_tokenizer(weights, heads)
    with _errors_of(weights.path):
        config = tokenizer_config_from(weights.tokenizer, image_size, preset)
        model = _filled(DFaceTokenizerModel, config, weights.tokenizer, TOKENIZER_NAMES)
    if heads.classifier is not None:
        with _errors_of(heads.path):
            whole = classifier_config_from(heads.classifier, config, num_labels, labels)
            inner = {f"dface.tokenizer.{name}": tensor for name, tensor in model.state_dict().items()}
            model = _filled(DFaceForVideoClassification, whole, heads.classifier, CLASSIFIER_NAMES, inner)
    read = [*weights.tokenizer.values(), *(heads.classifier or {}).values()]
    return Conversion(
        model=model.eval(),
        files=tuple(dict.fromkeys((weights.path, heads.path))),
        preset=preset,
        tensors=len(read),
        empty=sum(not tensor.numel() for tensor in read),
        aside=tuple(dict.fromkeys((*weights.aside, *heads.aside))),
        notes=tuple(_notes(config, weights, heads)),
    )


def tokenizer_config_from(
    state: Mapping[str, torch.Tensor], image_size: int = 256, preset: str = "dface"
) -> DFaceTokenizerConfig:
    """Infer a tokenizer's configuration from the shapes of its published weights.

    Args:
        state: Published name -> tensor.
        image_size: Side of the images in pixels.
        preset: Key of `PRESETS`.

    Raises:
        ValueError: If a tensor is missing that a size is read from, or the sizes do not go together.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}")
    patch_size = _patch_size(state)
    if image_size < 1 or image_size % patch_size:
        raise ValueError(
            f"an image size of {image_size} is not a multiple of the weights' patch size {patch_size}"
        )
    convs = _count(state, "vq.cnn_encoder.{}.weight") // 2 + 1
    side = _token_grid(image_size, patch_size, convs, preset)
    return DFaceTokenizerConfig(
        image_size=image_size,
        patch_size=patch_size,
        hidden_size=_size(state, "enc_spatial_transformer.norm_out.gamma", 0, r"norm(_out)?\.gamma$"),
        num_spatial_layers=_count(state, "enc_spatial_transformer.layers.{}.1.q_scale") + 1,
        num_temporal_layers=_count(state, "enc_temporal_transformer.layers.{}.1.q_scale") + 1,
        num_decoder_layers=_count(state, "dec_spatial_transformer.layers.{}.1.q_scale") + 1,
        num_attention_heads=_size(
            state, "spatial_rel_pos_bias.net.2.weight", 0, r"null_kv$|^spatial_rel_pos_bias\.net\.2\."
        ),
        head_dim=_size(state, "enc_spatial_transformer.layers.0.1.q_scale", 0, r"\.[qk]_scale$"),
        num_null_key_values=_size(
            state, "dec_spatial_transformer.layers.0.2.null_kv", 1, r"\.2\.null_kv$"
        ) // 2,
        codebook_size=_size(state, "vq.codebooks", 0),
        code_dim=_size(state, "vq.project_in.weight", 0, r"^vq\.(project_in|cnn_encoder\.\d+)\."),
        num_action_tokens=side * side,
        reduction_convs=PRESETS[preset],
        reference_compat=True,
        **REFERENCE_SETTINGS,
    )  # fmt: skip


def classifier_config_from(
    state: Mapping[str, torch.Tensor],
    tokenizer_config: DFaceTokenizerConfig,
    num_labels: int | None = None,
    labels: Sequence[str] | None = None,
) -> DFaceConfig:
    """Infer a classifier's configuration from the shapes of its published weights.

    Args:
        state: Published name -> tensor.
        tokenizer_config: Of the tokenizer whose tokens it reads.
        num_labels: Number of classes, if it is to be checked.
        labels: Class names in the order of the logits; the class "others" is taken for the one without
            description.

    Raises:
        ValueError: If a tensor is missing, or the classes do not agree with the weights.
    """
    classes = _size(state, "cls_proj.0.weight", 0, r"^cls_proj\.0\.")
    if num_labels not in (None, classes):
        raise ValueError(f"the weights have {classes} classes (cls_proj.0.weight), not {num_labels}")
    if labels is not None and (len(labels) != classes or len(set(labels)) != classes or not all(labels)):
        told = f"{len(labels)} labels ({', '.join(labels)})"
        raise ValueError(f"{told}; the weights need {classes} different ones")
    names = dict(enumerate(labels or (f"LABEL_{index}" for index in range(classes))))
    return DFaceConfig(
        tokenizer_config=tokenizer_config,
        hidden_size=_size(state, "token_embed.weight", 0, r"^(token_embed|sparse_pool)\."),
        num_hidden_layers=_count(state, "transformer.layers.{}.linear1.weight") + 1,
        num_attention_heads=8,  # as published; no shape depends on it
        intermediate_size=_size(state, "transformer.layers.0.linear1.weight", 0, r"\.linear1\."),
        projection_dim=_size(state, "clip_proj.0.weight", 0, r"^clip_proj\.0\."),
        id2label=names,
        label2id={name: index for index, name in names.items()},
        others_label="others" if "others" in names.values() else None,
    )


# Errors


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Errors in the block name the file."""
    try:
        yield
    except StrictDataclassError as error:  # of a configuration; the cause says what is wrong
        raise ValueError(f"{path}: {error.__cause__ or error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_same_tokenizer(weights: OriginalWeights, heads: OriginalWeights) -> None:
    """A classifier that brings its own tokenizer reads the tokens of no other."""
    if heads is weights or heads.tokenizer is None:
        return
    for name, tensor in heads.tokenizer.items():
        if name not in weights.tokenizer or not tensor.equal(weights.tokenizer[name]):
            raise ValueError(
                f"{heads.path}: its classifier was trained with the tokenizer beside it, whose {name} is not "
                f"that of {weights.path}; convert {heads.path} alone"
            )


# Sizes


def _size(state: Mapping[str, torch.Tensor], name: str, axis: int, like: str | None = None) -> int:
    """The length of an axis of a tensor, as most of the tensors that share it have it.

    So one damaged tensor cannot pass for right and make all the others wrong.
    """
    pattern = re.compile(like or f"^{re.escape(name)}$")
    sizes = [
        tensor.shape[axis] for key, tensor in state.items() if pattern.search(key) and tensor.ndim > axis
    ]
    if not sizes:
        raise ValueError(f"the tensor {name} is missing")
    return Counter(sizes).most_common(1)[0][0]


def _count(state: Mapping[str, torch.Tensor], name: str) -> int:
    """The largest number in the names of a form such as "layers.{}.weight"."""
    pattern = re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))
    numbers = [int(found[1]) for found in map(pattern.fullmatch, state) if found]
    if not numbers:
        raise ValueError(f"the tensor {name.format(0)} is missing")
    return max(numbers)


def _patch_size(state: Mapping[str, torch.Tensor]) -> int:
    name = "to_patch_emb_first_frame.1.weight"
    values = _size(state, name, 0, r"^to_(patch_emb_first_frame\.1|pixels_first_frame\.0)\.")
    size = round((values / 3) ** 0.5)
    if not size or 3 * size**2 != values:
        raise ValueError(f"{name} has {values} values; a patch of RGB pixels has 3 x its side squared")
    return size


def _token_grid(image_size: int, patch_size: int, convs: int, preset: str) -> int:
    """Tokens along one side."""
    steps, side = PRESETS[preset] or [[2, 1]] * convs, image_size // patch_size
    if len(steps) != convs:
        raise ValueError(
            f"preset {preset!r} has {len(steps)} reduction convolutions, the weights have {convs}"
        )
    if PRESETS[preset] is None and side % 2**convs:
        unit = patch_size * 2**convs
        raise ValueError(
            f"an image size of {image_size} makes a grid of {side} patches of {patch_size} px, which {convs} "
            f"convolutions cannot halve; give a multiple of {unit} px"
        )
    for stride, padding in steps:
        side = max(0, side + 2 * padding - 3) // stride + 1
    if preset == "lapa" and side != 2:
        raise ValueError(
            f"the preset lapa is for 4 tokens, but an image size of {image_size} and patches of {patch_size} "
            f"px make {side * side}; the presets are {', '.join(PRESETS)}"
        )
    return side


def _notes(config: DFaceTokenizerConfig, weights: OriginalWeights, heads: OriginalWeights) -> Iterator[str]:
    if heads is not weights and weights.classifier is not None:
        yield f"the classifier in {weights.path} was left out for that of {heads.path}"
    if config.reduction_convs is None and config.num_action_tokens == 4 and len(config.reduction_steps) == 2:
        yield (
            "4 tokens, by halving twice: LAPA's second convolution has stride 1 there, which shapes do not "
            "reveal; if this file is LAPA's, use --preset lapa"
        )


# Filling


def _filled(
    model_class: type[PreTrainedModel],
    config: DFaceTokenizerConfig | DFaceConfig,
    state: State,
    names: Sequence[tuple],
    inner: State | None = None,
) -> PreTrainedModel:
    """A model that holds these tensors, and `inner`, under our names already."""
    with torch.device("meta"):  # shapes only: a large model is not held twice
        model = model_class(config)
    places, values = {}, dict(inner or {})
    for name, place in model.state_dict().items():
        if name.split(".")[-1] in OWN_BUFFERS:
            fill = torch.ones if name.endswith("running_rms") else torch.zeros
            values.setdefault(name, fill(place.shape))
        elif name not in values:
            places[_published(name, names)] = (name, tuple(place.shape))
    for published, tensor in state.items():
        if _is_empty(published, tensor) and published not in places:
            continue
        _check_tensor(published, tensor, places)
        values[places[published][0]] = tensor.to(torch.float32, copy=True).contiguous()
    missing = [(published, shape) for published, (_, shape) in places.items() if published not in state]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"the tensor {missing[0][0]} {missing[0][1]} is missing{more}")
    model.load_state_dict(values, assign=True)
    return model


def _published(name: str, names: Sequence[tuple]) -> str:
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def _is_empty(name: str, tensor: torch.Tensor) -> bool:
    """Self-attention has no null keys and values; the published code keeps a tensor of none."""
    return name.endswith(".null_kv") and tensor.numel() == 0


def _check_tensor(name: str, tensor: torch.Tensor, places: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    if name not in places:
        raise ValueError(f"the tensor {name} {tuple(tensor.shape)} has no place in this model")
    needed = places[name][1]
    if tuple(tensor.shape) != needed:
        raise ValueError(f"the tensor {name} is {tuple(tensor.shape)}, but {needed} is needed")
    if not tensor.is_floating_point():
        raise ValueError(f"the tensor {name} is {tensor.dtype}, not floating point")
    if not tensor.isfinite().all():
        raise ValueError(f"the tensor {name} holds NaN or infinite values")


__all__ = [
    "PRESETS",
    "Conversion",
    "classifier_config_from",
    "convert_original",
    "tokenizer_config_from",
]

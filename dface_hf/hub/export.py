"""Models as files that run without this package: ONNX, or a program of `torch.export`.

Each file is compared with the model that it was made of before it gets its name.
"""

import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from dface_hf.models import (
    AC4AUForActionUnitDetection,
    DFaceForVideoClassification,
    DFaceTokenizerModel,
    FlowBaselineConfig,
)
from dface_hf.synthesis import PairSampler
from dface_hf.training.checkpointing import writing

#: Format -> ending of its files.
FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
#: What `DFaceForVideoClassification` and others can be asked for; a model has some of these.
PARTS = ("tokenizer", "classifier", "heads")
#: Largest difference to the model that a file may have, in the units of each output.
TOLERANCE = 1e-3
# A vector half-way between two codes may fall to either side of it.
EQUAL_IDS = 0.99
# One and several, of which none is the batch that the graph was drawn from.
BATCHES = (1, 2, 5, 8)
TRACED_BATCH = 3


class ExportError(ValueError):
    """A file that could not be made, or that says something else than its model."""


@dataclass(frozen=True)
class Part:
    """What becomes one file: a batch of one kind of input in, tensors out.

    Attributes:
        name: Of the file, without its ending.
        module: Maps the input to a tuple of `outputs`.
        input_name: `pixel_values` or `action_ids`.
        example: Batch size -> input (batch, ...), always the same one.
        outputs: Names, in order.
        input_range: Lowest and highest value of the input.
    """

    name: str
    module: nn.Module
    input_name: str
    example: Callable[[int], torch.Tensor]
    outputs: tuple[str, ...]
    input_range: tuple[float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input, without the batch."""
        return tuple(self.example(1).shape[1:])


@dataclass(frozen=True)
class Exported:
    """A file, and how it compares with its model on `BATCHES`.

    Attributes:
        part: What it holds.
        path: Where it is.
        differences: Output of floats -> largest absolute difference, in clips whose ids are equal.
        equal_ids: Share of action ids that are the same; None where there are none.
    """

    part: Part
    path: Path
    differences: dict[str, float]
    equal_ids: float | None


class _Fields(nn.Module):
    """One tensor in, some fields of a model's output out."""

    def __init__(self, model: nn.Module, input_name: str, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.input_name, self.outputs = model, input_name, outputs

    def forward(self, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.model(**{self.input_name: given})
        return tuple(output[name] for name in self.outputs)


class _Encoder(nn.Module):
    """The half of a tokenizer that reads pairs; the other one draws them."""

    outputs = ("action_ids", "action_codes", "action_vectors")

    def __init__(self, tokenizer: DFaceTokenizerModel) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        vectors = self.tokenizer.action_vectors(pixel_values)
        codes, ids = self.tokenizer.quantizer(vectors)
        return ids, codes, vectors


def parts_of(model: PreTrainedModel) -> dict[str, Part]:
    """What can be exported of a model, by name.

    `tokenizer` maps pairs to `action_ids`, `action_codes` (their codewords) and `action_vectors` (before
    quantisation); `classifier` maps what the model's image processor makes to logits and more; `heads` maps
    `action_ids` to the same.

    Raises:
        ExportError: For a model of another kind.
    """
    model = copy.deepcopy(model).cpu().eval().float().requires_grad_(False)
    if isinstance(model, DFaceTokenizerModel):
        return {"tokenizer": _tokenizer_part(model)}
    if isinstance(model, DFaceForVideoClassification):
        return {part.name: part for part in _dface_parts(model)}
    config = model.config
    shape = (config.num_channels, config.image_size, config.image_size)
    if isinstance(model, AC4AUForActionUnitDetection):
        outputs = ("logits", *(("gate_weights",) if config.use_experts else ()))
        return {"classifier": _picture_part(model, (config.num_frames, *shape), outputs, (-1.0, 1.0))}
    if isinstance(config, FlowBaselineConfig):
        return {"classifier": _picture_part(model, shape, ("logits",), (0.0, 1.0))}
    raise ExportError(f"a {config.model_type!r} model cannot be exported; give one of dface_hf")


def _dface_parts(model: DFaceForVideoClassification) -> Iterator[Part]:
    config = model.config.tokenizer_config
    scored = ("similarities",) if model.config.anchor_texts else ()
    outputs = ("logits", "pooling_attention", "action_embeds", *scored)
    encoder = _tokenizer_part(model.dface.tokenizer)
    yield encoder
    whole = _Fields(model, "pixel_values", (*outputs, "action_ids"))
    yield Part("classifier", whole, "pixel_values", encoder.example, whole.outputs, encoder.input_range)
    heads = _Fields(model, "action_ids", outputs)
    example = partial(_action_ids, tokens=config.num_action_tokens, codebook_size=config.codebook_size)
    yield Part("heads", heads, "action_ids", example, outputs, (0, config.codebook_size - 1))


def _tokenizer_part(tokenizer: DFaceTokenizerModel) -> Part:
    size, channels = tokenizer.config.image_size, tokenizer.config.num_channels
    # Faces in motion where the model reads faces: on noise most tokens would be the same.
    sampler = PairSampler(size, bank=8, amplitude=(0.5, 4.0), seed=0)

    def example(batch: int) -> torch.Tensor:
        pairs = sampler.sample(batch, step=batch)
        return torch.stack([pairs.onset, pairs.apex], dim=1)[:, :, :channels]

    encoder = _Encoder(tokenizer).eval()
    return Part("tokenizer", encoder, "pixel_values", example, encoder.outputs, (0.0, 1.0))


def _picture_part(model: nn.Module, shape: tuple[int, ...], outputs: tuple[str, ...], limits) -> Part:
    example = partial(_smooth_pictures, shape=shape, limits=limits)
    return Part(
        "classifier", _Fields(model, "pixel_values", outputs), "pixel_values", example, outputs, limits
    )


def _action_ids(batch: int, tokens: int, codebook_size: int) -> torch.Tensor:
    return torch.randint(codebook_size, (batch, tokens), generator=torch.Generator().manual_seed(batch))


def _smooth_pictures(batch: int, shape: tuple[int, ...], limits: tuple[float, float]) -> torch.Tensor:
    """Noise of a few cells a picture, (batch, *shape), between the limits."""
    maps = torch.Size(shape[:-2]).numel()
    cells = torch.rand(batch, maps, 6, 6, generator=torch.Generator().manual_seed(batch))
    pictures = F.interpolate(cells, size=shape[-2:], mode="bilinear").reshape(batch, *shape)
    return limits[0] + (limits[1] - limits[0]) * pictures


def export_model(
    model: PreTrainedModel,
    folder: str | Path,
    format: str = "onnx",
    part: str = "all",
    name: str | None = None,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[Exported]:
    """Write the parts of a model, each as a file that takes batches of any size, and check them.

    Args:
        model: A D-FACE classifier or tokenizer, an AC4AU detector, or a flow baseline.
        folder: For `tokenizer.onnx`, `classifier.onnx`, `heads.onnx` (or `.pt2`); others stay.
        format: Key of `FORMATS`.
        part: One of `PARTS`, or "all" that the model has.
        name: Of the model, for the files' metadata; that of its class by default.
        opset: Version of ONNX's operators; torch's choice by default.
        tolerance: Largest difference to the model that a file may have.

    Yields:
        [`Exported`] of each part, once its file is complete.

    Raises:
        ExportError: An option that does not fit, a graph that cannot be drawn, or a file that differs from
            the model by more than `tolerance`; nothing is left of it, and no folder that it alone needed.
        ImportError: ONNX is asked for and not installed.
    """
    if format not in FORMATS:
        raise ExportError(f"format {format!r}: use one of {', '.join(FORMATS)}")
    if opset is not None and format != "onnx":
        raise ExportError(f"opset {opset} belongs to format onnx, not to {format}")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ExportError(f"{folder}: is a file; give a folder")
    if format == "onnx":
        require_onnx()
        _check_opset(opset)
    parts = parts_of(model)
    if part != "all" and part not in parts:
        has = ", ".join(parts)
        raise ExportError(f"a {model.config.model_type!r} model has no part {part!r}; it has {has}")
    for chosen in parts.values() if part == "all" else (parts[part],):
        told = metadata(chosen, model, name or type(model).__name__)
        yield _export_part(chosen, Path(folder), format, told, opset, tolerance)


def metadata(part: Part, model: PreTrainedModel, name: str) -> dict[str, str]:
    """What a file tells of itself: model, part, classes in the order of the logits, range of the input."""
    labels = [label for _, label in sorted(model.config.id2label.items())]
    told = {"name": name, "model_type": model.config.model_type, "part": part.name}
    told["input_range"] = json.dumps(part.input_range)
    if "logits" in part.outputs:
        told["labels"] = json.dumps(labels)
    if "similarities" in part.outputs:
        told["anchor_texts"] = json.dumps(model.config.anchor_texts)
    return told


def require_onnx() -> None:
    """Raise an ImportError that says what to install unless all of ONNX is there."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"format onnx needs {package}, which is missing: pip install dface-hf[export]")


def _check_opset(opset: int | None) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if opset is not None and opset > newest:
        raise ExportError(f"opset {opset} is unknown to onnx {onnx.__version__}; its newest is {newest}")


def _export_part(part: Part, folder: Path, format: str, told, opset, tolerance: float) -> Exported:
    path = folder / f"{part.name}{FORMATS[format]}"
    # Where the folder will stand: of an export that fails, not even an empty one is left.
    beside = next(parent for parent in path.absolute().parents if parent.is_dir())
    with TemporaryDirectory(prefix=".export-", dir=beside) as unchecked, _quiet(), torch.no_grad():
        write = _write_onnx if format == "onnx" else _write_program
        run = write(_draw(part), part, Path(unchecked) / path.name, told, opset)
        differences, equal_ids = compare(part, run)
        refuse_difference(path, differences, equal_ids, tolerance)
        folder.mkdir(parents=True, exist_ok=True)
        (Path(unchecked) / path.name).replace(path)
    return Exported(part, path, differences, equal_ids)


def _draw(part: Part) -> torch.export.ExportedProgram:
    batch = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(part.module, (part.example(TRACED_BATCH),), dynamic_shapes=batch)
    except Exception as error:  # noqa: BLE001 - torch raises of every kind
        raise ExportError(f"{part.name}: torch cannot draw its graph: {_first_line(error)}") from error
    _drop_unused(program)
    program.example_inputs = None  # megabytes of pictures
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _drop_unused(program: torch.export.ExportedProgram) -> None:
    """Take out the weights that the graph does not read, of the decoder, say: half of the file."""
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    specs = program.graph_signature.input_specs
    for node, spec in list(zip(inputs, specs, strict=True)):
        if not node.users and spec.target in program.state_dict:
            program.graph.erase_node(node)
            specs.remove(spec)
            program.state_dict.pop(spec.target)
    program.graph_module.recompile()


def _write_program(program, part: Part, path: Path, told: dict[str, str], opset: None) -> Callable:
    with writing(path):
        torch.export.save(program, path, extra_files={"dface.json": json.dumps(told)})
    return torch.export.load(path).module()


def _write_onnx(program, part: Part, path: Path, told: dict[str, str], opset: int | None) -> Callable:
    import onnxruntime

    names = dict(input_names=[part.input_name], output_names=list(part.outputs))
    batch = ({0: torch.export.Dim("batch")},)
    try:
        converted = torch.onnx.export(
            program, dynamic_shapes=batch, opset_version=opset, dynamo=True, verbose=False, **names
        )
    except Exception as error:  # noqa: BLE001
        raise ExportError(f"{part.name}: torch cannot write it as ONNX: {_first_line(error)}") from error
    converted.model.metadata_props.update(told)
    for node in converted.model.graph:
        node.metadata_props.clear()
    with writing(path):
        converted.save(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the classes of onnxruntime have no public base
        raise ExportError(f"{part.name}: onnxruntime cannot read it: {_first_line(error)}") from error
    feed = part.input_name
    return lambda given: [torch.from_numpy(found) for found in session.run(None, {feed: given.numpy()})]


def compare(part: Part, run: Callable) -> tuple[dict[str, float], float | None]:
    """Compare what a file says with what the model says, on `BATCHES` of examples.

    Args:
        part: With the model.
        run: Maps an input to the file's outputs, in the order of the part's.

    Returns:
        Output of floats -> largest absolute difference, over the clips whose ids are equal (infinite where
        one of the two is no number); and the share of equal ids, None without ids.
    """
    differences: dict[str, float] = {}
    equal = []
    for batch in BATCHES:
        given = part.example(batch)
        pairs = list(zip(part.outputs, part.module(given), run(given), strict=True))
        same = torch.ones(batch, dtype=torch.bool)
        for _, expected, found in pairs:
            if not expected.is_floating_point():
                equal.append((expected == found).flatten())
                same &= (expected == found).all(dim=1)
        for name, expected, found in pairs:
            if expected.is_floating_point():
                apart = (expected - found)[same].abs().nan_to_num(torch.inf)
                differences[name] = max(differences.get(name, 0.0), apart.max().item() if same.any() else 0.0)
    return differences, torch.cat(equal).float().mean().item() if equal else None


def refuse_difference(path: Path, differences: dict, equal_ids: float | None, tolerance: float) -> None:
    """Raise an ExportError if a file is too far from its model."""
    if equal_ids is not None and equal_ids < EQUAL_IDS:
        raise ExportError(f"{path}: only {equal_ids:.1%} of its action ids are the model's; not written")
    name, largest = max(differences.items(), key=lambda item: item[1])
    if largest > tolerance:
        raise ExportError(
            f"{path}: its {name} differ from the model's by {largest:.2g}, more than the tolerance of "
            f"{tolerance:g}; not written"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's word on each operator of libraries that are not there."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    """The first line of the innermost error: torch wraps the reason in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

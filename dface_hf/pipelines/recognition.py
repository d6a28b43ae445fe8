"""The pipeline task `micro-expression-recognition`: a clip in, its events with tokens and emotions out."""

from collections.abc import Iterator, Sequence
from types import GeneratorType
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import BatchFeature, Pipeline

from dface_hf.faces import ClipEvents, FaceEvent, Stabilised, find_clip_events
from dface_hf.models import DFaceTokenizerConfig

CLIP_OPTIONS = (
    "onset",
    "apex",
    "offset",
    "fps",
    "detector",
    "faces",
    "kinds",
    "sensitivity",
    "size",
    "stabilised",
)


class MicroExpressionRecognitionPipeline(Pipeline):
    """Recognise micro-expressions in clips.

    Example:

    ```python
    >>> import dface_hf
    >>> from transformers import pipeline
    >>> recognise = pipeline("micro-expression-recognition", model=dface_hf.DEFAULT_CHECKPOINT)
    >>> result = recognise("clip.mp4")  # doctest: +SKIP
    >>> result["events"][0]["label"]  # doctest: +SKIP
    'surprise'

    ```

    Call it on one clip, or on a list, generator or dataset of clips. A clip is a video file, a folder of
    numbered images, an array (frames, height, width, 3) or a list of frames (arrays or PIL images). Options:
    those of `dface_hf.faces.find_clip_events` (`size` and `stabilised` as `crop_options` tells by default),
    `batch_size` (events that go through the model at once), `explain` (True; False leaves `explanation` out)
    and `return_images` (adds `onset_image` and `apex_image`, the aligned crops, and `decoded_motion` and
    `saliency` of `dface_hf.analysis.explanation` to each event, and `score` and `threshold`, the spotting
    curve, to the clip).

    Each result is `{"path", "fps", "frames", "events", "warnings"}`; an event has `onset`, `apex`, `offset`
    (frames), `onset_s`, `apex_s`, `offset_s` (seconds), `label`, `scores` (class -> probability),
    `action_ids` (16), `attention` (16, sums to 1), `similarities` (described class -> cosine), `explanation`
    (`tokens`, `action_units`, `sentence` and `agreement` of
    [`~dface_hf.analysis.explanation.Explanation`]; sides are the person's), `box` (x, y, width, height;
    pixels), `confidence` and `stabilisation` (what was taken out of the apex frame, or None).
    """

    _load_image_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    # Of the models it takes; `pipeline` itself would load any video classifier.
    system, model_types = "D-FACE", ("dface", "dface_tokenizer")

    def __init__(self, *args, batch_size: int | None = None, **kwargs):
        # Not the batching of the base class: a clip has any number of events, and those are what is batched.
        if batch_size is not None:
            kwargs["events_per_batch"] = _checked_batch_size(batch_size)
        super().__init__(*args, **kwargs)
        if self.model.config.model_type not in self.model_types:
            told = f"{self.model.name_or_path}: a {self.model.config.model_type!r} model"
            raise ValueError(f"{told}, not of {self.system}; give one of {self.system}")

    def __call__(self, inputs: Any, **kwargs) -> dict | list[dict] | Iterator[dict]:
        """Analyse one clip, or each clip of several.

        Args:
            inputs: A clip; a list of clips; or a generator or dataset of clips.
            kwargs: Options, as told above; they hold for all clips.

        Returns:
            The result of the clip, a list of results, or, for a generator or dataset, an iterator over them.

        Raises:
            ClipError: If a clip cannot be used; the message names it.
        """
        batch_size = kwargs.pop("batch_size", None)
        if batch_size is not None:
            kwargs["events_per_batch"] = _checked_batch_size(batch_size)
        if isinstance(inputs, (GeneratorType, Dataset)):
            return super().__call__(inputs, **kwargs)
        many = isinstance(inputs, (list, tuple)) and not (len(inputs) > 0 and _is_frame(inputs[0]))
        if many and not inputs:
            return []
        results = list(super().__call__(list(inputs) if many else [inputs], **kwargs))
        return results if many else results[0]

    def _sanitize_parameters(
        self,
        events_per_batch: int | None = None,
        return_images: bool | None = None,
        explain: bool | None = None,
        **kwargs,
    ):
        unknown = set(kwargs) - set(CLIP_OPTIONS)
        if unknown:
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {', '.join(CLIP_OPTIONS)}, "
                            "batch_size, explain and return_images")  # fmt: skip
        forward = {"events_per_batch": events_per_batch, "explain": explain}
        forward = {name: value for name, value in forward.items() if value is not None}
        return kwargs, forward, {} if return_images is None else {"return_images": return_images}

    def preprocess(self, clip: Any, **options) -> dict[str, Any]:
        found = find_clip_events(clip, **crop_options(self.model.config.tokenizer_config) | options)
        pairs = [[event.onset_image, event.apex_image] for event in found.events]
        inputs = self.image_processor(pairs, return_tensors="pt") if pairs else BatchFeature()
        return {"clip": found, **inputs}

    def _forward(
        self, inputs: dict[str, Any], events_per_batch: int = 32, explain: bool = True
    ) -> dict[str, Any]:
        forwarded = {"clip": inputs["clip"], "outputs": [], "explanations": []}
        if "pixel_values" not in inputs:
            return forwarded
        # Left in float32 whatever the model computes in: in bfloat16 a light pixel has steps of a grey level.
        for batch in inputs["pixel_values"].split(events_per_batch):
            output = self.model(pixel_values=batch)
            forwarded["outputs"].append(output)
            if explain and output.get("action_ids") is not None and output.logits.isfinite().all():
                start = len(forwarded["explanations"])
                events = inputs["clip"].events[start : start + len(batch)]
                forwarded["explanations"] += self._explanations(batch[:, 0], output, events)
        return forwarded

    def _explanations(self, onsets: torch.Tensor, output, events: Sequence[FaceEvent]) -> list[Any]:
        """An `Explanation` of each event of a batch."""
        from dface_hf.analysis.explanation import explain, measured_motion  # not needed to import the package

        flows = measured_motion((event.onset_image, event.apex_image) for event in events)
        return explain(self.model, onsets, output.action_ids, output.logits.argmax(dim=-1), flows)

    def postprocess(self, forwarded: dict[str, Any], return_images: bool = False) -> dict[str, Any]:
        clip: ClipEvents = forwarded["clip"]
        result = {"path": clip.path, "fps": float(clip.fps), "frames": int(clip.frames)}
        rows = [row for output in forwarded["outputs"] for row in self._rows(output)]
        told = forwarded["explanations"] or [None] * len(rows)
        rows = [
            row if why is None else row | {"explanation": why.plain}
            for row, why in zip(rows, told, strict=True)
        ]
        result["events"] = [describe_event(event, row) for event, row in zip(clip.events, rows, strict=True)]
        result["warnings"] = list(clip.warnings)
        if return_images:
            result |= {"score": clip.score, "threshold": clip.threshold}
            for event, found, why in zip(result["events"], clip.events, told, strict=True):
                event |= {"onset_image": found.onset_image, "apex_image": found.apex_image}
                if why is not None and why.motion is not None:
                    event |= {"decoded_motion": why.motion, "saliency": why.saliency}
        return result

    def _rows(self, output) -> list[dict[str, Any]]:
        """What the model says of each event of a batch."""
        if not torch.isfinite(output.logits).all():
            raise ValueError(f"{self.model.name_or_path}: the model gives NaN; its weights are damaged")
        config = self.model.config
        names = [label for _, label in sorted(config.id2label.items())]
        scores = output.logits.float().softmax(-1).tolist()
        weights = output.pooling_attention.float()
        weights = (weights / weights.sum(-1, keepdim=True)).tolist()  # in bf16 they sum to 1 within 1e-2 only
        cosines = output.get("similarities")  # the pipeline drops fields that are None
        cosines = [[]] * len(scores) if cosines is None else cosines.float().tolist()
        return [
            {
                "label": names[max(range(len(names)), key=scores[k].__getitem__)],
                "scores": _rounded(dict(zip(names, scores[k], strict=True))),
                "action_ids": ids,
                "attention": [round(weight, 5) for weight in weights[k]],
                "similarities": _rounded(dict(zip(config.anchor_labels, cosines[k], strict=True))),
            }
            for k, ids in enumerate(output.action_ids.tolist())
        ]


def crop_options(tokenizer: DFaceTokenizerConfig) -> dict[str, Any]:
    """Crops for a tokenizer unless the user says otherwise: no smaller than it reads them, and
    stabilised unless it is the published implementation, whose pairs were not."""
    return {"size": max(128, tokenizer.image_size), "stabilised": not tokenizer.reference_compat}


def describe_event(event: FaceEvent, read: dict[str, Any]) -> dict[str, Any]:
    """The result of an event, in plain numbers: when and where it is, and what the model read in it."""
    seconds = zip(("onset_s", "apex_s", "offset_s"), event.seconds, strict=True)
    return {
        "onset": int(event.onset),
        "apex": int(event.apex),
        "offset": int(event.offset),
        **{name: round(float(second), 4) for name, second in seconds},
        **read,
        "box": [round(float(value), 1) for value in event.box],
        "confidence": round(float(event.confidence), 4),
        "stabilisation": _describe_stabilisation(event.stabilisation),
    }


def _describe_stabilisation(report: Stabilised | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "applied": bool(report.applied),
        "shift_px": [round(float(value), 3) for value in report.shift_px],
        "rotation_deg": round(float(report.rotation_deg), 3),
        "scale": round(float(report.scale), 4),
        "gain": round(float(report.gain), 4),
        "agreement": round(float(report.agreement), 3),
    }


def _checked_batch_size(batch_size: int) -> int:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    return batch_size


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


def _is_frame(item: Any) -> bool:
    """Whether an item of a list is one frame of a clip (image or array), not a clip of its own."""
    if hasattr(item, "convert"):
        return True
    return getattr(item, "ndim", 0) == 2 or (getattr(item, "ndim", 0) == 3 and item.shape[-1] in (1, 3, 4))


__all__ = ["MicroExpressionRecognitionPipeline", "crop_options", "describe_event"]

"""The pipeline task `micro-expression-recognition`: a clip in, its events with tokens and emotions out."""

from typing import Any

from transformers import BatchFeature, Pipeline

from dface_hf.faces import ClipEvents, FaceEvent, find_clip_events

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

    Call it on one clip or a list of clips; a clip is a video file, a folder of numbered images, or an array
    (frames, height, width, 3). Options: those of `dface_hf.faces.find_clip_events`, `batch_size` (events that
    go through the model at once) and `return_images` (adds `onset_image` and `apex_image`, the aligned crops,
    to each event, and `score` and `threshold`, the spotting curve, to the clip).

    Each result is `{"path", "fps", "frames", "events", "warnings"}`; an event has `onset`, `apex`, `offset`
    (frames), `onset_s`, `apex_s`, `offset_s` (seconds), `label`, `scores` (class -> probability),
    `action_ids` (16), `attention` (16, sums to 1), `similarities` (described class -> cosine), `box` (x, y,
        width, height), `confidence`
    and `stabilisation` (what was taken out of the apex frame, or None).
    """

    _load_image_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, **kwargs) -> dict | list[dict]:
        """Analyse one clip, or each clip of a list.

        Raises:
            ClipError: If a clip cannot be used; the message names it.
        """
        batch_size = kwargs.pop("batch_size", None)
        if batch_size is not None:
            if batch_size < 1:
                raise ValueError(f"batch_size must be at least 1, not {batch_size}")
            kwargs["events_per_batch"] = batch_size
        single = not isinstance(inputs, list) or (len(inputs) > 0 and _is_frame(inputs[0]))
        results = list(super().__call__([inputs] if single else inputs, **kwargs))
        return results[0] if single else results

    def _sanitize_parameters(self, events_per_batch: int = 32, return_images: bool = False, **kwargs):
        unknown = set(kwargs) - set(CLIP_OPTIONS)
        if unknown:
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {', '.join(CLIP_OPTIONS)}, "
                            "batch_size and return_images")  # fmt: skip
        return kwargs, {"events_per_batch": events_per_batch}, {"return_images": return_images}

    def preprocess(self, clip: Any, **options) -> dict[str, Any]:
        found = find_clip_events(clip, **options)
        pairs = [[event.onset_image, event.apex_image] for event in found.events]
        inputs = self.image_processor(pairs, return_tensors="pt") if pairs else BatchFeature()
        return {"clip": found, **inputs}

    def _forward(self, inputs: dict[str, Any], events_per_batch: int) -> dict[str, Any]:
        if "pixel_values" not in inputs:
            return {"clip": inputs["clip"], "outputs": []}
        batches = inputs["pixel_values"].to(self.model.dtype).split(events_per_batch)
        return {"clip": inputs["clip"], "outputs": [self.model(pixel_values=batch) for batch in batches]}

    def postprocess(self, forwarded: dict[str, Any], return_images: bool) -> dict[str, Any]:
        clip: ClipEvents = forwarded["clip"]
        result = {"path": clip.path, "fps": clip.fps, "frames": clip.frames}
        rows = [row for output in forwarded["outputs"] for row in self._rows(output)]
        result["events"] = [
            describe_event(event, clip.fps) | row for event, row in zip(clip.events, rows, strict=True)
        ]
        result["warnings"] = list(clip.warnings)
        if return_images:
            result |= {"score": clip.score, "threshold": clip.threshold}
            for event, found in zip(result["events"], clip.events, strict=True):
                event |= {"onset_image": found.onset_image, "apex_image": found.apex_image}
        return result

    def _rows(self, output) -> list[dict[str, Any]]:
        """What the model says of each event of a batch."""
        config = self.model.config
        probabilities = output.logits.float().softmax(-1).tolist()
        attention = output.pooling_attention.float().tolist()
        similarities = output.similarities
        similarities = [[]] * len(probabilities) if similarities is None else similarities.float().tolist()
        names = [label for _, label in sorted(config.id2label.items())]
        rows = []
        for scores, ids, weights, cosines in zip(
            probabilities, output.action_ids.tolist(), attention, similarities, strict=True
        ):
            best = max(range(len(names)), key=scores.__getitem__)
            rows.append(
                {
                    "label": names[best],
                    "scores": _rounded(dict(zip(names, scores, strict=True))),
                    "action_ids": ids,
                    "attention": [round(weight, 5) for weight in weights],
                    "similarities": _rounded(dict(zip(config.anchor_labels, cosines, strict=True))),
                }
            )
        return rows


def describe_event(event: FaceEvent, fps: float) -> dict[str, Any]:
    """The part of an event's result that does not need a model."""
    described = {"onset": event.onset, "apex": event.apex, "offset": event.offset}
    names = ("onset_s", "apex_s", "offset_s")
    described |= {name: round(second, 4) for name, second in zip(names, event.seconds, strict=True)}
    described["box"] = [round(value, 1) for value in event.box]
    described["confidence"] = round(float(event.confidence), 4)
    described["stabilisation"] = None
    if (report := event.stabilisation) is not None:
        described["stabilisation"] = {
            "applied": bool(report.applied),
            "shift_px": [round(float(value), 3) for value in report.shift_px],
            "rotation_deg": round(float(report.rotation_deg), 3),
            "scale": round(float(report.scale), 4),
            "gain": round(float(report.gain), 4),
        }
    return described


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


def _is_frame(item: Any) -> bool:
    """Whether an item of a list is one frame of a clip (image or array), not a clip of its own."""
    if hasattr(item, "convert"):
        return True
    return getattr(item, "ndim", 0) == 2 or (getattr(item, "ndim", 0) == 3 and item.shape[-1] in (1, 3))


__all__ = ["MicroExpressionRecognitionPipeline", "describe_event"]

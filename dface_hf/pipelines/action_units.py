"""The pipeline task `action-unit-detection`: a clip in, the action units of its events out, apex unknown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import BatchFeature

from dface_hf.faces import ClipError, ClipEvents, FrameSource, find_clip_events, open_frames
from dface_hf.faces.event_crops import event_crops
from dface_hf.faces.events import MAX_SIDE
from dface_hf.models.ac4au.image_processing_ac4au import sample_frames

from .recognition import MicroExpressionRecognitionPipeline

UNIT_OPTIONS = (
    "onset",
    "offset",
    "whole_clip",
    "events",
    "fps",
    "detector",
    "faces",
    "kinds",
    "sensitivity",
    "size",
)


class ActionUnitDetectionPipeline(MicroExpressionRecognitionPipeline):
    """Detect the action units of a clip's events.

    Example:

    ```python
    >>> import dface_hf
    >>> from transformers import pipeline
    >>> detect = pipeline("action-unit-detection", model=dface_hf.AC4AU_CHECKPOINT)  # doctest: +SKIP
    >>> result = detect("clip.mp4")  # doctest: +SKIP
    >>> result["events"][0]["active"]  # doctest: +SKIP
    ['AU1', 'AU2']

    ```

    Clips, lists of clips and the options `fps`, `detector`, `faces`, `kinds`, `sensitivity` and `batch_size`
    are those of the recognition pipeline. The events are those that are spotted, unless the clip's are given:
    `onset` and `offset` (frames) for one event, `whole_clip=True` for a clip that is cut out already, or
    `events`, a list of dictionaries with `onset`, `offset` and `box`, such as the recognition pipeline gives.
    `size` is the side of the aligned crops, `return_images=True` adds those that were read to each event as
    `images`. Frames are taken evenly from onset to offset and aligned by one similarity, from the onset.

    Each result is `{"path", "fps", "frames", "events", "warnings"}`; an event has `onset`, `offset` (frames),
    `onset_s`, `offset_s` (seconds), `frames_read` (indices), `action_units` (unit -> probability), `active`
    (units of at least the checkpoint's `unit_threshold`), `box` (x, y, width, height; pixels) and
    `confidence` (of the spotting). Events that were given come back with `frames_read`, `action_units` and
    `active` added.
    """

    system, model_types = "AC4AU", ("ac4au",)

    def _sanitize_parameters(
        self, events_per_batch: int | None = None, return_images: bool | None = None, **kwargs
    ):
        unknown = set(kwargs) - set(UNIT_OPTIONS)
        if unknown:
            known = ", ".join((*UNIT_OPTIONS, "batch_size", "return_images"))
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {known}")
        ways = [name for name in ("onset", "whole_clip", "events") if _is_given(kwargs.get(name))]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are given; choose one way to say where the events are")
        if (kwargs.get("onset") is None) != (kwargs.get("offset") is None):
            raise ValueError("onset and offset go together: give both, or none to have events spotted")
        if kwargs.get("onset") is not None and not 0 <= kwargs["onset"] < kwargs["offset"]:
            told = f"onset {kwargs['onset']} and offset {kwargs['offset']}"
            raise ValueError(f"{told} are not in order; frames count from 0")
        forward = {} if events_per_batch is None else {"events_per_batch": events_per_batch}
        return kwargs, forward, {} if return_images is None else {"return_images": return_images}

    def preprocess(
        self,
        clip: Any,
        onset: int | None = None,
        offset: int | None = None,
        whole_clip: bool = False,
        events: Sequence[Mapping[str, Any]] | None = None,
        fps: float | None = None,
        size: int | None = None,
        **spotting,
    ) -> dict[str, Any]:
        frames = open_frames(clip, fps=fps, max_side=MAX_SIDE)
        if whole_clip:
            onset, offset = 0, _last_frame(frames)
        if events is None:
            found = find_clip_events(clip, onset, offset, offset, fps=fps, stabilised=False, **spotting)
            result, events = _described(found)
        else:
            result, events = _given(frames), [_checked(event, number) for number, event in enumerate(events)]
        config = self.model.config
        size = size or max(128, config.image_size)
        for event in events:
            start, stop = event["onset"], event["offset"]
            event["frames_read"] = sample_frames(stop + 1, config.num_frames, start, stop)
            event["images"] = event_crops(frames, event["box"], event["frames_read"], size)
        crops = [event["images"] for event in events]
        inputs = self.image_processor(crops, return_tensors="pt") if crops else BatchFeature()
        return {"clip": result | {"events": events}, **inputs}

    def _forward(self, inputs: dict[str, Any], events_per_batch: int = 8) -> dict[str, Any]:
        batches = inputs["pixel_values"].split(events_per_batch) if "pixel_values" in inputs else ()
        return {"clip": inputs["clip"], "outputs": [self.model(pixel_values=batch) for batch in batches]}

    def postprocess(self, forwarded: dict[str, Any], return_images: bool = False) -> dict[str, Any]:
        clip = forwarded["clip"]
        rows = [row for output in forwarded["outputs"] for row in self._rows(output)]
        for event, row in zip(clip["events"], rows, strict=True):
            event |= row
            if not return_images:
                del event["images"]
        return clip

    def _rows(self, output) -> list[dict[str, Any]]:
        """Scores of each event of a batch."""
        if not torch.isfinite(output.logits).all():
            raise ValueError(f"{self.model.name_or_path}: the model gives NaN; its weights are damaged")
        config = self.model.config
        names = [label for _, label in sorted(config.id2label.items())]
        rows = []
        for scores in output.logits.float().sigmoid().tolist():
            units = dict(zip(names, (round(score, 5) for score in scores), strict=True))
            active = [
                name for name, score in zip(names, scores, strict=True) if score >= config.unit_threshold
            ]
            rows.append({"action_units": units, "active": active})
        return rows


def with_action_units(
    recognise: Callable[..., dict[str, Any]], detect: ActionUnitDetectionPipeline
) -> Callable[..., dict[str, Any]]:
    """The recognition pipeline for one clip at a time, whose events have `action_units`, too.

    Args:
        recognise: The recognition pipeline.
        detect: Reads the units of the events that the other one finds.
    """

    def analyse(clip: Any, **options) -> dict[str, Any]:
        result = recognise(clip, **options)
        if result["events"]:
            read = detect(clip, events=result["events"], fps=options.get("fps"))
            for event, units in zip(result["events"], read["events"], strict=True):
                event["action_units"] = units["action_units"]
        return result

    return analyse


def _is_given(value: Any) -> bool:
    """Whether an option was chosen; the frame 0, which equals False, was."""
    return value is not None and value is not False


def _last_frame(frames: FrameSource) -> int:
    """By counting: a file may claim more frames than it has."""
    frames.read([0])  # a camera, which would never end, refuses this
    count = sum(1 for _ in frames)
    if count < 2:
        raise ClipError(frames.name, f"the clip has {count} frame", "action units need two or more")
    return count - 1


def _described(found: ClipEvents) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A clip and its events in plain numbers."""
    result = {"path": found.path, "fps": float(found.fps), "frames": int(found.frames), "events": []}
    events = [
        {
            "onset": int(event.onset),
            "offset": int(event.offset),
            "onset_s": round(float(event.seconds[0]), 4),
            "offset_s": round(float(event.seconds[2]), 4),
            "box": [round(float(value), 1) for value in event.box],
            "confidence": round(float(event.confidence), 4),
        }
        for event in found.events
    ]
    return result | {"warnings": list(found.warnings)}, events


def _given(frames: FrameSource) -> dict[str, Any]:
    """The result of a clip whose events are given."""
    count = frames.frame_count
    count = sum(1 for _ in frames) if count is None else count
    result = {"path": frames.name, "fps": float(frames.fps), "frames": int(count), "events": []}
    return result | {"warnings": list(frames.warnings)}


def _checked(event: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A copy of an event that was given."""
    if missing := {"onset", "offset", "box"} - set(event):
        raise ValueError(f"event {number} has no {sorted(missing)[0]}; it needs onset, offset and box")
    if not 0 <= event["onset"] <= event["offset"]:
        told = f"event {number}: onset {event['onset']} and offset {event['offset']}"
        raise ValueError(f"{told} are not in order; frames count from 0")
    return dict(event)


__all__ = ["ActionUnitDetectionPipeline", "with_action_units"]

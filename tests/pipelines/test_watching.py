"""A stream is analysed stretch by stretch; a recording stands in for the camera."""

import numpy as np
import pytest

from dface_hf.faces import Frame
from dface_hf.pipelines.loading import load_recogniser
from dface_hf.pipelines.watching import watch


def stream(images, fps=30.0, start=0.0):
    return (Frame(index, start + index / fps, image) for index, image in enumerate(images))


class Recorder:
    """Takes stretches as the pipeline does, and remembers their length and rate."""

    def __init__(self):
        self.seen = []

    def __call__(self, images, fps):
        self.seen.append((len(images), fps))
        return {"events": [], "warnings": []}


def test_stretches_cover_the_stream_once():
    recorder = Recorder()
    starts = [start for start, _ in watch(recorder, stream([None] * 100), window=1.0, seconds=60)]
    counts = [count for count, _ in recorder.seen]
    assert sum(counts) == 100 and len(counts) == 4 and all(31 <= count <= 32 for count in counts[:3])
    assert starts == pytest.approx([sum(counts[:k]) / 30 for k in range(4)])
    assert all(fps == pytest.approx(30) for _, fps in recorder.seen)


def test_the_stream_is_left_in_time():
    recorder, images = Recorder(), iter([None] * 1000)
    assert len(list(watch(recorder, stream(images), window=1.0, seconds=1.5))) == 2
    assert sum(count for count, _ in recorder.seen) == 46 and len(list(images)) == 1000 - 46


def test_a_stretch_without_a_face_is_told_and_the_next_one_analysed(checkpoint, portrait):
    recognise = load_recogniser(checkpoint)
    empty = np.full_like(portrait[0][:31], 90)
    results = [result for _, result in watch(recognise, stream([*empty, *portrait[0][30:75]]), 1.0, 2.4)]
    assert results[0]["events"] == [] and "no face found" in results[0]["warnings"][0]
    assert [event["label"] in event["scores"] for event in results[1]["events"]] == [True]

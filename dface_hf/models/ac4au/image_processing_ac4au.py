"""Image processor of AC4AU: clips of any length to `pixel_values` (batch, 8, 3, 112, 112) in [-1, 1]."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import ImageInput, PILImageResampling, SizeDict, make_nested_list_of_images
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType


def sample_frames(length: int, count: int = 8, onset: int = 0, offset: int | None = None) -> list[int]:
    """Choose frames evenly from onset to offset, both included; the last one is repeated when they are few.

    Args:
        length: Frames of the clip.
        count: Frames to choose.
        onset: Index of the first frame to choose.
        offset: Index of the last one; that of the clip when not given.

    Returns:
        `count` rising indices, of which the first is `onset`.

    Raises:
        ValueError: Not 0 <= onset <= offset < length.
    """
    offset = length - 1 if offset is None else offset
    if not 0 <= onset <= offset < length:
        raise ValueError(
            f"onset {onset}, offset {offset} must satisfy 0 <= onset <= offset < {length}, the frames"
        )
    span = offset - onset
    if span + 1 <= count:
        return [min(onset + index, offset) for index in range(count)]
    return [onset + (2 * index * span + count - 1) // (2 * (count - 1)) for index in range(count)]


class AC4AUImageProcessorKwargs(ImagesKwargs, total=False):
    """
    num_frames (`int`):
        Frames that are chosen from a clip.
    """

    num_frames: int


class AC4AUImageProcessor(PilBackend):
    """Choose frames of clips, resize and normalise them. Faces must be cropped already.

    Frames are taken evenly from the onset to the offset of an event, so that no apex is needed.

    Example:

    ```python
    >>> import numpy as np
    >>> from dface_hf import AC4AUImageProcessor
    >>> clip = np.zeros((50, 128, 128, 3), np.uint8)
    >>> tuple(AC4AUImageProcessor()(clip, onsets=10, return_tensors="pt").pixel_values.shape)
    (1, 8, 3, 112, 112)

    ```
    """

    valid_kwargs = AC4AUImageProcessorKwargs
    model_input_names = ["pixel_values"]
    resample = PILImageResampling.BILINEAR
    size = {"height": 112, "width": 112}
    num_frames = 8
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    image_mean = [0.5, 0.5, 0.5]
    image_std = [0.5, 0.5, 0.5]

    def __init__(self, **kwargs: Unpack[AC4AUImageProcessorKwargs]):
        super().__init__(**kwargs)

    def preprocess(
        self,
        images: ImageInput,
        onsets: int | Sequence[int] | None = None,
        offsets: int | Sequence[int] | None = None,
        **kwargs: Unpack[AC4AUImageProcessorKwargs],
    ) -> BatchFeature:
        """Prepare one clip or a batch of clips.

        Args:
            images: A clip: a list of frames, or an array (frames, height, width, 3) or (frames, 3, height,
                width); or a list of clips. Frames are PIL pictures, uint8, or float in [0, 1]; grey or RGB.
            onsets: Index of each clip's onset frame; the first frame when not given.
            offsets: Index of each clip's offset frame; the last frame when not given.
            kwargs: Options of the processor, such as `size`, `num_frames` or `return_tensors`.

        Returns:
            `pixel_values` (batch, num_frames, 3, height, width) float32 in [-1, 1].

        Raises:
            ValueError: No clip, no frames, a frame that is no picture, or an onset or offset outside a clip.
        """
        clips = [images] if _is_clip(images) else list(images)
        if not clips or not all(_is_clip(clip) for clip in clips):
            raise ValueError("give a clip (a list of frames, or an array of 4 dimensions) or a list of clips")
        count = kwargs.get("num_frames") or self.num_frames
        limits = zip(clips, _each(onsets, len(clips), 0), _each(offsets, len(clips), None), strict=True)
        chosen = [
            [clip[index] for index in sample_frames(len(clip), count, onset, offset)]
            for clip, onset, offset in limits
        ]
        return super().preprocess(chosen, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> ImageInput:
        clips = [[_to_uint8(frame) for frame in clip] for clip in images]
        return make_nested_list_of_images(clips, expected_ndims=expected_ndims)

    def _preprocess(
        self,
        images: list[list[np.ndarray]],
        do_resize: bool,
        size: SizeDict,
        resample: "PILImageResampling | None",
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | list[float] | None,
        image_std: float | list[float] | None,
        return_tensors: str | TensorType | None,
        **kwargs,
    ) -> BatchFeature:
        def prepare(image: np.ndarray) -> np.ndarray:
            if do_resize and image.shape[-2:] != (size.height, size.width):
                image = self.resize(image, size, resample)
            image = self.rescale(image, rescale_factor) if do_rescale else image
            image = self.normalize(image, image_mean, image_std) if do_normalize else image
            return np.asarray(image, np.float32)

        pixel_values = np.stack([np.stack([prepare(frame) for frame in clip]) for clip in images])
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


def _is_frame(item) -> bool:
    return isinstance(item, PIL.Image.Image) or getattr(item, "ndim", 0) in (2, 3)


def _is_clip(item) -> bool:
    if isinstance(item, list | tuple):
        return len(item) > 0 and all(_is_frame(frame) for frame in item)
    return getattr(item, "ndim", 0) == 4 and len(item) > 0


def _each(values, count: int, default) -> list:
    """One value for each clip."""
    values = [default] * count if values is None else values
    values = [int(values)] if isinstance(values, int | np.integer) else list(values)
    if len(values) != count:
        raise ValueError(f"{len(values)} onsets or offsets for {count} clips; give one each")
    return values


def _to_uint8(frame) -> np.ndarray:
    """Bring a frame to uint8 RGB: float frames in [0, 1] are scaled, grey ones replicated."""
    if isinstance(frame, PIL.Image.Image):
        return np.asarray(frame.convert("RGB"))
    frame = np.asarray(frame)
    if frame.dtype.kind == "f":
        if frame.size and (not np.isfinite(frame).all() or frame.min() < -1e-3 or frame.max() > 1 + 1e-3):
            raise ValueError("a float frame must be finite and in [0, 1]; give uint8 for 0 to 255")
        frame = np.rint(frame.clip(0, 1) * 255).astype(np.uint8)
    if frame.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8, or float in [0, 1], not {frame.dtype}")
    frame = frame[..., None] if frame.ndim == 2 else frame
    axis = -1 if frame.shape[-1] in (1, 3) else 0
    if frame.shape[axis] not in (1, 3):
        raise ValueError(f"a frame of shape {frame.shape}; expected (height, width, 3) or (3, height, width)")
    return np.repeat(frame, 3, axis=axis) if frame.shape[axis] == 1 else frame


__all__ = ["AC4AUImageProcessor", "sample_frames"]

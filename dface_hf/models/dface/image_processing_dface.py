"""Image processor of D-FACE: aligned pairs to `pixel_values` (batch, 2, 3, height, width) in [0, 1]."""

import numpy as np
import PIL.Image
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import ImageInput, PILImageResampling, SizeDict, make_nested_list_of_images
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType


class DFaceImageProcessor(PilBackend):
    """Resize and rescale onset/apex pairs. Faces must be aligned already; brightness is matched inside the
    model.

    Example:

    ```python
    >>> import numpy as np, dface_hf
    >>> from transformers import AutoImageProcessor
    >>> processor = AutoImageProcessor.from_pretrained(dface_hf.DEFAULT_CHECKPOINT)
    >>> onset = apex = np.zeros((200, 200, 3), np.uint8)
    >>> tuple(processor([onset, apex], return_tensors="pt").pixel_values.shape)
    (1, 2, 3, 128, 128)

    ```
    """

    model_input_names = ["pixel_values"]
    resample = (
        PILImageResampling.BILINEAR
    )  # PIL's bilinear filter averages when it shrinks, so it does not alias
    size = {"height": 128, "width": 128}
    do_resize = True
    do_rescale = True
    do_normalize = False
    do_convert_rgb = True

    def __init__(self, **kwargs: Unpack[ImagesKwargs]):
        super().__init__(**kwargs)

    def preprocess(self, images: ImageInput, **kwargs: Unpack[ImagesKwargs]) -> BatchFeature:
        """Prepare one pair `[onset, apex]` or a batch of pairs.

        Args:
            images: Each frame a PIL image, or an array or tensor (height, width, 3), (3, height, width) or
                grey (height, width); uint8, or float in [0, 1].
            kwargs: Options of the processor, such as `size` or `return_tensors`.

        Returns:
            `pixel_values` (batch, 2, 3, height, width) float32 in [0, 1].

        Raises:
            ValueError: If an item is not a pair of frames or a frame is no image.
        """
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> ImageInput:
        if _is_frame(images[0]) and len(images) == 2:
            images = [images]
        images = [[_to_uint8(frame) for frame in pair] for pair in images]
        sizes = [len(pair) for pair in images if len(pair) != 2]
        if sizes:
            raise ValueError(
                f"an onset/apex pair has two frames, got {sizes[0]}; give [onset, apex] for each clip"
            )
        return make_nested_list_of_images(images, expected_ndims=expected_ndims)

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

        pixel_values = np.stack([np.stack([prepare(frame) for frame in pair]) for pair in images])
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


def _is_frame(item) -> bool:
    return isinstance(item, PIL.Image.Image) or (hasattr(item, "ndim") and item.ndim in (2, 3))


def _to_uint8(frame) -> np.ndarray | PIL.Image.Image:
    """Bring a frame to uint8 RGB: float frames in [0, 1] are scaled, grey ones replicated."""
    if isinstance(frame, PIL.Image.Image):
        return np.asarray(frame.convert("RGB"))
    if not hasattr(frame, "ndim") or frame.ndim not in (2, 3):
        raise ValueError(
            f"a frame must be a PIL image or an array of 2 or 3 dimensions, not {type(frame).__name__}"
        )
    frame = np.asarray(frame)
    if frame.dtype.kind == "f":
        if frame.size and (not np.isfinite(frame).all() or frame.min() < -1e-3 or frame.max() > 1 + 1e-3):
            raise ValueError("a float frame must be finite and in [0, 1]; give uint8 for 0 to 255")
        frame = np.rint(frame.clip(0, 1) * 255).astype(np.uint8)
    if frame.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8, or float in [0, 1], not {frame.dtype}")
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=-1)
    elif frame.shape[-1] == 1:
        frame = np.repeat(frame, 3, axis=-1)
    elif frame.shape[0] == 1:
        frame = np.repeat(frame, 3, axis=0)
    return frame


__all__ = ["DFaceImageProcessor"]

"""Image processor of the flow baselines: flow to `pixel_values` (batch, channels, height, width)."""

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import ImageInput, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType


class FlowImageProcessorKwargs(ImagesKwargs, total=False):
    """
    num_channels (`int`):
        3 for u, v and optical strain; 2 for u and v.
    """

    num_channels: int


class FlowImageProcessor(PilBackend):
    """Flow from onset to apex, as a picture or as a field, to what the flow baselines read.

    A picture (`dface_hf.faces.flow_image`) is resized and divided by 255. A field is completed by its optical
    strain and resized, then each channel is stretched to the whole range, as STSTNet does: a field and the
    picture made of it give the same up to rounding.

    Example:

    ```python
    >>> import numpy as np
    >>> from dface_hf import FlowImageProcessor
    >>> processor = FlowImageProcessor()
    >>> tuple(processor(np.zeros((28, 28, 3), np.uint8), return_tensors="pt").pixel_values.shape)
    (1, 3, 28, 28)
    >>> tuple(processor(np.random.randn(2, 128, 128), return_tensors="pt").pixel_values.shape)
    (1, 3, 28, 28)

    ```
    """

    valid_kwargs = FlowImageProcessorKwargs
    model_input_names = ["pixel_values"]
    resample = PILImageResampling.BILINEAR
    size = {"height": 28, "width": 28}
    num_channels = 3
    do_resize = True
    do_rescale = True
    do_normalize = False
    do_convert_rgb = True

    def __init__(self, **kwargs: Unpack[FlowImageProcessorKwargs]):
        super().__init__(**kwargs)

    def preprocess(self, images: ImageInput, **kwargs: Unpack[FlowImageProcessorKwargs]) -> BatchFeature:
        """Prepare one flow or a list of them.

        Args:
            images: Pictures: PIL RGB, or uint8 (height, width, 3) or (3, height, width), red u, green v, blue
                strain. Or fields: floating point (2, height, width) or (height, width, 2), u to the right and
                v down in pixels.
            kwargs: Options of the processor, such as `size` or `return_tensors`.

        Returns:
            `pixel_values` (batch, num_channels, height, width) float32 in [0, 1].

        Raises:
            ValueError: For anything else, or a field that is not finite.
        """
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list[np.ndarray]:
        single = isinstance(images, PIL.Image.Image) or getattr(images, "ndim", 4) <= 3
        return [_channels_first(image) for image in ([images] if single else images)]

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_resize: bool,
        size: SizeDict,
        resample: "PILImageResampling | None",
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | list[float] | None,
        image_std: float | list[float] | None,
        num_channels: int,
        return_tensors: str | TensorType | None,
        **kwargs,
    ) -> BatchFeature:
        def prepare(image: np.ndarray) -> np.ndarray:
            if image.dtype != np.uint8:
                image = stretch(_resized_field(image, size) if do_resize else image)
            elif do_resize and image.shape[-2:] != (size.height, size.width):
                image = self.resize(image, size, resample)
            image = self.rescale(image, rescale_factor) if do_rescale else image
            image = self.normalize(image, image_mean, image_std) if do_normalize else image
            return np.asarray(image[:num_channels], np.float32)

        pixel_values = np.stack([prepare(image) for image in images])
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


def stretch(channels: np.ndarray) -> np.ndarray:
    """Stretch each channel of (channels, height, width) to 0..255; a constant one becomes 0."""
    low, high = (limit(channels, axis=(1, 2), keepdims=True) for limit in (np.min, np.max))
    spread = np.where(high - low > 1e-6, high - low, np.inf)
    return 255 * (channels - low) / spread


def with_strain(flow: np.ndarray) -> np.ndarray:
    """Add optical strain, sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), to a field (2, height, width)."""
    (u_y, u_x), (v_y, v_x) = np.gradient(flow[0]), np.gradient(flow[1])
    return np.stack([*flow, np.sqrt(u_x**2 + v_y**2 + 0.5 * (u_y + v_x) ** 2)])


def _resized_field(channels: np.ndarray, size: SizeDict) -> np.ndarray:
    shrinks = size.height < channels.shape[1]
    mode = {"mode": "area"} if shrinks else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(torch.from_numpy(channels)[None], (size.height, size.width), **mode)[0].numpy()


def _channels_first(image) -> np.ndarray:
    """A picture as uint8 (3, height, width); a field, with its strain, as float32 (3, height, width)."""
    if isinstance(image, PIL.Image.Image):
        image = image.convert("RGB")
    image = np.asarray(image)
    kind, channels = ("picture", 3) if image.dtype == np.uint8 else ("field", 2)
    if image.ndim != 3 or channels not in (image.shape[0], image.shape[2]) or image.dtype.kind not in "fu":
        raise ValueError(
            "expected a flow picture, uint8 (height, width, 3), or a flow field, floating point "
            f"(2, height, width); got {image.dtype} {image.shape}"
        )
    if image.shape[0] != channels or image.shape[2] == channels and image.shape[1] == image.shape[0]:
        image = image.transpose(2, 0, 1)
    if kind == "picture":
        return np.ascontiguousarray(image)
    if not np.isfinite(image).all():
        raise ValueError("a flow field must be finite; it holds NaN or infinity")
    return with_strain(image.astype(np.float32))


__all__ = ["FlowImageProcessor"]

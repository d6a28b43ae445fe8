"""The pipeline task `facial-action-transfer`: what one face does, done by other faces."""

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from transformers import BatchFeature, Pipeline

from dface_hf.faces import (
    ClipError,
    ClipEvents,
    FaceDetector,
    FaceEvent,
    align,
    fit_similarity,
    locate,
    make_detector,
    open_frames,
    optical_flow,
)
from dface_hf.faces.course import read_course
from dface_hf.faces.event_crops import similarity_in_box
from dface_hf.faces.events import MAX_SIDE
from dface_hf.faces.images import to_rgb
from dface_hf.faces.moving import MovingFace
from dface_hf.models import DFaceTokenizerModel

from .recognition import (
    CLIP_OPTIONS,
    MicroExpressionRecognitionPipeline,
    crop_options,
    describe_event,
)
from .transfer_refinement import refined

Tokens = Literal["all", "attended"]

STRONGEST = 3.0
"""Largest strength: a warp that is scaled further tears the picture."""

REFINE, MOST_STEPS = 2, 8
"""Steps of refinement, and the most: beyond, the motion fits the encoder and no longer the face."""

# The decoder predicts each patch by itself; without a blur of about a third of a patch, brows break where two
# patches meet. What the blur takes from the amplitude, a factor gives back (least squares).
BLUR = 0.35
# Tokens keep the length of a motion by its logarithm at best: on unseen synthetic faces the motion that a
# first dface-mini decoded reached .6 of the true one at 1 px of 128 and .26 at 4 px. So strength 1 is
# measured in the source, place by place: a window of 1/12 of a crop, up to three times the decoded motion.
# Noise makes least squares too small; the factor had the least error on other faces (motion of .2-3 px).
WINDOW, TOP_GAIN, SHRUNK = 1 / 12, 3.0, 1.15
RIDGE = 0.1  # share of the mean power at which a place follows the face as a whole
# Below this agreement the motion on other faces was off by .63 of its length, above it by .46.
LEAST_TOLD = 0.3


class FacialActionTransferPipeline(MicroExpressionRecognitionPipeline):
    """Replay the facial action of a clip on other faces.

    Example:

    ```python
    >>> import dface_hf
    >>> from transformers import pipeline
    >>> transfer = pipeline("facial-action-transfer", model=dface_hf.DEFAULT_CHECKPOINT)
    >>> result = transfer("clip.mp4", "face.jpg", strength=1.5)  # doctest: +SKIP
    >>> result["faces"][0]["image"]  # the apex, as large as face.jpg  # doctest: +SKIP
    >>> video = result["faces"][0]["motion"].frames(result["levels"])  # doctest: +SKIP

    ```

    The tokens of the clip's clearest event (of any length), or of the keyframes given, are decoded on the
    aligned face of each picture. Of the decoder's output only the flow is used: it is enlarged and moves the
    picture's own pixels, at its own size. What the flow of no action would be is taken off, so that null
    tokens leave a picture as it is. Tokens tell the pattern of a motion better than its size, so strength 1
    is the size, around each point of the face, that fits the optical flow of the source pair best. Wrinkles
    and teeth, which no warp makes, are not drawn.

    Options: `strength` (0 to 3, scales the motion), `tokens` ("all", or "attended": those below an even share
    of the classifier's attention are replaced by the null action), `refine` (gradient steps that make the
    result read as the source does, see [`~dface_hf.pipelines.transfer_refinement.refined`]; 2 by default, 0
    to 8), and those of the recognition pipeline.

    A result is `{"path", "fps", "frames", "event", "action_ids", "gain", "agreement", "levels", "faces",
    "warnings"}`: `event` is that of the recognition pipeline; `action_ids` are the tokens that were replayed;
    `gain` is what the decoded motion was multiplied by, on the whole, to be as large as the source's;
    `agreement` is the correlation of the motion that the tokens tell with the source's optical flow (low: the
    tokens do not describe what was seen); `levels` (T,) tells how far the action has gone, from onset to
    offset, at the clip's rate; each of `faces` has `path`, `image` (the apex: shape and type of the picture)
    and `motion`, a [`~dface_hf.faces.moving.MovingFace`] that is weaker than the others where full strength
    would fold the face over itself.
    """

    def __call__(self, clip: Any, faces: Any, **kwargs) -> dict[str, Any]:
        """Transfer the action of one clip.

        Args:
            clip: A video file, a folder of numbered images, an array or a list of frames.
            faces: One picture or a list of them: image file, PIL image, or array (H, W), (H, W, 3) or
                (H, W, 4), uint8 or float in [0, 1].
            kwargs: Options, as told above.

        Returns:
            The result, as told above.

        Raises:
            ClipError: If the clip or a picture cannot be used: no event, no face, unreadable.
            ValueError: For a strength, a choice of tokens or a number of steps that does not exist.
        """
        faces = list(faces) if isinstance(faces, (list, tuple)) else [faces]
        if not faces:
            raise ValueError("no face to transfer to; give one picture or more")
        return Pipeline.__call__(self, {"clip": clip, "faces": faces}, **kwargs)

    def _sanitize_parameters(
        self,
        strength: float | None = None,
        tokens: Tokens | None = None,
        refine: int | None = None,
        **kwargs,
    ):
        unknown = set(kwargs) - set(CLIP_OPTIONS)
        if unknown:
            known = ", ".join(("strength", "tokens", "refine", *CLIP_OPTIONS))
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {known}")
        if strength is not None and not 0 <= strength <= STRONGEST:
            raise ValueError(f"strength is {strength}; choose 0 (still) to {STRONGEST:g}")
        if tokens is not None and tokens not in get_args(Tokens):
            raise ValueError(f"tokens is {tokens!r}; choose {' or '.join(get_args(Tokens))}")
        if refine is not None and not 0 <= refine <= MOST_STEPS:
            raise ValueError(f"refine is {refine}; choose 0 (off) to {MOST_STEPS} steps")
        asked = {"tokens": tokens, "refine": refine}
        forward = {name: value for name, value in asked.items() if value is not None}
        return kwargs, forward, {} if strength is None else {"strength": strength}

    def preprocess(self, inputs: dict[str, Any], **options) -> dict[str, Any]:
        size = crop_options(self.model.config.tokenizer_config)["size"]
        detector = options.pop("detector", "haar")
        detector = make_detector(detector) if isinstance(detector, str) else detector
        targets = [_Target(face, number, detector, size) for number, face in enumerate(inputs["faces"])]
        options = {"kinds": ("micro", "macro"), "detector": detector} | options
        found = super().preprocess(inputs["clip"], **options)
        number = clearest(found["clip"])
        pair = found["pixel_values"][number : number + 1]
        onsets = self.image_processor([[t.crop, t.crop] for t in targets], return_tensors="pt")
        course = _course(inputs["clip"], found["clip"].events[number], options.get("fps"))
        return {
            "clip": found["clip"],
            "number": number,
            "targets": targets,
            "course": course,
            **BatchFeature({"pixel_values": pair, "onsets": onsets["pixel_values"][:, 0]}),
        }

    def _forward(
        self, inputs: dict[str, Any], tokens: Tokens = "all", refine: int = REFINE
    ) -> dict[str, Any]:
        pair, onsets = inputs.pop("pixel_values"), inputs.pop("onsets")
        read = self.model(pixel_values=pair)
        tokenizer = self.model.dface.tokenizer
        null = tokenizer.null_action_ids(pair[0, 0])
        ids = read.action_ids[0]
        fit = SourceFit.of(pair[0], decoded_flow(tokenizer, pair[:, 0], ids, null)[0])
        if tokens == "attended":
            attended = read.pooling_attention[0] * len(ids) >= read.pooling_attention[0].sum()
            ids = torch.where(attended, ids, null)
        flow = fit.gains[..., None] * decoded_flow(tokenizer, onsets, ids, null)
        if refine and any(ids):
            aim = tokenizer.action_vectors(pair)[0] * (ids != null)[:, None]
            flow = refined(tokenizer, onsets, flow.to(onsets.device), aim, refine)
        return inputs | {"outputs": [read], "ids": ids, "fit": fit, "flow": flow}

    def postprocess(self, forwarded: dict[str, Any], strength: float = 1.0) -> dict[str, Any]:
        clip, number, fit = forwarded["clip"], forwarded["number"], forwarded["fit"]
        (row,) = self._rows(forwarded["outputs"][0])
        warnings = list(clip.warnings)
        if any(forwarded["ids"]) and fit.agreement < LEAST_TOLD:
            told = f"the tokens tell little of the motion seen in the clip (agreement {fit.agreement:.2f})"
            warnings.append(f"{told}; the result may show something else, or nothing")
        motions = []
        for target, flow in zip(forwarded["targets"], forwarded["flow"].cpu().numpy(), strict=True):
            motion = MovingFace(target.image, target.similarity, flow)
            if strength > motion.most:
                told = f"strength {strength:g} would fold the face over itself; {motion.most:.2f} is used"
                warnings.append(f"{target.name}: {told}")
                motion = MovingFace(target.image, target.similarity, flow * (motion.most / strength))
            motions.append(motion)
        return {
            "path": clip.path,
            "fps": float(clip.fps),
            "frames": int(clip.frames),
            "event": describe_event(clip.events[number], row),
            "action_ids": forwarded["ids"].tolist(),
            "gain": round(fit.gain, 4),
            "agreement": round(fit.agreement, 4),
            "levels": strength * forwarded["course"],
            "faces": [
                {"path": target.name, "image": motion.at(strength), "motion": motion}
                for target, motion in zip(forwarded["targets"], motions, strict=True)
            ],
            "warnings": warnings,
        }


def clearest(clip: ClipEvents) -> int:
    """Which event of a clip stands out most.

    Raises:
        ClipError: There is none.
    """
    if not clip.events:
        fix = "name its frames (onset and apex, counted from 0), or raise the sensitivity"
        raise ClipError(clip.path, f"no event found in {clip.frames} frames", fix)
    return max(range(len(clip.events)), key=lambda number: clip.events[number].confidence)


def decoded_flow(
    tokenizer: DFaceTokenizerModel, onsets: torch.Tensor, ids: torch.Tensor, null: torch.Tensor
) -> torch.Tensor:
    """What tokens move on other faces, beyond what the null action does.

    Args:
        tokenizer: Its decoder has a warp head; with the pixel head, flow is measured between its pictures.
        onsets: (faces, 3, S, S) RGB in [0, 1].
        ids, null: (16,) tokens.

    Returns:
        (faces, S, S, 2) float32 backward flow in aligned units (half a crop is 1).
    """
    acting, still = (tokenizer.decode(onsets, some.expand(len(onsets), -1)) for some in (ids, null))
    if acting.flow is not None:
        flows = (acting.flow - still.flow).float().permute(0, 2, 3, 1).cpu().numpy()
    else:
        pairs = zip(_pictures(acting.reconstruction), _pictures(still.reconstruction), strict=True)
        flows = [optical_flow(*pair) for pair in pairs]
    smooth = np.stack([_smooth(np.ascontiguousarray(f), BLUR * tokenizer.config.patch_size) for f in flows])
    return torch.from_numpy(smooth) * (2 / onsets.shape[-1])


def _smooth(flow: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by `sigma` pixels, as large as before."""
    blurred = cv2.GaussianBlur(flow, (0, 0), sigma)
    return blurred * _factor(flow, blurred)


def _factor(flow: np.ndarray, pattern: np.ndarray) -> float:
    """How many times the pattern is in the flow, by least squares; 1 for a pattern that is nowhere."""
    power = float((pattern * pattern).sum())
    return float((flow * pattern).sum()) / power if power > 0 else 1.0


@dataclass(frozen=True)
class SourceFit:
    """How the motion that tokens tell fits the optical flow of the pair that they come from.

    Attributes:
        gains: (S, S) float32 factors of the decoded motion, 0 where the source does not move that way.
        gain: How much longer they make it on the whole.
        agreement: Correlation of decoded motion and flow, before the gains; 0 without motion.
    """

    gains: torch.Tensor
    gain: float
    agreement: float

    @classmethod
    def of(cls, pair: torch.Tensor, decoded: torch.Tensor) -> "SourceFit":
        """Fit the motion decoded on a pair's own onset.

        Args:
            pair: (2, 3, S, S) RGB in [0, 1].
            decoded: (S, S, 2) backward flow in aligned units.
        """
        onset, apex = _pictures(pair)
        # Dense inverse search came closest to the truth here.
        flow = cv2.GaussianBlur(optical_flow(apex, onset, "dis"), (0, 0), len(onset) / 64) * (2 / len(onset))
        pattern = decoded.cpu().numpy()
        along, power = (flow * pattern).sum(-1), (pattern * pattern).sum(-1)
        overall = _factor(flow, pattern)
        near_along, near_power = (cv2.GaussianBlur(x, (0, 0), WINDOW * len(onset)) for x in (along, power))
        ridge = RIDGE * float(power.mean()) + 1e-12
        gains = (near_along + ridge * overall) / (near_power + ridge)
        gains = (SHRUNK * gains).clip(0, TOP_GAIN).astype(np.float32)
        length = np.linalg.norm(pattern)
        agreement = float(along.sum()) / (float(length * np.linalg.norm(flow)) + 1e-12)
        gain = float(np.linalg.norm(pattern * gains[..., None]) / length) if length else 1.0
        return cls(torch.from_numpy(gains), gain, agreement)


def _pictures(batch: torch.Tensor) -> np.ndarray:
    return batch.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def _course(source: Any, event: FaceEvent, fps: float | None) -> np.ndarray:
    """How the event unfolds, measured in the clip."""
    frames = open_frames(source, fps=fps, max_side=MAX_SIDE)
    onset = frames.read([event.onset])[event.onset].image
    similarity = similarity_in_box(onset, [value * frames.scale for value in event.box])
    return read_course(frames, similarity, event.onset, event.apex, event.offset)


class _Target:
    """A picture, where its face is, and the aligned crop."""

    def __init__(self, face: Any, number: int, detector: FaceDetector, size: int) -> None:
        named = isinstance(face, (str, os.PathLike))
        self.name = os.fspath(face) if named else f"face {number}"
        self.image = read_picture(face, self.name)
        rgb = to_rgb(self.image, self.name)
        faces = detector.detect(rgb)
        if not faces:
            fix = "give a picture with one frontal face, 40 px or larger, with some room around it"
            raise ClipError(self.name, "no face found in the picture", fix)
        self.similarity = fit_similarity(*locate(rgb, faces[0]))
        self.crop = align(rgb, self.similarity, size)


def read_picture(face: Any, name: str) -> np.ndarray:
    """Any picture in its own colours, upright: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8.

    Raises:
        ClipError: It cannot be read, or is no picture; the message names it.
    """
    if isinstance(face, (str, os.PathLike)):
        face = _opened(os.fspath(face))
    if isinstance(face, Image.Image):
        if face.mode.startswith("I") or face.mode == "F":
            return to_rgb(face, name)[..., 0]
        clear = face.mode in ("LA", "PA") or "transparency" in face.info
        return np.array(
            face if face.mode in ("L", "RGB", "RGBA") else face.convert("RGBA" if clear else "RGB")
        )
    array = np.asarray(face)
    rgb = to_rgb(array, name)  # checks it, and brings it to uint8
    if array.ndim == 2 or array.shape[2] == 1:
        return np.ascontiguousarray(rgb[..., 0])
    return array.copy() if array.dtype == np.uint8 else rgb


def _opened(path: str) -> Image.Image:
    if not os.path.exists(path):
        raise ClipError(path, "no such file", "check the path")
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ClipError(path, "not a readable picture", "give a PNG, JPEG or another image file") from error


__all__ = ["FacialActionTransferPipeline", "SourceFit", "clearest", "decoded_flow", "read_picture"]

"""What tokens move on a face: the decoded motion, drawn, and applied to the whole picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dface_hf.faces import ClipError, align, fit_similarity, locate, make_detector
from dface_hf.faces.animation import square_around
from dface_hf.faces.images import to_rgb
from dface_hf.faces.moving import MovingFace
from dface_hf.faces.similarity import Similarity
from dface_hf.pipelines.transfer import decoded_flow, read_picture
from dface_hf.synthesis import TimeCourse, render_clip

from .engine import classifier, on_gpu

LARGEST = 1600  # pixels of a picture's longer side; larger ones are shrunk
CELLS = 8  # along one side of the grid in which motion is told and drawn as arrows
VIEW = 420  # pixels of the square around the face


@dataclass(frozen=True, eq=False)
class StillFace:
    """A picture with a face in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        similarity: Aligned coordinates -> pixels of the picture.
        crop: (S, S, 3) uint8, the aligned face as the tokenizer reads it.
    """

    image: NDArray[np.uint8]
    similarity: Similarity
    crop: NDArray[np.uint8]

    @property
    def tensor(self) -> torch.Tensor:
        """The crop as (1, 3, S, S) in [0, 1]."""
        pixels = torch.from_numpy(self.crop.copy()).permute(2, 0, 1)[None].float() / 255
        return pixels.to(classifier().device)

    def square(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The square around the face in a picture of this size, (VIEW, VIEW, 3)."""
        centre = self.similarity([(0.0, 0.0)])[0]
        return square_around(image, centre, 1.15 * self.similarity.scale, VIEW)


def find_face(path: str) -> StillFace:
    """Read a picture and align its largest face.

    Raises:
        ClipError: It cannot be read, or shows no face.
    """
    image = to_rgb(read_picture(path, "picture"), "picture")
    shrink = LARGEST / max(image.shape[:2])
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    faces = make_detector("haar").detect(image)
    if not faces:
        fix = "give one with a frontal face, 40 px or larger, with some room around it"
        raise ClipError("picture", "no face found in the picture", fix)
    similarity = fit_similarity(*locate(image, faces[0]))
    size = classifier().dface.tokenizer.config.image_size
    return StillFace(image, similarity, align(image, similarity, size))


@torch.inference_mode()
def flows(face: StillFace, ids: list[list[int]]) -> torch.Tensor:
    """Motion of each of n actions on the face.

    Returns:
        (n, S, S, 2) backward flow in aligned units, beyond that of the null action.
    """
    tokenizer = classifier().dface.tokenizer
    onsets = face.tensor.expand(len(ids), -1, -1, -1)
    actions = torch.tensor(ids, device=onsets.device)
    return decoded_flow(tokenizer, onsets, actions, tokenizer.null_action_ids().to(onsets.device))


@torch.inference_mode()
def redrawn(face: StillFace, ids: list[int]) -> NDArray[np.uint8]:
    """The decoder's own picture of the action, (S, S, 3) uint8."""
    tokenizer = classifier().dface.tokenizer
    decoded = tokenizer.decode(face.tensor, torch.tensor([ids], device=tokenizer.device)).reconstruction
    return (decoded[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255 + 0.5).astype(np.uint8)


def moving(face: StillFace, flow: NDArray[np.float32]) -> MovingFace:
    """The picture with a motion (S, S, 2), backward flow in aligned units, that it can make."""
    return MovingFace(face.image, face.similarity, flow)


def arrows(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean motion of the cells of a grid over the aligned face.

    Returns:
        (CELLS, CELLS, 2): where skin goes, in pixels of a 128 px face, x to the right, y down.
    """
    return -64 * cv2.resize(flow, (CELLS, CELLS), interpolation=cv2.INTER_AREA)


@on_gpu
@torch.inference_mode()
def act_out(face: StillFace, units: dict[int, float]) -> list[int]:
    """Tokens of an expression that is put on the face by its action units (px of a 128 px face)."""
    course = TimeCourse(rise=0.1, hold=0.0, fall=0.1)
    frames, _ = render_clip(face.tensor[0].cpu(), units, course, fps=10, only=(0, 1))
    onset, apex = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div(255)[:, None]
    tokenizer = classifier().dface.tokenizer
    return tokenizer.encode(onset.to(tokenizer.device), apex.to(tokenizer.device))[0].tolist()

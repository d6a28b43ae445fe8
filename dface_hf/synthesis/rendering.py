"""How a face is seen: where each pixel of a frame comes from when the face acts and the head moves.

Positions go from a frame to the identity's picture in this order: head movement, action (backwards),
geometry, pose. A frame is therefore resampled once, whatever happens in it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .fields import ActionFields
from .nuisances import similarity

CAVITY = 0.8  # share of the light that is lost in the parted mouth


class Stage:
    """A batch of faces in place: pose, geometry, and what their action units do there.

    Args:
        fields: Motion, shading and lips of the action units, at the frames' size S.
        pose: (n, 2, 3) similarities from frame to picture; None for n = 1 in place.
        geometry: (n, 2, S, S) bending of the face in crop half-widths, or None.
    """

    def __init__(
        self, fields: ActionFields, pose: torch.Tensor | None = None, geometry: torch.Tensor | None = None
    ):
        self.fields, self.size = fields, fields.size
        self.pose = torch.eye(2, 3)[None] if pose is None else pose
        self.geometry = geometry
        axis = (torch.arange(self.size) + 0.5) * 2 / self.size - 1
        self.rest = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
        bend = 0 if geometry is None else geometry.permute(0, 2, 3, 1)
        self.here = transform(self.pose, (self.rest + bend).expand(len(self.pose), -1, -1, -1))
        self._turn = torch.linalg.inv(self.pose[:, :, :2])[..., None, None].unbind(1)

    def still(self, faces: torch.Tensor) -> torch.Tensor:
        """The frames (n, 3, S, S) in which nothing acts, of pictures (n, 3, R, R)."""
        return look(faces, self.here)

    def motion(self, weights: torch.Tensor) -> torch.Tensor:
        """Forward motion (n, 2, S, S) of the still frame's pixels under field weights (n, K), in crop
        half-widths."""
        field = torch.einsum("nk,kcyx->ncyx", weights, self.fields.displacement)
        x, y = look(field, self.here).unbind(1)
        return torch.stack([row[:, 0] * x + row[:, 1] * y for row in self._turn], 1)

    def acting(
        self,
        faces: torch.Tensor,
        weights: torch.Tensor,
        motion: torch.Tensor,
        camera: torch.Tensor,
        cavity: bool = True,
    ) -> torch.Tensor:
        """The frames in which the face has moved and the head has drifted.

        Args:
            faces: (n, 3, R, R) pictures.
            weights: (n, K) field weights that shade the skin and part the lips.
            motion: (n, 2, S, S) from :meth:`motion`.
            camera: (n, 4) shift x, y (px of 128), degrees, relative scale change.
            cavity: Paint the dark of the mouth where the lips part.

        Returns:
            (n, 3, S, S), not clamped.
        """
        seen = head_positions(camera, self.rest)
        there = self.on_face(seen + backward_shift(motion, seen))
        shade = torch.einsum("nk,kcyx->ncyx", weights, self.fields.shading)
        frames = look(faces, there) * torch.exp(look(shade, there))
        if cavity:
            frames = frames * (1 - CAVITY * look(self.fields.mouth_opening(weights), self.on_face(seen)))
        return frames

    def on_face(self, points: torch.Tensor) -> torch.Tensor:
        """Positions (n, S, S, 2) on the pictures of positions in the frames."""
        if self.geometry is not None:
            points = points + look(self.geometry, points).permute(0, 2, 3, 1)
        return transform(self.pose, points)


def head_positions(camera: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """Where in the undrifted frame (n, ..., 2) the points ``rest`` of frames with head movement ``camera``
    lie."""
    return transform(similarity(camera[:, :2], camera[:, 2], 1 + camera[:, 3]), rest)


def transform(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Affine maps (n, 2, 3) of points (S, S, 2) or (n, S, S, 2)."""
    x, y = points.unbind(-1)
    rows = matrix[..., None, None].unbind(1)
    return torch.stack([row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in rows], -1)


def look(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """An image (n, c, h, w) read at absolute positions (n, S, S, 2), bilinearly, its border continued."""
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def backward_shift(motion: torch.Tensor, points: torch.Tensor, iterations: int = 4) -> torch.Tensor:
    """Shift b with b(p) = -motion(p + b(p)): where the skin that is seen at the points has come from.

    Fixed-point iteration as in :func:`~dface_hf.synthesis.fields.warp_backward`, but at any points. Four
    rounds leave less than 0.01 px of 64 at micro amplitudes.

    Args:
        motion: (n, 2, S, S) forward motion.
        points: (n, h, w, 2) positions in [-1, 1].
        iterations: Rounds.

    Returns:
        (n, h, w, 2).
    """
    shift = -look(motion, points).permute(0, 2, 3, 1)
    for step in range(iterations):
        moved = -look(motion, points + shift).permute(0, 2, 3, 1)
        shift = moved if step < iterations - 2 else 0.5 * (shift + moved)
    return shift


def largest_motion(motion: torch.Tensor) -> torch.Tensor:
    """Largest length (n,) of the vectors of a motion field (n, 2, S, S)."""
    x, y = motion.unbind(1)
    return (x * x + y * y).amax((1, 2)).sqrt()

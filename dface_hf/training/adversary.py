"""What keeps the face out of the tokens: a critic that looks for it, and a gradient that runs backwards.

Domain-adversarial training (Ganin & Lempitsky 2015): a layer that passes values on and negates their gradient
lets the critic learn to find the face in the vectors, and the encoder to hide it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: torch.Tensor, strength: float) -> torch.Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(values: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """Return the values; their gradient comes back negated and times `strength`."""
    return _Reversed.apply(values, strength)


class FaceCritic(nn.Module):
    """Tell from the vectors of a pair which of two faces that did the same it shows; used in training only.

    A classifier over known identities would need their names, which videos do not have, and many pairs
    of each; and it would judge no face but those. This one sees both onset frames, so every batch asks
    it about faces of their own. Twins act alike: nothing but the face can give them away, and what the
    encoder is made to hide is no action.

    Args:
        num_features: Tokens times code dimension.
        width: Of the space in which vectors and faces are compared.
    """

    def __init__(self, num_features: int, width: int = 64):
        super().__init__()
        self.vector_reader = nn.Sequential(nn.Linear(num_features, 128), nn.GELU(), nn.Linear(128, width))
        convs = [nn.Conv2d(*channels, 3, stride=2, padding=1) for channels in ((3, 16), (16, 32), (32, 32))]
        layers = [layer for conv in convs for layer in (conv, nn.GELU())]
        self.face_reader = nn.Sequential(
            nn.AdaptiveAvgPool2d(32), *layers, nn.Flatten(), nn.Linear(32 * 4 * 4, width)
        )

    def forward(self, vectors: torch.Tensor, onset: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
        """Judge twins.

        Args:
            vectors: (batch, tokens, code_dim); pair i + batch / 2 does what pair i does, on another face.
            onset: (batch, 3, height, width) in [0, 1], the faces.
            strength: Of the reversed gradient that the vectors get.

        Returns:
            Mean cross-entropy of the choice between the own face and the twin's: log 2 where nothing gives
            it away.
        """
        told = self.vector_reader(reverse_gradient(vectors.float().flatten(1), strength))
        faces = self.face_reader(onset.float())
        margin = (told * (faces - faces.roll(len(faces) // 2, 0))).sum(dim=1) / math.sqrt(told.shape[1])
        return F.softplus(-margin).mean()

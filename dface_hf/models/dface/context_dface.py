"""The second, coarse codebook of the D-FACE tokenizer: what moves in a pair and is not facial action."""

import torch
from torch import nn

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .quantization_dface import DFaceQuantizer


class DFaceContext(nn.Module):
    """Read one or a few coarse tokens off the whole pair, and show them to the decoder beside the action.

    UniVLA (Bu et al. 2025) splits latent actions into task-irrelevant and task-centric ones by a codebook
    for each; what its text instructions tell apart there, known action tells apart here: the second codebook
    is taught by pairs in which nothing acts but head, light and camera (and by real videos, in which most of
    the motion is speech and head), and the other pairs only use it. The difference of the two frames' mean
    states is read by a map without bias: swapping the frames negates it, an identical pair gives code 0.

    Attributes:
        projection: Mean state to vectors.
        quantizer: The second codebook, with a running RMS of its own.
        decoding: Codes to what the decoder reads.
        nothing: What it reads of code 0.
    """

    def __init__(self, config: DFaceTokenizerConfig):
        super().__init__()
        self.tokens, self.code_dim = config.num_context_tokens, config.code_dim
        self.projection = nn.Linear(config.hidden_size, self.tokens * self.code_dim, bias=False)
        self.quantizer = DFaceQuantizer(config, config.context_codebook_size)
        self.decoding = nn.Linear(config.code_dim, config.hidden_size, bias=False)
        self.nothing = nn.Parameter(torch.empty(config.hidden_size))

    def vectors(
        self, states: torch.Tensor, track: bool = False, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map states of both frames (batch, 2, patches, hidden_size) to scaled vectors (batch, tokens,
        code_dim).

        Args:
            states: Of the encoder.
            track: Whether the running RMS follows the batch.
            taught: (batch,) pairs whose vectors have a gradient; all by default.
        """
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(self.projection.weight.dtype)
            found = self.projection((states[:, 1] - states[:, 0]).mean(dim=1))
        return self.quantizer.scale(_only(found.unflatten(1, (self.tokens, self.code_dim)), taught), track)

    def features(self, codes: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Return what the decoder reads of codes (batch, tokens, code_dim), code 0 without any: (batch,
        tokens, hidden_size)."""
        weight = self.decoding.weight
        if codes is None:
            codes = weight.new_zeros(batch, self.tokens, self.code_dim)
        return self.decoding(codes.to(weight.dtype)) + self.nothing

    def forward(
        self, states: torch.Tensor, track: bool = False, taught: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Quantise what states of both frames (batch, 2, patches, hidden_size) tell beside the action.

        Returns:
            `context_ids`, `context_vectors` and `context_codes` of [`DFaceTokenizerOutput`].
        """
        vectors = self.vectors(states, track, taught)
        codes, ids = self.quantizer(vectors)
        return {"context_ids": ids, "context_vectors": vectors, "context_codes": _only(codes, taught)}


def _only(values: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """The same values (batch, ...), with a gradient in some rows (batch,) only."""
    if rows is None:
        return values
    return torch.where(rows[:, None, None], values, values.detach())


__all__ = ["DFaceContext"]

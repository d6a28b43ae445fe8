"""The codebook of facial actions: noise-substitution vector quantisation with a pinned null code."""

import torch
from torch import nn

from .configuration_dface_tokenizer import DFaceTokenizerConfig
from .ranks_dface import copy_from_first, mean_over_ranks, normal_rows, num_ranks


class DFaceQuantizer(nn.Module):
    """Quantise action vectors against a small codebook.

    Training substitutes the quantisation error by random noise of the same length (NSVQ, Vali & Bäckström
    2022), so the gradient reaches encoder and codebook without a commitment loss. Code 0 is pinned at the
    zero vector: "nothing moves here". Vectors are divided by ONE persistent running RMS, never normalised one
    by one, so that the noise of a still face stays small beside real motion. With `reference_compat` neither
    is done.

    In a distributed run the batch is that of all processes: RMS, usage, noise and codebook are as if one
    process had seen it whole. As with a synchronised batch norm, all of them must then train in step.

    Args:
        config: Sizes and scaling.
        entries: Of the codebook; `codebook_size` by default.

    Attributes:
        mode: What training does: "continuous" passes vectors through (warm-up); "noise" substitutes noise;
            "hard" gives the codewords as inference does, for decoder and codebook to settle while the encoder
            rests; "straight" does the same and passes the gradient through to the encoder, which needs a
            commitment loss beside it. Not part of the saved state.
    """

    def __init__(self, config: DFaceTokenizerConfig, entries: int | None = None):
        super().__init__()
        entries = entries or config.codebook_size
        self.pinned = not config.reference_compat
        self.rms_momentum, self.null_radius = float(config.rms_momentum), float(config.null_radius)
        self.knee = float(config.length_knee)
        self.codebook = nn.Parameter(torch.empty(entries, config.code_dim))
        self.register_buffer("running_rms", torch.ones(()))
        self.register_buffer("usage", torch.zeros(entries))
        self.mode = "noise"

    def codes(self) -> torch.Tensor:
        """Return the codebook (codebook_size, code_dim) as it is used: entry 0 is zero unless
        `reference_compat`."""
        if not self.pinned:
            return self.codebook
        length = self.codebook.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        factor = (2 * self.null_radius / length).clamp_min(1)
        keep = torch.arange(len(self.codebook), device=self.codebook.device) > 0
        return self.codebook * torch.where(keep[:, None], factor, torch.zeros_like(factor))

    def scale(self, vectors: torch.Tensor, track: bool = False) -> torch.Tensor:
        """Divide (..., code_dim) by one scalar, the running RMS or the batch's own while it is tracked, and
        compress the lengths.

        In training the gradient goes through the batch's RMS. Against a constant, shrinking every vector
        would always pay (less quantisation noise), and the running RMS would follow it down to nothing. A
        batch of nothing but identical pairs has no RMS of its own: the running one stands in.
        """
        if not self.pinned:
            return vectors
        if not track:
            return self._compress(vectors / self.running_rms.clamp_min(1e-6).to(vectors.dtype))
        square = mean_over_ranks(vectors.float().pow(2).mean())
        # Clamped before the root, whose slope at zero is infinite.
        rms = torch.where(square > 1e-12, square.clamp_min(1e-12).sqrt(), self.running_rms.to(square.dtype))
        with torch.no_grad():
            self.running_rms.lerp_(rms.to(self.running_rms.dtype), 1 - self.rms_momentum)
        return self._compress(vectors / rms.to(vectors.dtype))

    def _compress(self, vectors: torch.Tensor) -> torch.Tensor:
        """Shorten each vector of length r to asinh(r / knee): linear for noise, logarithmic for motion.

        Without it most of the codebook goes to a few large motions, and the small ones fall to code 0.
        """
        if not self.knee:
            return vectors
        length = (vectors.float().pow(2).sum(dim=-1, keepdim=True) + 1e-12).sqrt()
        return vectors * (torch.asinh(length / self.knee) / length).to(vectors.dtype)

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the index (...) int64 of the entry nearest to each scaled vector (..., code_dim), by squared
        L2."""
        codes = self.codes().float()
        distance = (
            codes.pow(2).sum(-1) - 2 * vectors.float() @ codes.T
        )  # the vector's own norm does not matter
        return distance.argmin(dim=-1)

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantise scaled vectors.

        Args:
            vectors: (batch, tokens, code_dim), already scaled.

        Returns:
            Quantised vectors of the same shape, and their indices (batch, tokens) int64.
        """
        ids = self.nearest(vectors)
        if self.training:
            self._count(ids)
        codes = self.codes()[ids].to(vectors.dtype)
        if not self.training:
            return codes, ids
        if self.mode == "continuous":
            return vectors, ids
        if self.mode == "hard":
            return codes, ids
        if self.mode == "straight":
            return codes + (vectors - vectors.detach()), ids
        noise = normal_rows(vectors)
        error = (vectors - codes).norm(dim=-1, keepdim=True)
        noisy = vectors + error * noise / noise.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        if self.pinned:
            # Stillness is shown as exactly nothing, or the decoder would learn from what inference cannot
            # tell it; the gradient passes straight through, so that a motion worth seeing leaves the null
            # code's reach.
            noisy = torch.where(ids[..., None] == 0, vectors - vectors.detach(), noisy)
        return noisy, ids

    @torch.no_grad()
    def _count(self, ids: torch.Tensor) -> None:
        counts = torch.zeros_like(self.usage)
        counts.scatter_add_(0, ids.flatten(), torch.ones_like(ids.flatten(), dtype=counts.dtype))
        self.usage += num_ranks() * mean_over_ranks(counts)

    @torch.no_grad()
    def initialise_codebook(self, vectors: torch.Tensor, iterations: int = 20) -> None:
        """Set the free entries by k-means on scaled vectors (n, code_dim); entry 0 stays at zero.

        Of a distributed run every process gives the vectors of all (`gather_rows`).
        """
        vectors = self._moving(vectors)
        if len(vectors) < len(self.codebook):
            vectors = vectors[torch.randint(len(vectors), (len(self.codebook),), device=vectors.device)]
        centres = vectors[torch.randperm(len(vectors), device=vectors.device)[: len(self.codebook)]].float()
        for _ in range(iterations):
            self.codebook.copy_(centres)
            ids = self.nearest(vectors)
            total = torch.zeros_like(centres).index_add_(0, ids, vectors.float())
            count = torch.bincount(ids, minlength=len(centres))
            fresh = vectors[torch.randint(len(vectors), (len(centres),), device=vectors.device)].float()
            centres = torch.where(count[:, None] > 0, total / count[:, None].clamp_min(1), fresh)
        self.codebook.copy_(centres)
        self.codebook.copy_(self.codes())
        copy_from_first(self.codebook.data)
        self.usage.zero_()

    def _moving(self, vectors: torch.Tensor) -> torch.Tensor:
        """The vectors beyond the reach of the null code, or all where there are too few."""
        moving = vectors[vectors.norm(dim=-1) > self.null_radius] if self.pinned else vectors
        return moving if len(moving) >= len(self.codebook) else vectors

    @torch.no_grad()
    def revive(self, vectors: torch.Tensor, share: float = 0.1) -> int:
        """Replace entries used less than `share` of their fair part since the last call by recent vectors.

        Args:
            vectors: Recent scaled vectors (n, code_dim) to draw from, of all processes (`gather_rows`); a
                real jitter keeps the new entries distinct.
            share: Threshold as a share of the uniform usage.

        Returns:
            How many entries were replaced.
        """
        free = self.usage[1:] if self.pinned else self.usage  # stillness is common, and no entry's business
        dead = self.usage < share * free.mean()
        if self.pinned:
            dead[0] = False
        count = int(dead.sum())
        if count:
            vectors = self._moving(vectors)
            pick = vectors[torch.randint(len(vectors), (count,), device=vectors.device)].float()
            self.codebook[dead] = (pick + 0.05 * pick.std() * torch.randn_like(pick)).to(self.codebook.dtype)
            copy_from_first(self.codebook.data)
        self.usage.zero_()
        return count


def perplexity(ids: torch.Tensor, codebook_size: int) -> torch.Tensor:
    """Return exp(entropy) of the code frequencies in `ids`, a scalar between 1 and `codebook_size`."""
    counts = torch.zeros(codebook_size, device=ids.device).scatter_add_(
        0, ids.flatten(), torch.ones(ids.numel(), device=ids.device)
    )
    share = counts / counts.sum().clamp_min(1)
    return (-(share * share.clamp_min(1e-10).log()).sum()).exp()


__all__ = ["DFaceQuantizer", "perplexity"]

"""Statistics over all processes of a distributed run; without one, each function is about itself.

Row i of process r counts as row `i * processes + r` of the whole batch: that is how the rows of a batch are
dealt out, and it keeps pairs i and i + batch / 2 together where the number of processes divides batch / 2.
"""

import torch
import torch.distributed as dist


def num_ranks() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor over the processes, bitwise the same in each; the gradient goes to all of them."""
    ranks = num_ranks()
    return values if ranks == 1 else _Sum.apply(values) / ranks


@torch.no_grad()
def gather_rows(values: torch.Tensor) -> torch.Tensor:
    """Rows (n, ...) of every process, (n * processes, ...), in the order of the whole batch; no gradient."""
    ranks = num_ranks()
    if ranks == 1:
        return values
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(ranks)]
    dist.all_gather(parts, values.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def normal_rows(like: torch.Tensor) -> torch.Tensor:
    """Gaussian noise of the shape of `like` (n, ...): this process's rows of what one process would draw.

    The processes' generators must be in the same state, as after `accelerate.utils.set_seed`.
    """
    ranks = num_ranks()
    noise = torch.randn(ranks * len(like), *like.shape[1:], device=like.device, dtype=like.dtype)
    return noise if ranks == 1 else noise[dist.get_rank() :: ranks]


@torch.no_grad()
def copy_from_first(values: torch.Tensor) -> None:
    """Overwrite a tensor by that of the first process."""
    if num_ranks() > 1:
        dist.broadcast(values, src=0)


__all__ = ["copy_from_first", "gather_rows", "mean_over_ranks", "normal_rows", "num_ranks"]

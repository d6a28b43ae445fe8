"""Members of an ensemble in stacked tensors: one row of weights each, trained by an optimiser of torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from .stacked_layers import stackable


class MemberWeights(TorchFunctionMode):
    """Inside, a cross-entropy that a model weighs by class takes this member's weights."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is nn.functional.cross_entropy and kwargs.get("weight") is not None:
            kwargs["weight"] = self.weights
        return func(*args, **kwargs)


class Members:
    """Models of one architecture, their weights stacked.

    Trainable weights are rows of one matrix, so that a gradient norm, a copy or a checkpoint is one
    operation, and a row is one parameter of the optimiser. Weights that are frozen and the same in all
    models are kept once.

    Args:
        models: The members; they are not changed.

    Attributes:
        values: (members, weights), of the type of the weights.
        gradients: The same shape.
        buffers: Name -> (members, ...).
    """

    def __init__(self, models: Sequence[nn.Module]):
        self.template = stackable(models[0])
        named = [dict(model.named_parameters()) for model in models]
        trained = {name: value.shape for name, value in named[0].items() if value.requires_grad}
        self.values = torch.stack(
            [torch.cat([one[name].detach().flatten() for name in trained]) for one in named]
        )
        self.gradients = torch.zeros_like(self.values)
        sizes = [shape.numel() for shape in trained.values()]
        columns = self.values.split(sizes, dim=1)
        self.parameters = {
            name: column.unflatten(1, shape or (1,)).view(len(models), *shape).requires_grad_()
            for (name, shape), column in zip(trained.items(), columns, strict=True)
        }
        self._sizes = sizes
        frozen = [name for name in named[0] if name not in trained]
        self.shared = {name: named[0][name].detach() for name in frozen if _all_equal(named, name)}
        self.frozen = {
            name: torch.stack([one[name].detach() for one in named])
            for name in frozen
            if name not in self.shared
        }
        buffers = [dict(model.named_buffers()) for model in models]
        self.buffers = {name: torch.stack([one[name] for one in buffers]) for name in buffers[0]}

    def __len__(self) -> int:
        return len(self.values)

    def rows(self) -> list[nn.Parameter]:
        """One parameter a member, (weights,), that shares its memory with `values` and `gradients`."""
        rows = [nn.Parameter(row) for row in self.values]
        for row, gradient in zip(rows, self.gradients, strict=True):
            row.grad = gradient
        return rows

    def step(self, part: slice, inputs: dict[str, Tensor], labels: Tensor, class_weights: Tensor) -> Tensor:
        """Losses (part,) of some members, each on its own batch; their gradients are put into `gradients`.

        Args:
            part: The members.
            inputs: Name -> (part, batch, ...), what the model's forward takes.
            labels: (part, batch, ...).
            class_weights: (part, classes); they act where the model's configuration has class weights.
        """

        def loss(state, inputs, labels, weights):
            with MemberWeights(weights):
                kwargs = {**inputs, "labels": labels}
                return functional_call(self.template, {**state, **self.shared}, kwargs=kwargs).loss

        self.template.train()
        state = self._state(part)
        leaves = [state[name] for name in self.parameters]
        losses = vmap(loss, randomness="different")(state, inputs, labels, class_weights.to(self.values))
        found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        columns = self.gradients[part].split(self._sizes, dim=1)
        for column, gradient in zip(columns, found, strict=True):
            column.zero_() if gradient is None else column.copy_(gradient.flatten(1))
        return losses.detach()

    @torch.no_grad()
    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (members, batch, classes) in evaluation mode, of inputs (members, batch, ...)."""

        def forward(state, inputs):
            return functional_call(self.template, {**state, **self.shared}, kwargs=inputs).logits

        self.template.eval()
        return vmap(forward)(self._state(slice(None)), inputs)

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """The weights and buffers of one member, under the names of its model."""
        stacked = {**self.parameters, **self.frozen, **self.buffers}
        whole = {name: value[member].detach().clone() for name, value in stacked.items()}
        return whole | {name: value.clone() for name, value in self.shared.items()}

    def _state(self, part: slice) -> dict[str, Tensor]:
        leaves = {name: value.detach()[part].requires_grad_() for name, value in self.parameters.items()}
        return leaves | {name: value[part] for name, value in {**self.frozen, **self.buffers}.items()}


def _all_equal(named: list[dict[str, Tensor]], name: str) -> bool:
    return all(torch.equal(named[0][name], one[name]) for one in named[1:])

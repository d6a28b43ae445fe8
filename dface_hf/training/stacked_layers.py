"""Layers for many members of an ensemble at once: what `torch.func.vmap` does slowly, written out.

`vmap` turns every operation into its batched form, one by one. On a CPU that leaves most of the time in
copies: attention's joint projection, expanded weights, grouped convolutions, dropout. Here a layer is
handed the stacked tensors of all members, (members, batch, ...), and computes on them as suits it. The
values are those of the layers that are replaced; where products are done in bfloat16, they are rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

BFLOAT16_ONE = 0x3F80  # the bits of 1.0


class Stacked(torch.autograd.Function):
    """Inside `vmap`, call a function on the stacked tensors of all members, their axis first."""

    generate_vmap_rule = False

    @staticmethod
    def forward(function: Callable, *tensors):
        raise RuntimeError("stacked layers run inside torch.func.vmap only")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Nothing is kept: the gradient goes through what the function calls."""

    @staticmethod
    def vmap(info, in_dims, function, *tensors):
        """Bring the members' axis to the front, repeating what all members share."""
        sides = zip(tensors, in_dims[1:], strict=True)
        return function(*(_members_first(tensor, side, info.batch_size) for tensor, side in sides)), 0


def _members_first(tensor: Tensor | None, side: int | None, members: int) -> Tensor | None:
    if tensor is None:
        return None
    return tensor.expand(members, *tensor.shape) if side is None else tensor.movedim(side, 0)


class DropoutMasks:
    """Dropout masks, drawn for each member from a stream of its own.

    A member drops the same features whichever others it is trained with. PyTorch draws one number a feature,
    which takes longer than the layers' products do; here one 64-bit number decides on four features.

    Args:
        seeds: One for each member.
    """

    def __init__(self, seeds: Sequence[np.random.SeedSequence]):
        self.streams = [np.random.SFC64(seed) for seed in seeds]

    def __getitem__(self, part: slice) -> DropoutMasks:
        """The masks of some members, from the same streams."""
        masks = DropoutMasks(())
        masks.streams = self.streams[part]
        return masks

    def kept(self, shape: Sequence[int], share: float, dtype: torch.dtype) -> Tensor:
        """Return (members, ...): 0 with probability `share`, in steps of 1 / 65536, else 1."""
        mask = torch.empty(*shape, dtype=torch.int16)
        threshold = round(share * 65536) - 32768
        for row, stream in zip(mask.view(len(mask), -1), self.streams, strict=True):
            bits = torch.from_numpy(stream.random_raw((row.numel() + 3) // 4).view(np.int16))
            torch.ge(bits[: row.numel()], threshold, out=row)
        return mask.mul_(BFLOAT16_ONE).view(torch.bfloat16).to(dtype)


@dataclass
class _Settings:
    masks: DropoutMasks | None = None
    dtype: torch.dtype | None = None


_settings = _Settings()


@contextmanager
def stacked_settings(masks: DropoutMasks | None, dtype: torch.dtype | None = None):
    """Set where stacked layers take their dropout masks from, and in which type they multiply matrices and
    convolve; None stands for the type of the weights."""
    global _settings
    before, _settings = _settings, _Settings(masks, dtype)
    try:
        yield
    finally:
        _settings = before


class Product(torch.autograd.Function):
    """Rows times weights, in the type that is set for products."""

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, bias: Tensor | None, outer: torch.dtype | None) -> Tensor:
        dtype = _settings.dtype or weight.dtype
        ctx.types, ctx.biased = (rows.dtype, weight.dtype), bias is not None
        rows, weight = rows.to(dtype), weight.to(dtype)
        ctx.save_for_backward(rows, weight)
        if bias is None:
            return torch.bmm(rows, weight.mT).to(outer or dtype)
        return torch.baddbmm(bias[:, None].to(dtype), rows, weight.mT).to(outer or dtype)

    @staticmethod
    def backward(ctx, gradient):
        (rows, weight), (outer, master) = ctx.saved_tensors, ctx.types
        gradient = gradient.to(rows.dtype)
        bias = _sum_of_rows(gradient).to(master) if ctx.biased else None
        inner = torch.bmm(gradient, weight).to(outer) if ctx.needs_input_grad[0] else None
        return inner, torch.bmm(gradient.mT, rows).to(master), bias, None


class FeedForward(torch.autograd.Function):
    """Linear, ReLU, dropout, linear: what was dropped or negative is read off the one tensor that is kept."""

    @staticmethod
    def forward(ctx, rows, weight1, bias1, weight2, bias2, share: float, scale: float) -> Tensor:
        """`scale` multiplies the second product; dropout itself leaves what it keeps as it is."""
        ctx.outer, ctx.scale, dtype = rows.dtype, scale, _settings.dtype or rows.dtype
        rows, weight1, weight2 = rows.to(dtype), weight1.to(dtype), (weight2 * ctx.scale).to(dtype)
        hidden = torch.baddbmm(bias1[:, None].to(dtype), rows, weight1.mT).relu_()
        if share:
            hidden.mul_(_settings.masks.kept(hidden.shape, share, dtype))
        ctx.save_for_backward(rows, weight1, hidden, weight2)
        return torch.baddbmm(bias2[:, None].to(dtype), hidden, weight2.mT).to(ctx.outer)

    @staticmethod
    def backward(ctx, gradient):
        rows, weight1, hidden, weight2 = ctx.saved_tensors
        gradient = gradient.to(rows.dtype)
        weight2_gradient = torch.bmm(gradient.mT, hidden).to(ctx.outer) * ctx.scale
        inner = torch.bmm(gradient, weight2)
        torch.ops.aten.threshold_backward.grad_input(inner, hidden, 0, grad_input=inner)
        outer = torch.bmm(inner, weight1).to(ctx.outer)
        weight1_gradient = torch.bmm(inner.mT, rows).to(ctx.outer)
        bias1, bias2 = (_sum_of_rows(x).to(ctx.outer) for x in (inner, gradient))
        return outer, weight1_gradient, bias1, weight2_gradient, bias2, None, None


def _sum_of_rows(tensor: Tensor) -> Tensor:
    """(members, rows, width) -> (members, width), as a product: a sum of bfloat16 would be copied first."""
    return torch.bmm(tensor.new_ones(()).expand(len(tensor), 1, tensor.shape[1]), tensor)[:, 0]


def drop(states: Tensor, share: float, training: bool, shape: Sequence[int] | None = None) -> Tensor:
    """Dropout of stacked states; `shape` broadcasts one decision over several features."""
    if not training or not share:
        return states
    return states * _settings.masks.kept(shape or states.shape, share, states.dtype).mul_(1 / (1 - share))


def linear(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(members, ..., in), (members, out, in), (members, out) -> (members, ..., out)."""
    return Product.apply(states.flatten(1, -2), weight, bias, states.dtype).view(*states.shape[:-1], -1)


def layer_norm(states: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(members, ..., width) with scale and shift (members, width)."""
    scale, shift = (x.view(len(x), *(1,) * (states.ndim - 2), -1) for x in (weight, bias))
    return torch.addcmul(shift, F.layer_norm(states, states.shape[-1:], eps=eps), scale)


def convolution(states: Tensor, weight: Tensor, bias: Tensor | None, padding) -> Tensor:
    """One convolution a member: on a CPU faster than grouped, and than unfolding."""
    # Channels last saves reordering, but only where there are channels to fill a vector.
    last = torch.channels_last if min(weight.shape[1:3]) >= 16 else torch.contiguous_format
    outer, dtype = states.dtype, _settings.dtype or states.dtype
    biases = [None] * len(states) if bias is None else bias.to(dtype)
    sides = zip(states.to(dtype), weight.to(dtype), biases, strict=True)
    done = [
        F.conv2d(x.contiguous(memory_format=last), w.contiguous(memory_format=last), b, padding=padding)
        for x, w, b in sides
    ]
    return stack(done).to(outer)


def stack(members: list[Tensor]) -> Tensor:
    """`torch.stack`, without the copy where there is one member."""
    return torch.stack(members) if len(members) > 1 else members[0].unsqueeze(0)


def attention(qkv: Tensor, heads: int, share: float) -> Tensor:
    """Self-attention of (members, batch, tokens, 3 width) -> (members, batch x tokens, width).

    Dropped weights are 0; the others are NOT scaled up, which is left to the projection that follows.
    """
    members, batch, tokens, _ = qkv.shape
    split = qkv.view(members * batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = split.flatten(1, 2).unbind(0)  # each (members x batch x heads, tokens, head width)
    weights = (torch.bmm(query, key.mT) * query.shape[-1] ** -0.5).softmax(dim=-1)
    if share:
        weights = weights.view(members, -1, tokens, tokens)
        weights = (weights * _settings.masks.kept(weights.shape, share, qkv.dtype)).flatten(0, 1)
    attended = torch.bmm(weights, value).view(members, batch, heads, tokens, -1)
    return attended.transpose(2, 3).reshape(members, batch * tokens, -1)


def dropped_sum(states: Tensor, branch: Tensor, share: float) -> Tensor:
    """States plus what dropout leaves of a branch; what is left is NOT scaled up."""
    if not share:
        return states + branch
    return torch.addcmul(states, branch, _settings.masks.kept(branch.shape, share, branch.dtype))


def normed_product(norm: tuple, product: tuple) -> tuple[Tensor, Tensor]:
    """Scale and shift of a layer norm moved into the product behind: a change of weights, not of states."""
    (scale, shift), (weight, bias) = norm, product
    return weight * scale[:, None], torch.baddbmm(bias[..., None], weight, shift[..., None])[..., 0]


class Linear(nn.Linear):
    """`nn.Linear` on stacked tensors."""

    def forward(self, states):
        return Stacked.apply(linear, states, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` on stacked tensors."""

    def forward(self, states):
        return Stacked.apply(lambda *x: layer_norm(*x, self.eps), states, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` on stacked tensors."""

    def forward(self, states):
        return Stacked.apply(lambda *x: convolution(*x, self.padding), states, self.weight, self.bias)


class Dropout(nn.Dropout):
    """`nn.Dropout` on stacked tensors."""

    def forward(self, states):
        return Stacked.apply(lambda x: drop(x, self.p, self.training), states)


class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """`nn.TransformerEncoderLayer` on stacked tensors: pre-norm, batch first, ReLU, without masks."""

    def forward(self, states):
        block = self.self_attn
        tensors = [self.norm1.weight, self.norm1.bias, block.in_proj_weight, block.in_proj_bias]
        for part in (block.out_proj, self.norm2, self.linear1, self.linear2):
            tensors += [part.weight, part.bias]
        return Stacked.apply(self.stacked, states, *tensors)

    def stacked(self, states: Tensor, *tensors: Tensor) -> Tensor:
        """The layer on (members, batch, tokens, width) and its weights and biases, stacked."""
        norm1, joint, out, norm2, first, second = zip(tensors[::2], tensors[1::2], strict=True)
        shares = (self.self_attn.dropout, self.dropout1.p, self.dropout.p, self.dropout2.p)
        inner, after, hidden, last = shares if self.training else (0.0,) * 4
        rows = states.flatten(1, -2)
        normed = F.layer_norm(rows, rows.shape[-1:], eps=self.norm1.eps)
        qkv = Product.apply(normed, *normed_product(norm1, joint), states.dtype).view(*states.shape[:-1], -1)
        attended = attention(qkv, self.self_attn.num_heads, inner)
        weight, bias = out[0] / ((1 - inner) * (1 - after)), out[1] / (1 - after)
        rows = dropped_sum(rows, Product.apply(attended, weight, bias, rows.dtype), after)
        normed = F.layer_norm(rows, rows.shape[-1:], eps=self.norm2.eps)
        weight, bias, scale = second[0], second[1] / (1 - last), 1 / ((1 - hidden) * (1 - last))
        branch = FeedForward.apply(normed, *normed_product(norm2, first), weight, bias, hidden, scale)
        return dropped_sum(rows, branch, last).view(states.shape)


class Sequential(nn.Sequential):
    """`nn.Sequential` around convolutions on stacked tensors: all its layers for one member, then the next.

    What a member's convolution makes is read by its next layer while it is in the cache, nothing is stacked
    in between, and pictures lie channels last, which makes pooling several times as fast. Where convolutions
    are computed in bfloat16, what they make stays so through the layers that only choose from it.
    """

    def forward(self, states):
        tensors = [*self.parameters(), *self.buffers()]
        return Stacked.apply(self.stacked, states, *tensors)

    def stacked(self, states: Tensor, *tensors: Tensor) -> Tensor:
        """The layers on (members, batch, channels, height, width); running statistics change in place."""
        names = [name for name, _ in (*self.named_parameters(), *self.named_buffers())]
        masks, done = _settings.masks, []
        for number, (one, *own) in enumerate(zip(states, *tensors, strict=True)):
            with stacked_settings(masks and masks[number : number + 1], _settings.dtype):
                done.append(self._of_member(one, dict(zip(names, own, strict=True))).movedim(1, -1))
        return stack(done).movedim(-1, 2)

    def _of_member(self, states: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        outer, states = states.dtype, states.contiguous(memory_format=torch.channels_last)
        for name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d):
                states = states.to(_settings.dtype or outer)
            elif not isinstance(layer, nn.MaxPool2d | nn.ReLU):
                states = states.to(outer)
            if isinstance(layer, nn.Dropout | nn.Dropout2d):
                states = states.movedim(1, -1)[None]  # (1, batch, height, width, channels), as they lie
                whole = (*states.shape[:2], 1, 1, states.shape[-1])
                shape = whole if isinstance(layer, nn.Dropout2d) else states.shape
                states = drop(states, layer.p, self.training, shape)[0].movedim(-1, 1)
            else:
                start = f"{name}."
                own = {key[len(start) :]: x for key, x in tensors.items() if key.startswith(start)}
                if isinstance(layer, nn.Conv2d):
                    own = {key: x.to(states.dtype) for key, x in own.items()}
                states = functional_call(layer, own, (states,))
        return states.to(outer)


LAYERS = {
    layer.__base__: layer
    for layer in (Linear, LayerNorm, Conv2d, Dropout, TransformerEncoderLayer, Sequential)
}
ON_PICTURES = {nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout2d}


def stackable(model: nn.Module) -> nn.Module:
    """A copy of `model` whose layers run on stacked tensors inside `vmap`; what is not known here stays."""
    model = copy.deepcopy(model)
    _change(model)
    return model


def _change(module: nn.Module) -> None:
    if type(module) in LAYERS and _fits(module):
        module.__class__ = LAYERS[type(module)]
    if not isinstance(module, Sequential):  # its layers see one member at a time
        for child in module.children():
            _change(child)


def _fits(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        plain = (module.stride, module.dilation, module.groups, module.padding_mode)
        return plain == ((1, 1), (1, 1), 1, "zeros")
    if isinstance(module, nn.LayerNorm):
        return module.bias is not None and len(module.normalized_shape) == 1
    if isinstance(module, nn.Sequential):
        kinds = {type(layer) for layer in module}
        return bool(kinds & ON_PICTURES) and kinds <= ON_PICTURES | {nn.ReLU, nn.Dropout}
    if isinstance(module, nn.TransformerEncoderLayer):
        plain = module.norm_first and module.self_attn.batch_first and module.linear1.bias is not None
        return plain and module.activation_relu_or_gelu == 1
    return True

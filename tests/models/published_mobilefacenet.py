"""MobileFaceNet by the names of the published PyTorch port: a fabricated state dict, and what it computes."""

import torch
import torch.nn.functional as F

GROUPS = {"conv_23": 128, "conv_3": 128, "conv_34": 256, "conv_4": 256, "conv_45": 512, "conv_5": 256}
DEPTHS = {"conv_3": 4, "conv_4": 6, "conv_5": 2}


def published_state(embedding: int = 512, scale: int = 1, grid: int = 7, seed: int = 0) -> dict:
    """A state dict of random numbers; `scale` divides all widths."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 0.8 + 0.4 * torch.rand(width, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(width, generator=generator)
        state[f"{name}.running_mean"] = 0.2 * torch.randn(width, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, inputs: int, width: int, kernel: int, linear: bool = False) -> None:
        weight = torch.randn(width, inputs, kernel, kernel, generator=generator)
        state[f"{name}.conv.weight"] = weight / (inputs * kernel**2) ** 0.5
        norm(f"{name}.bn", width)
        if not linear:
            state[f"{name}.prelu.weight"] = 0.5 * torch.rand(width, generator=generator)

    def block(name: str, inputs: int, inner: int, width: int) -> None:
        conv(f"{name}.conv", inputs, inner, 1)
        conv(f"{name}.conv_dw", 1, inner, 3)
        conv(f"{name}.project", inner, width, 1, linear=True)

    first, second, head = 64 // scale, 128 // scale, 512 // scale
    conv("conv1", 3, first, 3)
    conv("conv2_dw", 1, first, 3)
    width = first
    for number, out in ((3, first), (4, second), (5, second)):
        down = f"conv_{number - 1}{number}"
        block(down, width, GROUPS[down] // scale, out)
        for index in range(DEPTHS[f"conv_{number}"]):
            block(f"conv_{number}.model.{index}", out, GROUPS[f"conv_{number}"] // scale, out)
        width = out
    conv("conv_6_sep", second, head, 1)
    conv("conv_6_dw", 1, head, grid, linear=True)
    state["linear.weight"] = torch.randn(embedding, head, generator=generator) / head**0.5
    norm("bn", embedding)
    return state


def published_embedding(state: dict, pictures: torch.Tensor) -> torch.Tensor:
    """What the port computes of pictures (n, 3, side, side) in [-1, 1]: unit vectors (n, embedding)."""

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        read = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *read)

    def conv(name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1] // weight.shape[1])
        x = norm(f"{name}.bn", x)
        slope = state.get(f"{name}.prelu.weight")
        return x if slope is None else torch.where(x > 0, x, slope[:, None, None] * x)

    def block(name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        inner = conv(f"{name}.conv_dw", conv(f"{name}.conv", x), stride, padding=1)
        return conv(f"{name}.project", inner)

    x = conv("conv2_dw", conv("conv1", pictures, stride=2, padding=1), padding=1)
    for number in (3, 4, 5):
        x = block(f"conv_{number - 1}{number}", x, stride=2)
        for index in range(DEPTHS[f"conv_{number}"]):
            x = x + block(f"conv_{number}.model.{index}", x, stride=1)
    x = conv("conv_6_dw", conv("conv_6_sep", x)).flatten(1)
    return F.normalize(norm("bn", x @ state["linear.weight"].T))

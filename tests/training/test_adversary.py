import math
from functools import cache

import pytest
import torch

from dface_hf.training import PretrainConfig
from dface_hf.training.adversary import FaceCritic, reverse_gradient


def leaking(seed: int, share: float, batch: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of twins (the same action) that tell how light the face is, and the faces."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.randn(batch // 2, 4, 8, generator=generator).repeat(2, 1, 1)
    light = torch.rand(batch, 1, 1, 1, generator=generator)
    vectors = action.index_add(2, torch.tensor([0]), share * 4 * (light[..., 0] - 0.5).expand(-1, 4, 1))
    return vectors, light.expand(-1, 3, 32, 32)


@cache
def trained(share: float) -> FaceCritic:
    torch.manual_seed(0)
    critic = FaceCritic(4 * 8, width=16)
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    for step in range(150):
        optimiser.zero_grad()
        critic(*leaking(step, share)).backward()
        optimiser.step()
    return critic


def test_the_critic_finds_a_face_that_shows_in_the_vectors_and_no_other():
    assert trained(1.0)(*leaking(10**6, 1.0, 512)).item() < 0.5
    assert trained(0.0)(*leaking(10**6, 0.0, 512)).item() > 0.95 * math.log(2)


def test_the_encoder_is_pushed_the_other_way():
    vectors, faces = leaking(0, 1.0)
    critic, found = trained(1.0), {}
    for strength in (-1.0, 0.5, 0.0):  # -1 reverses twice
        own = vectors.clone().requires_grad_()
        critic(own, faces, strength).backward()
        found[strength] = own.grad
    assert found[-1.0].abs().sum() > 0 and found[0.0].eq(0).all()
    torch.testing.assert_close(found[0.5], -0.5 * found[-1.0])
    with torch.no_grad():  # a step along it makes the face harder to find
        assert critic(vectors - 20 * found[0.5], faces) > critic(vectors, faces)


def test_the_values_pass_unchanged():
    values = torch.randn(3, 4)
    assert torch.equal(reverse_gradient(values), values)


def test_it_needs_twins():
    with pytest.raises(ValueError, match="adversary_weight is 0.3; it needs twins=True"):
        PretrainConfig(adversary_weight=0.3, twins=False)
    assert PretrainConfig().adversary_weight == 0

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from dface_hf.training.stacked_layers import DropoutMasks, stackable, stacked_settings

MEMBERS, BATCH, TOKENS, WIDTH, HEADS = 3, 5, 4, 8, 2
SHARES = {"attention": 0.4, "after": 0.3, "hidden": 0.2, "last": 0.1}


def seeds():
    return [np.random.SeedSequence(number) for number in range(MEMBERS)]


def stacked_forward(models, states, masks=None, dtype=None):
    parameters, buffers = stack_module_state(models)
    template = stackable(models[0])
    with stacked_settings(masks, dtype):
        call = vmap(lambda p, b, x: functional_call(template, (p, b), (x,)), randomness="different")
        return call(parameters, buffers, states), parameters


def encoder_layer():
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True, norm_first=True).double().train()
    layer.self_attn.dropout, layer.dropout1.p = SHARES["attention"], SHARES["after"]
    layer.dropout.p, layer.dropout2.p = SHARES["hidden"], SHARES["last"]
    for name, parameter in layer.named_parameters():
        if "norm" in name or "bias" in name:
            nn.init.normal_(parameter, mean=0.5)
    return layer


def layer_with_masks(layer, states, masks):
    """The same layer in the textbook's words; masks scaled by 1 / (1 - share), as dropout does."""

    def dropped(x, share):
        return x * masks.kept((1, *x.shape), share, x.dtype)[0] / (1 - share)

    block, rows = layer.self_attn, BATCH * TOKENS
    qkv = F.linear(layer.norm1(states), block.in_proj_weight, block.in_proj_bias)
    query, key, value = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in qkv.chunk(3, dim=-1))
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    weights = dropped(weights.flatten(0, 1), SHARES["attention"]).view_as(weights)
    attended = block.out_proj((weights @ value).transpose(1, 2).flatten(2)).view(rows, -1)
    states = states + dropped(attended, SHARES["after"]).view_as(states)
    hidden = dropped(layer.linear1(layer.norm2(states)).relu().view(rows, -1), SHARES["hidden"])
    return states + dropped(layer.linear2(hidden), SHARES["last"]).view_as(states)


def test_encoder_layer_with_dropout_is_the_textbooks():
    torch.manual_seed(0)
    layers = [encoder_layer() for _ in range(MEMBERS)]
    states = torch.randn(MEMBERS, BATCH, TOKENS, WIDTH, dtype=torch.double)
    found, stacked = stacked_forward(layers, states, DropoutMasks(seeds()))
    found.square().sum().backward()
    for number, layer in enumerate(layers):
        expected = layer_with_masks(layer, states[number], DropoutMasks(seeds()[number : number + 1]))
        torch.testing.assert_close(found[number], expected)
        expected.square().sum().backward()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(stacked[name].grad[number], parameter.grad, msg=name)


def test_channels_are_dropped_whole_and_features_one_by_one():
    states = torch.ones(MEMBERS, 6, 10, 3, 3)

    def dropped(*layers):
        models = [nn.Sequential(*layers).train() for _ in range(MEMBERS)]
        return stacked_forward(models, states, DropoutMasks(seeds()))[0]

    whole = dropped(nn.Dropout2d(0.5))
    assert set(whole.unique().tolist()) == {0, 2}
    assert (whole.amin(dim=(-2, -1)) == whole.amax(dim=(-2, -1))).all()
    assert not torch.equal(whole[0], whole[1])  # each member has masks of its own
    for single in (dropped(nn.Dropout(0.5)), dropped(nn.MaxPool2d(1), nn.Dropout(0.5))):
        assert set(single.unique().tolist()) == {0, 2}
        assert (single.amin(dim=(-2, -1)) != single.amax(dim=(-2, -1))).any()


def picture_layers():
    layers = [nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.BatchNorm2d(6), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Conv2d(6, 3, 2, stride=2), nn.AvgPool2d(2), nn.Dropout(0.0)).double()


@pytest.mark.parametrize("training", [True, False])
def test_layers_on_pictures_are_each_members_own(training):
    torch.manual_seed(0)
    models = [picture_layers().train(training) for _ in range(MEMBERS)]
    states = torch.randn(MEMBERS, BATCH, 4, 16, 16, dtype=torch.double)
    parameters, buffers = stack_module_state(models)
    template = stackable(models[0])
    found = vmap(lambda p, b, x: functional_call(template, (p, b), (x,)))(parameters, buffers, states)
    found.square().sum().backward()
    for number, model in enumerate(models):
        expected = model(states[number])
        torch.testing.assert_close(found[number], expected)
        expected.square().sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], parameter.grad, msg=name)
        for name, buffer in model.named_buffers():  # running statistics have moved, in training only
            torch.testing.assert_close(buffers[name][number], buffer, msg=name)
    assert bool(buffers["2.num_batches_tracked"].any()) == training


@pytest.mark.parametrize("make", [picture_layers, lambda: nn.Conv2d(4, 6, 3)])
def test_convolutions_in_bfloat16_round_and_change_no_type(make):
    torch.manual_seed(0)
    models = [make().float() for _ in range(MEMBERS)]
    states = torch.randn(MEMBERS, BATCH, 4, 16, 16)
    kinds, outputs, gradients = (None, torch.bfloat16), [], []
    for kind in kinds:
        found, parameters = stacked_forward(models, states, dtype=kind)
        outputs.append(found)
        gradients.append(torch.autograd.grad(found.square().mean(), list(parameters.values())))
    assert outputs[1].dtype == torch.float32 and not torch.equal(*outputs)
    torch.testing.assert_close(outputs[1], outputs[0], atol=0.05, rtol=0.05)
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32 and bool(rounded.any())
        assert (rounded - exact).norm() < 0.15 * exact.norm() + 1e-5  # rounding moves kinks, too


def test_what_is_not_known_stays_and_the_model_is_not_changed():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(100, 2))
    kinds = [type(module).__module__.split(".")[0] for module in stackable(model)]
    assert kinds == ["torch", "dface_hf", "torch", "dface_hf"]
    assert all(type(module).__module__.startswith("torch") for module in model)


def test_masks_have_their_share_and_are_a_members_own():
    masks = DropoutMasks([np.random.SeedSequence(seed) for seed in (1, 2, 1)])
    kept = masks.kept((3, 200, 333), 0.2, torch.float32)
    assert set(kept.unique().tolist()) == {0, 1}
    torch.testing.assert_close(kept.mean(dim=(1, 2)), torch.full((3,), 0.8), atol=5e-3, rtol=0)
    assert torch.equal(kept[0], kept[2]) and not torch.equal(kept[0], kept[1])
    again = DropoutMasks([np.random.SeedSequence(seed) for seed in (1, 2)])[1:]
    assert torch.equal(again.kept((1, 200, 333), 0.2, torch.bfloat16)[0].float(), kept[1])

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from dface_hf import (
    FlowImageProcessor,
    HTNetConfig,
    HTNetForImageClassification,
    OffApexNetConfig,
    OffApexNetForImageClassification,
    RCNAConfig,
    RCNAForImageClassification,
    SSSNetConfig,
    SSSNetForImageClassification,
    STSTNetConfig,
    STSTNetForImageClassification,
)
from dface_hf.faces import flow_image
from dface_hf.models.flow_baselines.modeling_htnet import from_blocks, tile_regions, to_blocks

SMALL_HTNET = dict(hidden_size=24, depths=(1, 1, 2))
FAMILY = {
    "off-apexnet": (OffApexNetConfig, OffApexNetForImageClassification, dict(dense_sizes=(64,))),
    "ststnet": (STSTNetConfig, STSTNetForImageClassification, {}),
    "rcn-a": (RCNAConfig, RCNAForImageClassification, dict(hidden_size=8)),
    "sssnet": (SSSNetConfig, SSSNetForImageClassification, dict(conv_channels=(4, 8), hidden_size=16)),
    "htnet": (HTNetConfig, HTNetForImageClassification, SMALL_HTNET),
}


def make(name, **options):
    config, model, small = FAMILY[name]
    torch.manual_seed(0)
    return model(config(**{"num_labels": 3, **small, **options}))


def pictures(model, count=6):
    size, channels = model.config.image_size, model.config.num_channels
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILY)
def test_a_saved_model_gives_the_same_logits(name, tmp_path):
    model = make(name)
    model(pictures(model))  # in training mode: moves the running statistics of batch norm
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model) and AutoConfig.from_pretrained(tmp_path).model_type == name
    assert torch.equal(model(pictures(model)).logits, loaded(pictures(model)).logits)


@pytest.mark.parametrize("name", FAMILY)
def test_overfits_a_handful_of_pictures(name):
    model = make(name, dropout=0.0)
    data, labels = pictures(model), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model(data, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 and (model(data).logits.argmax(-1) == labels).all()
    unused = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not unused


def test_published_sizes():
    models = {
        name: model(config(num_labels=3)) for name, (config, model, _) in FAMILY.items() if name != "htnet"
    }
    features = {name: model.classifier.in_features for name, model in models.items()}
    assert features == {"off-apexnet": 1024, "ststnet": 400, "rcn-a": 5 * 5 * 64, "sssnet": 256}
    assert models["off-apexnet"].dense[0].in_features == 2 * 7 * 7 * 16
    assert models["sssnet"].dense.in_features == 9 * 9 * 64
    two = make("off-apexnet", kernel_size=5, dense_sizes=(32, 32))
    assert two(pictures(two)).logits.shape == (6, 3)
    config = HTNetConfig()
    assert (config.grid_size, config.depths, config.hidden_size) == (4, (2, 2, 10), 256)


def test_off_apexnet_reads_u_and_v_with_streams_of_their_own():
    model = make("off-apexnet").eval()
    data = pictures(model)
    half = model.config.conv_channels[-1]
    before = model.streams(data)
    after = model.streams(torch.stack([data[:, 0], data[:, 1].flip(-1)], dim=1))
    assert torch.equal(before[:, :half], after[:, :half])  # the first stream sees u alone
    assert not torch.allclose(before[:, half:], after[:, half:])
    assert not torch.allclose(model(data).logits, model(data.flip(1)).logits)


def test_streams_computed_as_one_convolution_are_those_of_the_papers():
    """STSTNet's three parallel streams, joined; OFF-ApexNet's two, with ReLU before pooling."""
    model = make("ststnet").train()
    data, (convolution, _, norm, *_) = pictures(model), model.streams
    streams = []
    for part in torch.arange(16).split(list(model.config.stream_channels)):
        states = F.conv2d(data, convolution.weight[part], convolution.bias[part], padding=2).relu()
        states = F.batch_norm(states, None, None, norm.weight[part], norm.bias[part], training=True)
        streams.append(F.avg_pool2d(F.max_pool2d(states, 3, padding=1), 2))
    model.streams[4].p = 0.0
    torch.testing.assert_close(model.streams(data), torch.cat(streams, dim=1))

    model = make("off-apexnet").eval()
    data, streams = pictures(model), []
    for number in range(2):
        states = data[:, number : number + 1]
        for layer in (model.streams[0], model.streams[3]):
            part = slice(number * len(layer.weight) // 2, (number + 1) * len(layer.weight) // 2)
            states = F.conv2d(states, layer.weight[part], layer.bias[part], padding=layer.padding).relu()
            states = F.max_pool2d(states, 2)
        streams.append(states)
    torch.testing.assert_close(model.streams(data), torch.cat(streams, dim=1))


def test_class_weights_and_several_labels():
    model = make("ststnet", class_weights=(1.0, 2.0, 5.0)).eval()
    data, labels = pictures(model), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = F.cross_entropy(model(data).logits, labels, weight=torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(model(data, labels=labels).loss, expected)
    model = make("sssnet", problem_type="multi_label_classification", num_labels=4).eval()
    data, labels = pictures(model), torch.randint(0, 2, (6, 4))
    expected = F.binary_cross_entropy_with_logits(model(data).logits, labels.float())
    torch.testing.assert_close(model(data, labels=labels).loss, expected)


def test_rcn_attention_is_in_the_unit_range_and_without_parameters():
    model = make("rcn-a").eval()
    attention = model.attention(torch.randn(4, 8, 5, 5))
    assert attention.shape == (4, 1, 5, 5) and attention.min() >= 0 and attention.max() <= 1
    assert model.attention(torch.zeros(1, 8, 5, 5)).isfinite().all()
    assert not [key for key, _ in model.named_parameters() if "attention" in key]


def test_rcn_shares_weights_across_steps():
    one, four = make("rcn-a", recurrent_steps=1).eval(), make("rcn-a", recurrent_steps=4).eval()
    assert one.num_parameters() == four.num_parameters()
    assert not torch.allclose(one(pictures(one)).logits, four(pictures(four)).logits)


def test_htnet_tiles_four_crops_rows_from_y_and_columns_from_x():
    data = torch.arange(28 * 28.0).reshape(1, 1, 28, 28)
    centers = torch.tensor([[[7, 9], [20, 8], [0, 27], [16, 21]]])
    tiled = tile_regions(data, centers)[0, 0]
    starts = [(2, 0), (1, 13), (14, 0), (14, 9)]  # row, column; the third crop is moved inside
    for (row, column), (y, x) in zip(starts, [(0, 0), (0, 14), (14, 0), (14, 14)], strict=True):
        assert torch.equal(tiled[y : y + 14, x : x + 14], data[0, 0, row : row + 14, column : column + 14])


def test_htnet_blocks_do_not_mix_before_they_are_joined():
    model = make("htnet", patch_size=1, image_size=16, hidden_size=12, depths=(2, 1, 1), region_centers=None)
    data = pictures(model.eval(), 1)
    changed = data.clone()
    changed[..., :4, :4] = torch.rand(3, 4, 4)  # the first of 4 x 4 blocks of 4 x 4 patches
    first, second, _ = (a - b for a, b in zip(model.grids(data), model.grids(changed), strict=True))
    assert first[:, :4, :4].abs().min() > 0
    assert first[:, 4:].abs().max() == 0 and first[:, :, 4:].abs().max() == 0
    assert second[:, 2:4, 2:4].abs().min() > 0  # a block of the next level holds four of the one before


def test_blocks_are_put_back_where_they_were():
    grid = torch.randn(2, 8, 8, 3)
    assert torch.equal(from_blocks(to_blocks(grid, 4), 4), grid)
    assert torch.equal(to_blocks(grid, 4)[1, 0], grid[0, 0, 2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("htnet", {"patch_size": 5}, "grid of patches"),
        ("htnet", {"region_centers": ((0.1, 0.2),)}, "four pairs"),
        ("htnet", {"image_size": 21, "depths": (1,)}, "image_size 21 cannot be halved"),
        ("ststnet", {"class_weights": (1.0, 2.0)}, "2 class_weights for 3 classes"),
        ("ststnet", {"dropout": 1.0}, "dropout"),
        ("ststnet", {"problem_type": "regression"}, "problem_type"),
    ],
)
def test_wrong_configurations_are_refused(name, options, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", FAMILY)
def test_half_precision_takes_the_pictures_of_the_processor(name):
    model = make(name).eval()
    wanted, found = model(pictures(model)).logits, model.to(torch.bfloat16)(pictures(model)).logits
    assert found.dtype == torch.bfloat16 and torch.allclose(found.float(), wanted, atol=0.1)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, 2, 28, 28\), got \(6, 3, 28, 28\)"):
        make("off-apexnet")(pictures(make("ststnet")))


def field():
    y, x = np.mgrid[:56, :56] / 56
    return np.stack([np.sin(4 * x) * y, np.cos(3 * y) + x**2]).astype(np.float32) * 2


def test_a_field_and_its_picture_give_the_same():
    processor, flow = FlowImageProcessor(), field()
    picture = flow_image(flow.transpose(1, 2, 0))
    expected = processor(picture, return_tensors="pt").pixel_values
    assert expected.shape == (1, 3, 28, 28) and (expected.amin(), expected.amax()) == (0, 1)
    for given in (flow, flow.transpose(1, 2, 0), torch.from_numpy(flow)):
        found = processor(given, return_tensors="pt").pixel_values
        torch.testing.assert_close(found, expected, atol=0.5001 / 255, rtol=0)
    for given in (PIL.Image.fromarray(picture), picture.transpose(2, 0, 1), [picture]):
        assert torch.equal(processor(given, return_tensors="pt").pixel_values, expected)


def test_processor_is_saved_with_its_size_and_channels(tmp_path):
    make("rcn-a", num_channels=2).save_pretrained(tmp_path)
    FlowImageProcessor(size={"height": 60, "width": 60}, num_channels=2).save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, FlowImageProcessor)
    values = loaded([flow_image(field().transpose(1, 2, 0))] * 2, return_tensors="pt").pixel_values
    assert values.shape == (2, 2, 60, 60)
    assert AutoModelForImageClassification.from_pretrained(tmp_path)(values).logits.shape == (2, 3)


def test_a_still_field_is_black_and_a_wrong_one_refused():
    processor = FlowImageProcessor()
    assert processor(np.zeros((2, 28, 28)), return_tensors="pt").pixel_values.abs().max() == 0
    with pytest.raises(ValueError, match="expected a flow picture"):
        processor(np.zeros((4, 28, 28)))
    with pytest.raises(ValueError, match="finite"):
        processor(np.full((2, 28, 28), np.nan))

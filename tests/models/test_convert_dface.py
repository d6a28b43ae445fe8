"""Converting published weights, held against a plain-tensor implementation of the published forward pass."""

import pickle

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import save_file

from dface_hf import DFaceForVideoClassification, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.models.dface.convert_dface_original import convert_original

from .. import test_cli
from . import published_dface as published

dface = test_cli.dface  # the fixture that runs the command line

CLOSE = dict(atol=1e-4, rtol=0)
LABELS = ["happy", "surprise", "negative", "others"]
# image size, what the plain implementation makes, reduction
SIZES = {
    "one convolution": (64, dict(patch=8, convs=1), None),
    "two convolutions": (64, dict(patch=4, dim=24, heads=3, head_dim=8, codes=32, code_dim=6, convs=2), None),
    "deep": (32, dict(patch=4, spatial=3, temporal=2, decoder=4, heads=4, head_dim=6, convs=1), None),
    "one token": (32, dict(patch=16, dim=8, heads=1, head_dim=16, code_dim=10, convs=1), None),
    "lapa": (64, dict(patch=8, dim=32, heads=4, head_dim=8, codes=8, convs=2), published.LAPA),
}


def write(folder, content, name="original.pt", **options):
    path = folder / name
    torch.save(content, path, **options)
    return path


def preset_of(convs):
    return "dface" if convs is None else "lapa"


@pytest.fixture(scope="module")
def tokenizer_state():
    """A tokenizer of 16 tokens for images of 64 px."""
    return published.tokenizer_state()


@pytest.fixture(scope="module")
def heads_state():
    return published.classifier_state()


@pytest.mark.parametrize("size", SIZES)
def test_a_tokenizer_of_any_size_gives_the_same_numbers(size, tmp_path):
    image_size, sizes, convs = SIZES[size]
    state = published.tokenizer_state(**sizes)
    video = torch.rand(3, 3, 2, image_size, image_size, generator=torch.Generator().manual_seed(1))
    expected = published.run_tokenizer(state, video, convs)
    still = published.run_tokenizer(state, video[:, :, [0, 0]], convs)
    assert expected["margin"] > 1e-4  # no code is chosen by the last digit
    conversion = convert_original(write(tmp_path, state), image_size, preset_of(convs))
    conversion.model.save_pretrained(tmp_path / "model")
    model = DFaceTokenizerModel.from_pretrained(tmp_path / "model").eval()
    pixel_values = video.transpose(1, 2)
    with torch.no_grad():
        output = model(pixel_values)
        null = model.encode(pixel_values[:, 0], pixel_values[:, 0])
    assert output.action_ids.equal(expected["action_ids"]) and null.equal(still["action_ids"])
    features = model.action_features(expected["action_ids"])
    torch.testing.assert_close(features, expected["action_features"], **CLOSE)
    torch.testing.assert_close(output.reconstruction, expected["reconstruction"], **CLOSE)
    torch.testing.assert_close(output.loss, expected["loss"], **CLOSE)
    assert len(expected["action_ids"].unique()) > 1, "the test shows little"
    assert conversion.tensors == len(state) == sum(1 for _ in model.parameters()) + conversion.empty


def test_the_quirks_are_what_makes_the_numbers(tmp_path, tokenizer_state):
    """Without any one of them the numbers are others: the agreement above is no accident."""
    model = convert_original(write(tmp_path, tokenizer_state), 64).model
    pixel_values = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ids = torch.arange(16)[None] % 8
        vectors, features = model.action_vectors(pixel_values), model.action_features(ids)
        for stack in (model.spatial_encoder, model.temporal_encoder):
            for layer in stack.layers:
                layer.reference_compat = False  # rows in their own order
        ordered = model.action_vectors(pixel_values)
        for layer in model.spatial_encoder.layers:
            layer.position_conv.reference_compat = False  # time padded on both sides
        symmetric = model.action_vectors(pixel_values)
        model.config.reference_compat = False  # no reshape of the codes
        unmixed = model.action_features(ids)
    for one, other in ((vectors, ordered), (ordered, symmetric), (features, unmixed)):
        assert (one - other).abs().max() > 1e-2


def test_a_classifier_gives_the_same_numbers(tmp_path, tokenizer_state, heads_state):
    video = torch.rand(4, 3, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    tokens = published.run_tokenizer(tokenizer_state, video)
    expected = published.run_classifier(heads_state, tokens["action_features"])
    truth = torch.tensor([0, 1, 2, 3])
    anchors = torch.randn(3, 12, generator=torch.Generator().manual_seed(2))
    weights = torch.tensor([3.84, 1.16, 0.46, 1.39])
    losses = published.losses(expected, truth, anchors, 3, weights)
    paths = write(tmp_path, tokenizer_state), write(tmp_path, heads_state, "classifier.pt")
    model = convert_original(paths[0], 64, classifier=paths[1], labels=LABELS).model
    model.dface.set_text_anchors(anchors, dict.fromkeys(LABELS[:3], "a face"), "random")
    model.config.class_weights = weights.tolist()
    with torch.no_grad():
        output = model(video.transpose(1, 2), labels=truth)
    assert output.action_ids.equal(tokens["action_ids"])
    torch.testing.assert_close(output.logits, expected["logits"], **CLOSE)
    torch.testing.assert_close(output.pooling_attention, expected["attention"], **CLOSE)
    torch.testing.assert_close(output.action_embeds, expected["projected"], **CLOSE)
    torch.testing.assert_close(output.loss, losses["total"], **CLOSE)


def nested(tokenizer, heads):
    """Every form in which the parts are saved, and whether the classifier is in it."""
    laq = {f"module.{name}": tensor for name, tensor in tokenizer.items()}
    both = {"model": heads, "laq": laq, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    return {
        "plain": (tokenizer, False),
        "module.": (laq, False),
        "state_dict": ({"state_dict": tokenizer, "epoch": 3}, False),
        "trainer": ({"model": tokenizer, "optim": {"state": {}}, "steps": 5.0}, False),
        "both": (both, True),
        "both, wrapped": ({"checkpoint": both}, True),
        "one inside the other": (heads | {f"laq.{name}": part for name, part in tokenizer.items()}, True),
    }


@pytest.mark.parametrize("form", list(nested({}, {})))
def test_every_form_of_a_file(form, tmp_path, tokenizer_state, heads_state):
    content, whole = nested(tokenizer_state, heads_state)[form]
    conversion = convert_original(write(tmp_path, content), 64)
    assert isinstance(conversion.model, DFaceForVideoClassification) == whole
    tokenizer = conversion.model.dface.tokenizer if whole else conversion.model
    assert tokenizer.quantizer.codebook.equal(tokenizer_state["vq.codebooks"])
    assert conversion.tensors == len(tokenizer_state) + (len(heads_state) if whole else 0)
    if whole:
        assert conversion.model.classifier.weight.equal(heads_state["cls_proj.0.weight"])
        config = conversion.model.config
        assert config.id2label[3] == "LABEL_3" and config.others_label is None
    if form == "both":
        assert conversion.aside == ("epoch", "optimizer")


def test_other_containers_and_number_formats(tmp_path, tokenizer_state):
    save_file(tokenizer_state, tmp_path / "original.safetensors")
    old = write(tmp_path, tokenizer_state, "old.pt", _use_new_zipfile_serialization=False)
    half = write(tmp_path, {name: tensor.bfloat16() for name, tensor in tokenizer_state.items()}, "half.pt")
    for path, tolerance in ((tmp_path / "original.safetensors", 0), (old, 0), (half, 0.02)):
        model = convert_original(path, 64).model
        codebook = tokenizer_state["vq.codebooks"]
        assert model.dtype == torch.float32
        torch.testing.assert_close(model.quantizer.codebook.data, codebook, atol=0, rtol=tolerance)


def test_four_tokens_by_halving_are_told(tmp_path):
    path = write(tmp_path, published.tokenizer_state(convs=2))
    (note,) = convert_original(path, 64).notes
    assert "--preset lapa" in note
    lapa = convert_original(path, 64, "lapa")
    assert lapa.notes == () and lapa.model.config.reduction_convs == [[2, 1], [1, 0]]


# The reduction's configuration


def test_reduction_convs_survive_the_file_and_make_nine_tokens(tmp_path):
    config = DFaceTokenizerConfig(
        image_size=64, patch_size=4, num_action_tokens=9, reduction_convs=((2, 1), (2, 0))
    )
    config.save_pretrained(tmp_path)
    loaded = DFaceTokenizerConfig.from_pretrained(tmp_path)
    assert loaded.reduction_convs == config.reduction_convs == [[2, 1], [2, 0]]
    model = DFaceTokenizerModel(config).eval()
    onset, apex = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ids = model.encode(onset, apex)
    assert ids.shape == (1, 9) and model.decode(onset, ids).reconstruction.shape == onset.shape
    assert (model.encode(onset, onset) == 0).all()


@pytest.mark.parametrize(
    ("convs", "told"),
    [
        (
            [[2, 1], [1, 0]],
            "lead from the patch grid to 8 -> 4 -> 2, not to a token grid of 4 (16 action tokens)",
        ),
        ([[2]], "holds [2]; each convolution is [stride, padding]"),
        ([3], "holds 3"),
        ([[2, 1], [2, 1], [2, 1], [2, 0]], "does not fit a grid of 1"),
        ([[0, 1]], "stride 0"),
        ([[2, 2]], "padding 2"),
    ],
)
def test_reductions_that_lead_nowhere_are_refused(convs, told):
    with pytest.raises(StrictDataclassClassValidationError) as error:
        DFaceTokenizerConfig(reduction_convs=convs)
    assert told in str(error.value)


# What is refused


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("to_patch_emb_first_frame.2.weight", (16, 190), "is (16, 190), but (16, 192) is needed"),
        ("to_patch_emb_first_frame.1.weight", (190,), "is (190,), but (192,) is needed"),
        ("spatial_rel_pos_bias.net.2.weight", (3, 16), "is (3, 16), but (2, 16) is needed"),
        ("enc_spatial_transformer.layers.0.0.dsconv.weight", (16, 1, 1, 3, 3), "(16, 1, 3, 3, 3) is needed"),
        ("enc_spatial_transformer.layers.0.1.q_scale", (5,), "is (5,), but (4,) is needed"),
        ("enc_spatial_transformer.layers.0.1.null_kv", (2, 4, 4), "has no place"),
        ("enc_spatial_transformer.layers.0.3.1.weight", (128, 16), "is (128, 16), but (84, 16) is needed"),
        ("enc_spatial_transformer.norm_out.gamma", (17,), "is (17,), but (16,) is needed"),
        ("dec_spatial_transformer.layers.0.2.null_kv", (2, 3, 4), "is (2, 3, 4), but (2, 2, 4) is needed"),
        ("vq.codebooks", (8, 5), "is (8, 5), but (8, 4) is needed"),
        ("vq.cnn_encoder.0.weight", (4, 4, 4, 4), "is (4, 4, 4, 4), but (4, 4, 3, 3) is needed"),
        ("vq.project_in.bias", None, "vq.project_in.bias (4,) is missing"),
        ("vq.cnn_encoder.0.weight", None, "vq.cnn_encoder.0.weight is missing"),
        ("dec_spatial_transformer.layers.0.2.k_scale", None, "is missing"),
        ("vq.extra", (3,), "the tensor vq.extra (3,) has no place in this model"),
    ],
)
def test_the_first_wrong_tensor_is_named(name, change, told, tmp_path, tokenizer_state):
    state = {key: tensor for key, tensor in tokenizer_state.items() if key != name or change}
    if change:
        state[name] = torch.zeros(change)
    path = write(tmp_path, state)
    with pytest.raises(ValueError) as error:
        convert_original(path, 64)
    assert str(error.value).startswith(f"{path}: ") and name in str(error.value) and told in str(error.value)


def test_wrong_values_are_refused(tmp_path, tokenizer_state):
    name = "vq.project_in.bias"
    for tensor, told in (
        (torch.full((4,), torch.nan), f"{name} holds NaN or infinite values"),
        (torch.zeros(4, dtype=torch.int64), f"{name} is torch.int64, not floating point"),
    ):
        with pytest.raises(ValueError, match=told):
            convert_original(write(tmp_path, tokenizer_state | {name: tensor}), 64)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(image_size=60), "60 is not a multiple of the weights' patch size 8"),
        (dict(image_size=72), "a grid of 9 patches of 8 px, which 1 convolutions cannot halve"),
        (dict(image_size=64, preset="laq"), "preset 'laq' is unknown; choose from dface, lapa"),
        (dict(image_size=64, preset="lapa"), "has 2 reduction convolutions, the weights have 1"),
        (dict(image_size=64, num_labels=4), "holds no classifier (no tensor 'sparse_pool.query')"),
    ],
)
def test_options_that_do_not_fit_the_tokenizer(options, told, tmp_path, tokenizer_state):
    with pytest.raises(ValueError) as error:
        convert_original(write(tmp_path, tokenizer_state), **options)
    assert told in str(error.value)


def test_the_preset_lapa_is_for_four_tokens(tmp_path):
    with pytest.raises(ValueError, match="is for 4 tokens, but an image size of 128 .* make 36"):
        convert_original(write(tmp_path, published.tokenizer_state(convs=2)), 128, "lapa")


def test_a_classifier_must_fit_its_tokenizer_and_its_labels(tmp_path, tokenizer_state, heads_state):
    path, heads = write(tmp_path, tokenizer_state), write(tmp_path, heads_state, "heads.pt")
    narrow = write(tmp_path, published.classifier_state(tokenizer_dim=12), "narrow.pt")
    few = write(tmp_path, published.classifier_state(tokens=9), "few.pt")
    odd = write(tmp_path, published.classifier_state(dim=12), "odd.pt")
    other = tokenizer_state | {"vq.codebooks": tokenizer_state["vq.codebooks"] + 1}
    own = write(tmp_path, {"model": heads_state, "laq": other}, "own.pt")
    for file, options, told in (
        (heads, dict(num_labels=3), "the weights have 4 classes (cls_proj.0.weight), not 3"),
        (heads, dict(labels=["a", "b", "c"]), "3 labels (a, b, c); the weights need 4 different ones"),
        (heads, dict(labels=["a", "b", "c", "a"]), "need 4 different ones"),
        (narrow, {}, "token_embed.weight is (16, 12), but (16, 16) is needed"),
        (few, {}, "pos_embed is (1, 9, 16), but (1, 16, 16) is needed"),
        (odd, {}, "odd.pt: hidden_size 12 is not a multiple of num_attention_heads 8"),
        (write(tmp_path, tokenizer_state, "again.pt"), {}, "again.pt: holds no classifier"),
        (own, {}, "whose vq.codebooks is not that of"),
    ):
        with pytest.raises(ValueError) as error:
            convert_original(path, 64, classifier=file, **options)
        assert told in str(error.value)
    with pytest.raises(ValueError, match="heads.pt: holds no tokenizer"):
        convert_original(heads, 64)


class Code:
    """Would run when it is unpickled."""

    def __reduce__(self):
        return print, ("code ran",)


@pytest.fixture(scope="module")
def bad(tmp_path_factory, tokenizer_state):
    folder = tmp_path_factory.mktemp("bad")
    whole = write(folder, tokenizer_state, "whole.pt").read_bytes()
    old = write(folder, tokenizer_state, "old.pt", _use_new_zipfile_serialization=False).read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "old.pt").write_bytes(old[: len(old) // 2])
    (folder / "empty.pt").touch()
    (folder / "text.pt").write_text("no weights\n" * 9)
    (folder / "bad.safetensors").write_text("no weights\n" * 9)
    (folder / "pickle.pt").write_bytes(pickle.dumps({"a": 1}, protocol=5))
    write(folder, {"laq": tokenizer_state, "extra": Code()}, "code.pt")
    write(folder, torch.nn.Linear(2, 2).state_dict(), "linear.pt")
    write(folder, torch.zeros(3), "tensor.pt")
    write(folder, {"ema_model": tokenizer_state, "online_model": tokenizer_state}, "twice.pt")
    return folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gone.pt", "no such file"),
        (".", "is a folder"),
        ("empty.pt", "the file is empty"),
        ("text.pt", "not a torch pickle"),
        ("truncated.pt", "damaged or truncated"),
        ("old.pt", "damaged or truncated"),
        ("pickle.pt", "damaged or truncated, or no state dict"),
        ("bad.safetensors", "damaged or truncated"),
        ("code.pt", "holds the Python object print, and reading it could run code"),
        ("linear.pt", "no file of D-FACE: none of its 2 tensors is vq.codebooks or sparse_pool.query"),
        ("tensor.pt", "no file of D-FACE"),
        ("twice.pt", "holds 2 tokenizers (ema_model., online_model.); save the one you want alone"),
    ],
)
def test_files_that_cannot_be_converted(dface, bad, tmp_path, name, told):
    code, out, err = dface("convert", bad / name, tmp_path / "out", model=False)
    assert code == 2 and out == "" and not (tmp_path / "out").exists()
    line = test_cli.one_line(err)
    assert told in line and str(bad / name) in line

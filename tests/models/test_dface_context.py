"""The second, coarse codebook: what moves in a pair and is not facial action."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoModel

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerConfig, DFaceTokenizerModel

from .conftest import TINY

SECOND = dict(context_codebook_size=8, num_context_tokens=2)


@pytest.fixture(params=["warp", "pixels"])
def model(request):
    torch.manual_seed(0)
    return DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, **SECOND, decoder_head=request.param)).eval()


@pytest.fixture
def plain(model):
    """The same weights without a second codebook."""
    config = DFaceTokenizerConfig(**TINY, decoder_head=model.config.decoder_head)
    made = DFaceTokenizerModel(config).eval()
    own = {name for name in model.state_dict() if name.startswith("context.")}
    made.load_state_dict({name: value for name, value in model.state_dict().items() if name not in own})
    assert own
    return made


def test_it_is_off_by_default_and_the_shipped_weights_are_complete():
    loaded, info = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert loaded.context is None and loaded.quantizers == [loaded.quantizer]
    assert not [name for name in loaded.state_dict() if name.startswith("context.")]
    frames = torch.rand(1, 3, loaded.config.image_size, loaded.config.image_size)
    with pytest.raises(ValueError, match="no second codebook"):
        loaded.encode_context(frames, frames)
    with pytest.raises(ValueError, match="no second codebook"):
        loaded.decode(frames, loaded.null_action_ids()[None], torch.zeros(1, 1, dtype=torch.long))


def test_the_action_is_encoded_as_without_it(model, plain, pixel_values):
    onset, apex = pixel_values.unbind(1)
    assert torch.equal(model.encode(onset, apex), plain.encode(onset, apex))
    output = model(pixel_values)
    assert output.action_ids.shape == (5, 16) and output.context_ids.shape == (5, 2)
    assert plain(pixel_values).context_ids is None


def test_a_still_pair_is_null_and_swapping_negates(model, pixel_values):
    onset, apex = pixel_values.unbind(1)
    assert model.encode_context(onset, onset).eq(0).all()
    forth, back = model.context_vectors(pixel_values), model.context_vectors(pixel_values.flip(1))
    assert forth.shape == (5, 2, 8) and forth.abs().mean() > 1e-4
    torch.testing.assert_close(forth, -back, atol=1e-5, rtol=0)
    model.context.quantizer.running_rms.fill_(1e-3)
    assert model.encode_context(onset, apex).ne(0).any()


def test_saved_and_loaded_it_is_the_same(model, pixel_values, tmp_path):
    model.train()(pixel_values)  # moves the running statistics away from their initial values
    model.eval().save_pretrained(tmp_path)
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for name, value in model(pixel_values).items():
        assert torch.equal(value, loaded.eval()(pixel_values)[name]), name
    with torch.device("meta"):
        empty = DFaceTokenizerModel(model.config)
    assert set(empty.state_dict()) == set(loaded.state_dict())


def test_a_checkpoint_without_it_can_be_given_one(plain, tmp_path):
    plain.save_pretrained(tmp_path)
    loaded, info = DFaceTokenizerModel.from_pretrained(tmp_path, **SECOND, output_loading_info=True)
    assert info["missing_keys"] and all(name.startswith("context.") for name in info["missing_keys"])
    context = loaded.context
    assert context.nothing.std() > 0.1 and context.projection.weight.std() > 0.01
    assert context.quantizer.codebook[0].eq(0).all() and context.quantizer.codebook[1:].std() > 0.5


def test_half_precision_keeps_what_is_compared_and_nothing_more(model, tmp_path):
    model.save_pretrained(tmp_path)
    half = DFaceTokenizerModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    kept = {name for name, value in half.named_parameters() if value.dtype == torch.float32}
    assert {"context.projection.weight", "context.quantizer.codebook"} <= kept
    assert not [name for name in kept if "context_norm" in name or "decoding" in name]


def test_the_decoder_draws_the_action_alone_or_with_its_context(model, pixel_values):
    onset, ids = pixel_values[:, 0], torch.randint(32, (5, 16), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(5, 2, dtype=torch.long)
    alone, same, moved = (model.decode(onset, ids, one).reconstruction for one in (None, none, none + 3))
    assert torch.equal(alone, same) and (alone - moved).abs().max() > 1e-4
    with pytest.raises(ValueError, match="context_ids hold values outside the codebook: .* 0 to 7"):
        model.decode(onset, ids, none + 8)
    with pytest.raises(ValueError, match=r"context_ids of shape \(5, 16\) do not fit: \(batch, 2\)"):
        model.decode(onset, ids, ids)


def test_pairs_that_are_not_shown_their_context_are_drawn_without(model, pixel_values):
    model.context.quantizer.running_rms.fill_(1e-3)  # beyond the null code's reach
    shown = torch.tensor([True, False, True, False, False])
    output, full = model(pixel_values, context_shown=shown), model(pixel_values)
    alone = model.decode(pixel_values[:, 0], output.action_ids).reconstruction
    torch.testing.assert_close(output.reconstruction[~shown], alone[~shown])
    torch.testing.assert_close(output.reconstruction[shown], full.reconstruction[shown])
    assert (full.reconstruction - alone)[shown].abs().max() > 1e-4


def test_only_the_pairs_that_teach_it_move_it(model, pixel_values):
    vectors = model.train()(pixel_values).context_vectors.detach()
    model.context.quantizer.initialise_codebook(vectors.flatten(0, 1))  # beyond the null code's reach
    book, projection = model.context.quantizer.codebook, model.context.projection.weight
    for taught, learns in ((torch.zeros(5, dtype=torch.bool), False), (torch.arange(5) > 0, True)):
        model.zero_grad()
        model(pixel_values, context_taught=taught).loss.backward()
        moved = [bool(one.grad is not None and one.grad.abs().sum() > 0) for one in (book, projection)]
        assert moved == [learns, learns]
        assert model.context.decoding.weight.grad.abs().sum() > 0  # the decoder learns to read it anyway


@pytest.mark.parametrize(
    "options",
    [{"context_codebook_size": 1}, {"context_codebook_size": -4}, SECOND | {"num_context_tokens": 0}],
)
def test_sizes_that_cannot_be_are_refused(options):
    with pytest.raises(StrictDataclassClassValidationError, match="at least 2 entries, or 0"):
        DFaceTokenizerConfig(**TINY, **options)

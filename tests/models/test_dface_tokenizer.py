import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from transformers import AutoModel

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.data import pretraining_pairs
from dface_hf.models.dface.layers_dface import eager_attention_forward, pair_attention_forward
from dface_hf.models.dface.quantization_dface import DFaceQuantizer, perplexity

from .conftest import TINY


@pytest.mark.parametrize("batch", [1, 7, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_identical_pair_gives_sixteen_null_codes(tokenizer, batch, dtype):
    frames = torch.rand(batch, 3, 32, 32).to(dtype)
    assert tokenizer.to(dtype).encode(frames, frames).eq(0).all()
    assert tokenizer.null_action_ids().eq(0).all()


def test_swapping_the_frames_negates_the_action(tokenizer, pixel_values):
    forward, backward = tokenizer.action_vectors(pixel_values), tokenizer.action_vectors(pixel_values.flip(1))
    assert forward.abs().mean() > 1e-3
    torch.testing.assert_close(forward, -backward, atol=1e-5, rtol=0)


def test_a_change_of_brightness_is_no_action():
    torch.manual_seed(0)
    # With the frames themselves before it: before training, nothing else gives the first LayerNorm its scale.
    tokenizer = DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, appearance=True)).eval()
    onset = torch.rand(3, 3, 32, 32) * 0.6 + 0.2
    vectors = tokenizer.action_vectors(torch.stack([onset, onset * 0.9 + 0.05], dim=1))
    assert vectors.abs().max() < 1e-4


def test_a_change_of_brightness_is_no_action_for_the_shipped_tokenizer():
    tokenizer = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT).eval()
    size = tokenizer.config.image_size
    onset = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    assert tokenizer.action_vectors(torch.stack([onset, onset * 0.9 + 0.05], dim=1)).abs().max() < 1e-3
    noisy = onset + 2e-3 * torch.randn(onset.shape, generator=torch.Generator().manual_seed(1))
    assert tokenizer.encode(onset, noisy).eq(0).all()


def test_encode_decode_shapes_and_types(tokenizer, pixel_values):
    onset, apex = pixel_values.unbind(1)
    ids = tokenizer.encode(onset, apex)
    assert ids.shape == (5, 16) and ids.dtype == torch.int64
    assert 0 <= ids.min() and ids.max() < tokenizer.config.codebook_size
    assert tokenizer.decode(onset, ids).reconstruction.shape == onset.shape


def test_forward_agrees_with_encode_and_decode(tokenizer, pixel_values):
    onset, apex = pixel_values.unbind(1)
    output = tokenizer(pixel_values)
    assert output.action_ids.equal(tokenizer.encode(onset, apex))
    torch.testing.assert_close(
        output.reconstruction, tokenizer.decode(onset, output.action_ids).reconstruction
    )
    assert output.loss.ndim == 0 and 1 <= output.perplexity <= 32


def test_the_decoder_sees_the_onset_and_the_tokens_only(tokenizer, pixel_values):
    onset = pixel_values[:, 0]
    one, other = torch.zeros(5, 16, dtype=torch.long), torch.full((5, 16), 3)
    assert not torch.equal(
        tokenizer.decode(onset, one).reconstruction, tokenizer.decode(onset, other).reconstruction
    )


def test_each_token_is_read_from_its_own_code(tokenizer):
    """Without the published mixing, changing one id changes one row of the features."""
    ids = torch.zeros(1, 16, dtype=torch.long)
    changed = ids.clone()
    changed[0, 5] = 7
    difference = (tokenizer.action_features(ids) - tokenizer.action_features(changed)).abs().sum(-1)[0]
    assert difference.nonzero().flatten().tolist() == [5]


def test_a_token_changes_its_own_part_of_the_picture_most():
    torch.manual_seed(0)
    model = DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, decoder_head="pixels")).eval()
    onset, ids = torch.rand(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.long)
    changed = ids.clone()
    changed[0, 0] = 7
    difference = (model.decode(onset, ids).reconstruction - model.decode(onset, changed).reconstruction).abs()
    cells = difference.unfold(2, 8, 8).unfold(3, 8, 8).mean(dim=(0, 1, 4, 5))
    assert cells.argmax() == 0 and cells[0, 0] > 3 * cells[3, 3]


def test_save_and_load_give_equal_outputs(tokenizer, pixel_values, tmp_path):
    tokenizer.train()
    tokenizer(pixel_values)  # moves the running statistics away from their initial values
    tokenizer.eval().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, DFaceTokenizerModel)
    for name, value in tokenizer(pixel_values).items():
        assert torch.equal(value, loaded(pixel_values)[name]), name
    assert loaded.quantizer.running_rms.equal(tokenizer.quantizer.running_rms)


def test_gradients_reach_codebook_and_encoder_but_not_the_null_code(tokenizer, pixel_values):
    tokenizer.train().quantizer.running_rms.fill_(1e-3)  # vectors beyond the null code's reach
    tokenizer(pixel_values).loss.backward()
    codebook = tokenizer.quantizer.codebook.grad
    assert codebook[0].abs().max() == 0 and codebook[1:].abs().max() > 0
    assert tokenizer.spatial_encoder.layers[0].self_attn.q_proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize("mode", ["continuous", "noise", "straight", "hard"])
@pytest.mark.parametrize("identical", [1, 5])
def test_the_gradient_of_identical_frames_is_as_large_as_that_of_noise(
    tokenizer, pixel_values, mode, identical
):
    """A code of zeros must not become a key without direction, nor a batch of zeros be scaled by its RMS."""
    tokenizer.train().quantizer.mode = mode

    def gradient(pairs):
        tokenizer.zero_grad()
        output = tokenizer(pairs)
        (output.loss + output.action_vectors.pow(2).mean()).backward()
        found = [one.grad.flatten() for one in tokenizer.parameters() if one.grad is not None]
        return torch.cat(found).norm().item()

    onset = pixel_values[:, 0]
    noisy = onset + 0.01 * torch.randn(onset.shape, generator=torch.Generator().manual_seed(2))
    usual = gradient(torch.stack([onset, noisy], dim=1))
    still = torch.arange(len(onset))[:, None, None, None] < identical
    assert 0 < gradient(torch.stack([onset, torch.where(still, onset, noisy)], dim=1)) < 10 * usual
    assert tokenizer.quantizer.running_rms > 0.5


def test_gradient_checkpointing_gives_the_same_gradient(tokenizer, pixel_values):
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            tokenizer.activation_checkpointing_enable()
        tokenizer.train().zero_grad()
        torch.manual_seed(0)
        tokenizer.quantizer.running_rms.fill_(1)
        tokenizer(pixel_values).loss.backward()
        gradients.append(tokenizer.motion_projection.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_eager_and_sdpa_agree(tokenizer, pixel_values):
    vectors = tokenizer.action_vectors(pixel_values)
    tokenizer.set_attn_implementation("eager")
    torch.testing.assert_close(vectors, tokenizer.action_vectors(pixel_values), atol=1e-5, rtol=1e-4)


def test_attention_over_two_tokens_is_attention():
    query, key, value = torch.randn(3, 4, 2, 2, 8).unbind(0)
    expected, weights = eager_attention_forward(torch.nn.Module(), query, key, value, None, scaling=8.0)
    assert weights.max() > 0.9 and weights.min() < 0.1
    torch.testing.assert_close(pair_attention_forward(query, key, value, 8.0), expected)


def test_compiles_in_one_graph(tokenizer, pixel_values):
    compiled = torch.compile(tokenizer.action_vectors, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(pixel_values), tokenizer.action_vectors(pixel_values))


def test_half_precision_spares_the_difference_and_the_codebook(tokenizer, pixel_values, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    half = DFaceTokenizerModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == half.spatial_encoder.layers[0].feed_forward.up_proj.weight.dtype == torch.bfloat16
    kept = [*half.reduction.parameters(), half.quantizer.codebook, half.quantizer.running_rms]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    output = half(pixel_values)
    assert output.reconstruction.dtype == output.action_vectors.dtype == torch.float32
    output.loss.backward()


def test_half_precision_leaves_99_of_100_ids():
    model = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT)
    half = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT, dtype=torch.bfloat16)
    pairs = pretraining_pairs(model.config.image_size, seed=3, bank=64).sample(256)
    with torch.no_grad():
        ids = model.encode(pairs.onset, pairs.apex)
        assert ids.ne(0).float().mean() > 0.1
        assert half.encode(pairs.onset, pairs.apex).eq(ids).float().mean() >= 0.99
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model.encode(pairs.onset, pairs.apex).eq(ids).float().mean() >= 0.99


def test_exports(tokenizer, pixel_values):
    program = torch.export.export(tokenizer, (pixel_values,), strict=False)
    torch.testing.assert_close(
        program.module()(pixel_values).reconstruction, tokenizer(pixel_values).reconstruction
    )


def test_wrong_input_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"\(2, 2, 3, 16, 16\) do not fit"):
        tokenizer(torch.rand(2, 2, 3, 16, 16))
    with pytest.raises(ValueError, match="0 to 31"):
        tokenizer.decode(torch.rand(1, 3, 32, 32), torch.full((1, 16), 32))
    with pytest.raises(ValueError, match=r"\(1, 9\) do not fit"):
        tokenizer.decode(torch.rand(1, 3, 32, 32), torch.zeros(1, 9, dtype=torch.long))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(image_size=65), "not a multiple"),
        (dict(num_action_tokens=15), "not a square"),
        (dict(num_action_tokens=9), "cannot be halved"),
        (dict(decoder_head="gan"), "'pixels' or 'warp'"),
        (dict(codebook_size=1), "at least 2"),
        (dict(reference_compat=True), "reference_compat=True needs"),
        (dict(hidden_size="32"), "hidden_size"),
    ],
)
def test_config_refuses_what_cannot_be_built(change, message):
    errors = (StrictDataclassClassValidationError, StrictDataclassFieldValidationError)
    with pytest.raises(errors, match=message):
        DFaceTokenizerConfig(**{**TINY, **change})


def test_reference_compat_mixes_tokens_and_has_no_null_code():
    config = DFaceTokenizerConfig(
        **TINY,
        decoder_head="pixels",
        reference_compat=True,
        appearance=True,
        position_maps=False,
        motion_channels=False,
        match_brightness=False,
        normalize_loss=False,
        motion_weight=0,
    )
    torch.manual_seed(0)
    model = DFaceTokenizerModel(config).eval()
    ids = torch.zeros(1, 16, dtype=torch.long)
    changed = ids.clone()
    changed[0, 5] = 7
    difference = (model.action_features(ids) - model.action_features(changed)).abs().sum(-1)[0]
    assert len(difference.nonzero()) > 1
    assert model.null_action_ids().ne(0).any()


def quantizer(**kwargs):
    made = DFaceQuantizer(DFaceTokenizerConfig(**TINY, **kwargs))
    torch.nn.init.normal_(made.codebook)
    return made


def test_quantiser_substitutes_noise_of_the_same_length_in_training():
    vectors = torch.randn(4, 16, 8)
    made = quantizer().train()
    vectors[0] = 0.01 * vectors[0]
    noisy, ids = made(vectors)
    assert noisy[ids == 0].eq(0).all() and ids[0].eq(0).all()
    noisy, vectors, ids = noisy[ids > 0], vectors[ids > 0], ids[ids > 0]
    error = (vectors - made.codes()[ids]).norm(dim=-1)
    torch.testing.assert_close((noisy - vectors).norm(dim=-1), error)
    hard, _ = made.eval()(vectors)
    assert torch.equal(hard, made.codes()[ids])


def test_continuous_quantiser_passes_vectors_through():
    vectors = torch.randn(4, 16, 8)
    made = quantizer().train()
    made.mode = "continuous"
    assert made(vectors)[0] is vectors


def test_hard_quantiser_gives_codewords_and_leaves_the_encoder_alone():
    vectors = (3 * torch.randn(4, 16, 8)).requires_grad_()
    made = quantizer().train()
    made.mode = "hard"
    codes, ids = made(vectors)
    assert torch.equal(codes, made.codes()[ids])
    codes.sum().backward()
    assert vectors.grad is None and made.codebook.grad[1:].abs().max() > 0


def test_kmeans_keeps_the_null_code_and_uses_the_codebook():
    torch.manual_seed(0)
    centres = torch.randn(31, 8) * 4
    vectors = centres[torch.randint(31, (4000,))] + 0.05 * torch.randn(4000, 8)
    vectors[:200] = 0.01 * torch.randn(200, 8)
    made = quantizer()
    made.initialise_codebook(vectors)
    assert made.codebook[0].eq(0).all()
    assert made.nearest(vectors[:200]).eq(0).all()
    assert perplexity(made.nearest(vectors), 32) > 16


def test_short_vectors_are_always_null():
    made = quantizer(null_radius=1.0)
    made.codebook.data *= 0.01
    directions = torch.nn.functional.normalize(torch.randn(100, 8), dim=-1)
    assert made.nearest(0.99 * directions).eq(0).all()
    assert made.codes()[1:].norm(dim=-1).min() >= 1.999 and made.codes()[0].eq(0).all()


def test_revival_replaces_dead_codes_by_distinct_vectors_and_spares_the_null_code():
    torch.manual_seed(0)
    made = quantizer()
    before = made.codebook.clone()
    made.codebook.data[0] = 0
    made.usage[:] = 0
    made.usage[1] = 100
    assert made.revive(torch.randn(500, 8)) == 30
    assert made.codebook[0].eq(0).all() and made.codebook[1].equal(before[1])
    assert len(made.codebook[2:].unique(dim=0)) == 30
    assert made.usage.sum() == 0


def test_lengths_are_compressed_and_directions_are_not():
    made, vectors = quantizer(length_knee=1.0).eval(), torch.randn(6, 8)
    lengths = torch.tensor([0.0, 1e-4, 0.1, 1.0, 10.0, 100.0])[:, None]
    vectors = torch.nn.functional.normalize(vectors, dim=-1) * lengths
    scaled = made.scale(vectors)
    torch.testing.assert_close(scaled.norm(dim=-1, keepdim=True), torch.asinh(lengths), atol=1e-5, rtol=1e-3)
    cosine = torch.nn.functional.cosine_similarity(scaled[1:], vectors[1:])
    torch.testing.assert_close(cosine, torch.ones(5))


def test_straight_mode_gives_codewords_and_lets_the_gradient_through():
    made = quantizer().train()
    made.mode = "straight"
    vectors = (3 * torch.randn(4, 16, 8)).requires_grad_()
    codes, ids = made(vectors)
    torch.testing.assert_close(codes, made.codes()[ids])
    codes.sum().backward()
    assert vectors.grad.eq(1).all() and made.codebook.grad.abs().sum() > 0


def test_running_rms_scales_all_vectors_by_one_number():
    made = quantizer(rms_momentum=0.0, length_knee=0).train()
    vectors = torch.randn(4, 16, 8) * 3
    vectors.requires_grad_()
    scaled = made.scale(vectors, track=True)
    scaled.pow(3).sum().backward()
    assert abs((vectors.grad * vectors).sum()) < 1e-2 * vectors.grad.norm(), (
        "scaling all vectors changes nothing"
    )
    vectors, scaled = vectors.detach(), scaled.detach()
    assert scaled.pow(2).mean().sqrt() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(scaled * made.running_rms, vectors)
    assert made.eval().scale(vectors).equal(scaled)


def test_perplexity_of_one_and_of_all_codes():
    assert perplexity(torch.zeros(10, dtype=torch.long), 32) == pytest.approx(1)
    assert perplexity(torch.arange(32), 32) == pytest.approx(32, abs=1e-3)


def test_position_maps_start_as_nothing_survive_saving_and_keep_stillness(pixel_values, tmp_path):
    torch.manual_seed(0)
    plain = DFaceTokenizerModel(DFaceTokenizerConfig(**TINY)).eval()
    mapped = DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, position_maps=True)).eval()
    mapped.load_state_dict(plain.state_dict() | {k: v for k, v in mapped.state_dict().items() if "maps" in k})
    assert torch.equal(mapped.action_vectors(pixel_values), plain.action_vectors(pixel_values))
    with torch.no_grad():
        mapped.encoding_maps.weight.normal_()
        mapped.decoding_maps.weight.normal_()
    assert not torch.equal(mapped.action_vectors(pixel_values), plain.action_vectors(pixel_values))
    onset, apex = pixel_values.unbind(1)
    forth, back = (mapped.action_vectors(torch.stack(pair, 1)) for pair in ((onset, apex), (apex, onset)))
    torch.testing.assert_close(forth, -back, atol=1e-5, rtol=1e-4)
    assert (mapped.encode(onset, onset) == 0).all()
    mapped.save_pretrained(tmp_path)
    loaded = DFaceTokenizerModel.from_pretrained(tmp_path).eval()
    ids = mapped.encode(onset, apex)
    assert torch.equal(ids, loaded.encode(onset, apex))
    assert torch.equal(mapped.decode(onset, ids).reconstruction, loaded.decode(onset, ids).reconstruction)

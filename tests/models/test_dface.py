import numpy as np
import PIL.Image
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForVideoClassification,
    Trainer,
    TrainingArguments,
)

from dface_hf import (
    DFaceConfig,
    DFaceEDCLIPModel,
    DFaceForVideoClassification,
    DFaceImageProcessor,
    DFaceModel,
    DFaceTokenizerModel,
)
from dface_hf.models.dface.modeling_dface import edclip_loss, pooling_entropy

from .conftest import TINY


def test_one_checkpoint_serves_every_part(classifier, pixel_values, tmp_path):
    classifier.save_pretrained(tmp_path)
    expected = classifier(pixel_values)
    loaded = AutoModelForVideoClassification.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, DFaceForVideoClassification)
    for name, value in expected.items():
        assert torch.equal(value, loaded(pixel_values)[name]), name
    edclip = DFaceEDCLIPModel.from_pretrained(tmp_path).eval()
    assert torch.equal(edclip(pixel_values).similarities, expected.similarities)
    tokenizer = DFaceTokenizerModel.from_pretrained(tmp_path).eval()
    assert torch.equal(tokenizer.encode(*pixel_values.unbind(1)), expected.action_ids)
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(base, DFaceModel)
    assert torch.equal(base(pixel_values).pooling_attention, expected.pooling_attention)


def test_loading_a_part_reports_nothing_missing_or_unexpected(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    for part in (DFaceTokenizerModel, DFaceEDCLIPModel, DFaceModel, DFaceForVideoClassification):
        _, info = part.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"], part


def test_cached_tokens_give_the_same_answer_as_frames(classifier, pixel_values):
    from_frames = classifier(pixel_values)
    from_tokens = classifier(action_ids=from_frames.action_ids)
    torch.testing.assert_close(from_frames.logits, from_tokens.logits)
    with pytest.raises(ValueError, match="either"):
        classifier()


@pytest.mark.parametrize("train", [False, True])
def test_inputs_that_do_not_fit_are_named(classifier, pixel_values, train):
    classifier.train(train).config.train_tokenizer = train
    for wrong in (pixel_values[:, 0], pixel_values[:, :1], pixel_values.repeat(1, 2, 1, 1, 1)[:, :3]):
        with pytest.raises(ValueError, match=r"it takes \(batch, 2, 3, 32, 32\)"):
            classifier(wrong)
    ids = classifier.dface.tokenizer.encode(*pixel_values.unbind(1))
    for wrong in (-1, classifier.config.tokenizer_config.codebook_size):
        with pytest.raises(ValueError, match="action_ids hold values outside the codebook"):
            classifier(action_ids=torch.full_like(ids, wrong))
    with pytest.raises(ValueError, match=r"do not fit: \(batch, 16\)"):
        classifier(action_ids=ids[:, :3])


def test_entropy_of_what_float16_rounds_to_zero():
    attention = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float16)
    assert pooling_entropy(attention).item() == pytest.approx(np.log(2) / 2, abs=1e-4)


def test_outputs_have_their_documented_ranges(classifier, pixel_values):
    output = classifier(pixel_values)
    torch.testing.assert_close(output.pooling_attention.sum(-1), torch.ones(5))
    torch.testing.assert_close(output.action_embeds.norm(dim=-1), torch.ones(5))
    assert output.similarities.shape == (5, 3) and output.similarities.abs().max() <= 1


def test_a_tuple_is_returned_when_asked(classifier, pixel_values):
    output = classifier(pixel_values, return_dict=False)
    assert isinstance(output, tuple) and torch.equal(output[0], classifier(pixel_values).logits)


def test_loss_is_the_sum_of_its_parts(classifier, pixel_values):
    labels = torch.tensor([0, 1, 2, 3, 3])
    config, output = classifier.config, classifier(pixel_values)
    expected = torch.nn.functional.cross_entropy(output.logits, labels)
    expected = expected + config.entropy_weight * pooling_entropy(output.pooling_attention)
    edclip, _, _ = edclip_loss(output.similarities, labels, torch.tensor([0, 1, 2, -1]))
    torch.testing.assert_close(
        classifier(pixel_values, labels=labels).loss, expected + config.edclip_weight * edclip
    )


def test_tokenizer_learns_only_when_asked(classifier, pixel_values):
    labels = torch.tensor([0, 1, 2, 3, 3])
    classifier.train()(pixel_values, labels=labels).loss.backward()
    codebook = classifier.dface.tokenizer.quantizer.codebook
    assert codebook.grad is None and not classifier.dface.tokenizer.training
    classifier.config.train_tokenizer = True
    classifier.dface.tokenizer.quantizer.running_rms.fill_(1e-3)  # vectors beyond the null code's reach
    classifier.train()(pixel_values, labels=labels).loss.backward()
    assert codebook.grad.abs().max() > 0


def test_a_frozen_tokenizer_keeps_its_statistics(classifier, pixel_values):
    before = classifier.dface.tokenizer.quantizer.running_rms.clone()
    classifier.train()(pixel_values)
    assert classifier.dface.tokenizer.quantizer.running_rms.equal(before)


def test_edclip_leaves_others_alone_below_the_margin():
    similarities = torch.tensor([[0.1, 0.19], [0.5, 0.1]])
    total, named, others = edclip_loss(similarities, torch.tensor([2, 2]), torch.tensor([0, 1, -1]))
    assert named == 0 and others == pytest.approx(0.15) and total == pytest.approx(0.03)


def test_open_vocabulary_takes_any_text_embeddings(classifier, pixel_values, tmp_path):
    classifier.save_pretrained(tmp_path)
    edclip = DFaceEDCLIPModel.from_pretrained(tmp_path).eval()
    output = edclip(pixel_values, text_embeds=torch.randn(7, 12) * 5)
    assert output.similarities.shape == (5, 7) and output.similarities.abs().max() <= 1


def test_wrong_anchors_and_configs_are_refused(classifier):
    with pytest.raises(ValueError, match=r"expected \(3, 12\)"):
        classifier.dface.set_text_anchors(torch.randn(2, 12), {"a": "", "b": "", "c": ""}, "x")
    labels = {0: "happy", 1: "sad"}
    for change, message in [
        (dict(hidden_size=30, num_attention_heads=4), "not a multiple"),
        (dict(others_label="others"), "not one of the classes"),
        (dict(anchor_texts={"angry": "x"}), "not among the classes"),
        (dict(class_weights=(1.0,)), "1 class_weights for 2 classes"),
        (dict(edclip_temperature=0.0), "above 0"),
    ]:
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            DFaceConfig(tokenizer_config=TINY, id2label=labels, **change)


def test_forward_compiles_without_a_graph_break(classifier, pixel_values):
    compiled = torch.compile(classifier, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pixel_values).logits, classifier(pixel_values).logits)
    tokenizer = classifier.dface.tokenizer
    compiled = torch.compile(tokenizer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pixel_values).reconstruction, tokenizer(pixel_values).reconstruction)


def test_class_weights_of_other_classes_are_named(classifier, pixel_values, tmp_path):
    classifier.config.class_weights = (1.0, 2.0, 1.0, 1.0)
    classifier.save_pretrained(tmp_path)
    labels = dict(id2label={0: "a", 1: "b"}, others_label=None, anchor_texts=None)
    other = DFaceForVideoClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **labels)
    with pytest.raises(ValueError, match="4 class_weights do not fit 2 classes"):
        other(pixel_values, labels=torch.zeros(5, dtype=torch.long))


def test_bf16_and_export(classifier, pixel_values):
    program = torch.export.export(classifier, (pixel_values,), strict=False)
    torch.testing.assert_close(program.module()(pixel_values).logits, classifier(pixel_values).logits)
    logits = classifier(pixel_values).logits
    low = classifier.to(torch.bfloat16)(pixel_values.to(torch.bfloat16))
    assert low.logits.dtype == torch.bfloat16 and torch.isfinite(low.logits).all()
    torch.testing.assert_close(low.logits.float(), logits, atol=0.2, rtol=0.2)


def test_transformers_trainer_learns_on_it(classifier, tmp_path):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    ids = labels[:, None].expand(-1, 16) * 5 + torch.randint(0, 2, (64, 16), generator=generator)
    data = [dict(action_ids=row, labels=label) for row, label in zip(ids, labels, strict=True)]
    args = TrainingArguments(
        output_dir=str(tmp_path), max_steps=60, per_device_train_batch_size=16, learning_rate=3e-3, seed=0,
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False, use_cpu=True,
    )  # fmt: skip
    Trainer(classifier, args, train_dataset=data).train()
    predicted = classifier.eval()(action_ids=ids).logits.argmax(-1)
    assert predicted.eq(labels).float().mean() > 0.9


@pytest.fixture
def processor():
    return DFaceImageProcessor(size={"height": 32, "width": 32})


def test_processor_takes_pairs_of_anything_image_like(processor):
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    alike = [frame, PIL.Image.fromarray(frame), frame.transpose(2, 0, 1), frame.astype(np.float32) / 255]
    alike.append(torch.from_numpy(frame))
    for item in alike:
        values = processor([item, item], return_tensors="pt").pixel_values
        assert values.shape == (1, 2, 3, 32, 32) and values.dtype == torch.float32
        np.testing.assert_allclose(values[0, 0].permute(1, 2, 0), frame / 255, atol=1e-6)
    grey = processor([[frame[..., 0], frame[..., 0]]] * 3, return_tensors="pt").pixel_values
    assert grey.shape == (3, 2, 3, 32, 32) and grey[:, :, 0].equal(grey[:, :, 2])


def test_processor_resizes_and_survives_saving(processor, classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, DFaceImageProcessor)
    pair = [np.full((90, 70, 3), 100, np.uint8), np.full((90, 70, 3), 200, np.uint8)]
    values = loaded(pair, return_tensors="pt").pixel_values
    assert values.shape == (1, 2, 3, 32, 32)
    np.testing.assert_allclose(values[0, 1], 200 / 255, atol=1e-5)


def test_processor_refuses_what_is_no_pair(processor):
    frame = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="two frames, got 3"):
        processor([[frame, frame, frame]])
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        processor([frame * 1.0 + 7, frame * 1.0])
    with pytest.raises(ValueError, match="uint8, or float.*, not uint16"):
        processor([frame.astype(np.uint16) * 257] * 2)
    with pytest.raises(ValueError, match="PIL image or an array"):
        processor([["a.png", "b.png"]])

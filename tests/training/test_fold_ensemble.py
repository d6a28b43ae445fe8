"""Folds trained together against folds trained alone, on real networks with random clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dface_hf import STSTNetConfig
from dface_hf import STSTNetForImageClassification as STSTNet
from dface_hf.data.protocols import Fold
from dface_hf.training.fold_ensemble import ORDER, WEIGHTS, FoldRecipe, train_folds

from ..conftest import tiny_classifier

ROWS, CLASSES = 40, 3


def ststnet(dropout=0.0):
    return lambda: STSTNet(STSTNetConfig(num_labels=CLASSES, dropout=dropout)).double()


def dface(dropout=0.0):
    def make():
        seed = torch.initial_seed()
        model = tiny_classifier()  # has a seed of its own
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
            if isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = dropout
        for layer in (model.classifier, model.dface.token_embeddings):
            layer.reset_parameters()
        model.dface.tokenizer.requires_grad_(False)
        return model.double()

    return make


def clips(kind):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(ROWS) % (4 if kind == "dface" else CLASSES)
    if kind == "dface":
        return {"action_ids": torch.randint(0, 32, (ROWS, 16), generator=generator)}, labels
    return {"pixel_values": torch.rand(ROWS, 3, 28, 28, generator=generator).double()}, labels


def folds():
    """Three of unequal size: their last batches differ, and the first has one batch less than the others."""
    tests = {"a": range(0, 9), "b": range(9, 14), "c": range(14, 18)}
    rows = np.arange(ROWS)
    return [Fold(name, np.setdiff1d(rows, list(test)), np.array(test)) for name, test in tests.items()]


MAKERS = {"ststnet": ststnet, "dface": dface}
RECIPE = FoldRecipe(epochs=3, batch_size=8, learning_rate=3e-3, grad_clip=1.0)


def alone(make_model, inputs, labels, fold, index, recipe, seed=0):
    """The same fold in a plain loop: the model, trained."""

    def stream(purpose, epoch=0):
        return np.random.SeedSequence([seed, index, purpose, epoch])

    torch.manual_seed(int(stream(WEIGHTS).generate_state(1, np.uint64)[0]))
    model = make_model()
    counts = torch.bincount(labels[fold.train], minlength=model.config.num_labels)
    model.config.class_weights = tuple((len(fold.train) / (len(counts) * counts)).tolist())
    optimizer = recipe.make_optimizer([{"params": [p for p in model.parameters() if p.requires_grad]}])
    steps = -(-len(fold.train) // recipe.batch_size)
    for epoch in range(recipe.epochs):
        order = np.random.default_rng(stream(ORDER, epoch)).permutation(fold.train)
        model.train()
        for step, start in enumerate(range(0, len(order), recipe.batch_size)):
            at = order[start : start + recipe.batch_size]
            optimizer.param_groups[0]["lr"] = recipe.rate(epoch * steps + step, recipe.epochs * steps)
            optimizer.zero_grad()
            model(**{name: value[at] for name, value in inputs.items()}, labels=labels[at]).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
            optimizer.step()
    return model.eval()


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, schedule="cosine"),
        replace(RECIPE, optimizer="adam", weight_decay=1e-2),
        replace(RECIPE, optimizer="sgd", learning_rate=0.05, weight_decay=1e-2),
    ],
    ids=["adamw", "adam", "sgd"],
)
def test_together_is_as_alone(kind, recipe):
    make_model, (inputs, labels) = MAKERS[kind](), clips(kind)
    results = train_folds(make_model, inputs, labels, folds(), recipe, keep_weights=True, progress=False)
    assert [result.fold for result in results] == ["a", "b", "c"]
    for index, (fold, result) in enumerate(zip(folds(), results, strict=True)):
        model = alone(make_model, inputs, labels, fold, index, recipe)
        with torch.no_grad():
            logits = model(**{name: value[fold.test] for name, value in inputs.items()}).logits
        torch.testing.assert_close(result.logits, logits, atol=1e-8, rtol=1e-8)
        for name, value in model.state_dict().items():
            if name.endswith(
                "in_proj_bias"
            ):  # the keys' part has no gradient but rounding, which Adam blows up
                continue
            torch.testing.assert_close(result.state_dict[name], value, atol=1e-8, rtol=1e-8, msg=name)


@pytest.mark.parametrize("kind", MAKERS)
def test_held_out_labels_change_nothing(kind):
    make_model, (inputs, labels) = MAKERS[kind](0.3), clips(kind)
    shuffled = labels.clone()
    fold = folds()[1]
    shuffled[fold.test] = shuffled[fold.test].flip(0)
    assert not torch.equal(shuffled, labels)
    first, second = (
        train_folds(make_model, inputs, truth, [fold], RECIPE, keep_weights=True, progress=False)[0]
        for truth in (labels, shuffled)
    )
    assert torch.equal(first.logits, second.logits)
    for name, value in first.state_dict.items():
        assert torch.equal(value, second.state_dict[name]), name


def test_a_training_label_changes_something():
    inputs, labels = clips("ststnet")
    changed = labels.clone()
    changed[20] = (changed[20] + 1) % CLASSES
    first, second = (
        train_folds(ststnet(), inputs, truth, folds()[:1], RECIPE, progress=False)[0]
        for truth in (labels, changed)
    )
    assert not torch.allclose(first.logits, second.logits)


@pytest.mark.parametrize("kind", MAKERS)
def test_company_and_its_order_do_not_matter(kind):
    """With dropout: masks belong to the member, not to the group that it is trained in."""
    make_model, (inputs, labels) = MAKERS[kind](0.3), clips(kind)
    together, alone = (
        train_folds(make_model, inputs, labels, folds(), RECIPE, (0, 1), members_at_once=n, progress=False)
        for n in (6, 1)
    )
    assert [(r.seed, r.fold) for r in together] == [(s, f) for s in (0, 1) for f in "abc"]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=1e-8, rtol=1e-8)
    assert not torch.allclose(together[0].logits, together[3].logits)


class Killed(Exception):
    pass


def kill_after(monkeypatch, epochs):
    """Let the process die after a number of epochs; their checkpoints are written."""
    from dface_hf.training import fold_ensemble

    done, train_epoch = [], fold_ensemble._Run._train_epoch

    def dying(run):
        if len(done) == epochs:
            raise Killed
        done.append(run.epoch)
        train_epoch(run)

    monkeypatch.setattr(fold_ensemble._Run, "_train_epoch", dying)
    return done


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("epochs", [2, 4])  # in the first part, and in the second
def test_a_killed_run_goes_on_to_the_same_weights(kind, epochs, tmp_path, monkeypatch):
    make_model, (inputs, labels) = MAKERS[kind](0.3), clips(kind)
    options = dict(members_at_once=2, every_epoch=True, keep_weights=True, progress=False, checkpoint_every=1)
    whole = train_folds(make_model, inputs, labels, folds(), RECIPE, **options)
    with monkeypatch.context() as context, pytest.raises(Killed):
        kill_after(context, epochs)
        train_folds(make_model, inputs, labels, folds(), RECIPE, folder=tmp_path, **options)
    done = kill_after(monkeypatch, 100)
    resumed = train_folds(make_model, inputs, labels, folds(), RECIPE, folder=tmp_path, **options)
    assert len(done) == 2 * RECIPE.epochs - epochs
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.logits, other.logits) and torch.equal(one.by_epoch, other.by_epoch)
        for name, value in one.state_dict.items():
            assert torch.equal(value, other.state_dict[name]), name
    with pytest.raises(ValueError, match="holds a run with other clips, folds or options"):
        train_folds(make_model, inputs, labels.flip(0), folds(), RECIPE, folder=tmp_path, **options)


def test_predictions_of_every_epoch_end_with_the_last():
    inputs, labels = clips("ststnet")
    for result in train_folds(ststnet(), inputs, labels, folds(), RECIPE, every_epoch=True, progress=False):
        assert result.by_epoch.shape == (RECIPE.epochs, len(result.test))
        assert torch.equal(result.by_epoch[-1], result.logits.argmax(-1))


@pytest.mark.parametrize("kind", MAKERS)
def test_bfloat16_products_learn_the_same(kind):
    inputs, labels = clips(kind)
    make_model = MAKERS[kind]()
    single = lambda: make_model().float()  # noqa: E731
    recipe = replace(RECIPE, epochs=6)
    exact, rounded = (
        train_folds(single, inputs, labels, folds(), replace(recipe, precision=name), progress=False)
        for name in ("float32", "bfloat16")
    )
    for one, other in zip(exact, rounded, strict=True):
        assert not torch.equal(one.logits, other.logits)
        torch.testing.assert_close(one.logits, other.logits, atol=0.15, rtol=0.05)


def test_several_labels_a_clip():
    inputs, _ = clips("ststnet")
    labels = torch.randint(0, 2, (ROWS, 5), generator=torch.Generator().manual_seed(0))
    config = STSTNetConfig(num_labels=5, problem_type="multi_label_classification")
    inputs = {"pixel_values": inputs["pixel_values"].float()}
    recipe = replace(RECIPE, balance_classes=False)
    results = train_folds(lambda: STSTNet(config), inputs, labels, folds(), recipe, progress=False)
    assert [tuple(result.logits.shape) for result in results] == [(9, 5), (5, 5), (4, 5)]
    with pytest.raises(ValueError, match="multi-label"):
        train_folds(lambda: STSTNet(config), inputs, labels, folds(), RECIPE, progress=False)


def test_a_loss_that_is_no_number_names_fold_and_epoch():
    inputs, labels = clips("ststnet")
    inputs["pixel_values"][10] = float("nan")  # held out in b: a and c train on it
    train_folds(ststnet(), inputs, labels, folds()[1:2], RECIPE, progress=False)
    with pytest.raises(FloatingPointError, match="fold c, seed 0: the loss is nan in epoch 1"):
        train_folds(ststnet(), inputs, labels, folds()[1:], RECIPE, progress=False)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([], [1], "fold x has no training rows"),
        (range(9), [], "fold x has no test rows"),
    ],
)
def test_wrong_folds_are_refused(train, test, message):
    fold = Fold("x", np.array(train, dtype=np.int64), np.array(test, dtype=np.int64))
    with pytest.raises(ValueError, match=message):
        train_folds(ststnet(), *clips("ststnet"), [fold], RECIPE, progress=False)


def test_wrong_recipes_are_refused():
    with pytest.raises(ValueError, match="optimizer 'lion': use one of adam, adamw, sgd"):
        FoldRecipe(optimizer="lion")
    with pytest.raises(ValueError, match="epochs 0"):
        FoldRecipe(epochs=0)

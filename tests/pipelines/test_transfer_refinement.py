"""Refinement: the tokenizer reads in the result what it read in the source, and the face stays its own."""

import pytest
import torch

import dface_hf
from dface_hf.data import labelled_pairs
from dface_hf.pipelines.transfer import SourceFit, decoded_flow
from dface_hf.pipelines.transfer_refinement import refined
from dface_hf.synthesis.rendering import look

COUNT = 4


@pytest.fixture(scope="module")
def tokenizer():
    return dface_hf.DFaceTokenizerModel.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).eval()


@pytest.fixture(scope="module")
def sources(tokenizer):
    """Pairs of one face (n, 2, 3, S, S), onsets of another that does the same, and its true motion."""
    size = tokenizer.config.image_size
    stream = labelled_pairs(size=size, seed=77, bank=2 * COUNT, amplitude=(1.0, 2.0))
    batch = stream.sample(2 * COUNT, step=0, twins=True)
    pairs = torch.stack([batch.onset[:COUNT], batch.apex[:COUNT]], 1)
    return pairs, batch.onset[COUNT:], batch.backward[COUNT:].permute(0, 2, 3, 1) * (2 / size)


@pytest.fixture(scope="module")
def transferred(tokenizer, sources):
    """Motions (n, S, S, 2) of the other faces, and the vectors (n, 16, code_dim) of the sources."""
    pairs, onsets, _ = sources
    with torch.no_grad():
        aims, null, flows = tokenizer.action_vectors(pairs), tokenizer.null_action_ids(), []
        for pair, onset, ids in zip(pairs, onsets, tokenizer.quantizer.nearest(aims), strict=True):
            fit = SourceFit.of(pair, decoded_flow(tokenizer, pair[:1], ids, null)[0])
            flows.append(fit.gains[..., None] * decoded_flow(tokenizer, onset[None], ids, null)[0])
    return torch.stack(flows), aims


def distance(tokenizer, onsets, flow, aims) -> torch.Tensor:
    size = onsets.shape[-1]
    side = (torch.arange(size) + 0.5) * 2 / size - 1
    moved = look(onsets, torch.stack(torch.meshgrid(side, side, indexing="xy"), -1) + flow)
    return (tokenizer.action_vectors(torch.stack([onsets, moved], 1)) - aims).square().sum((1, 2))


@torch.no_grad()
def test_what_is_read_comes_nearer_to_the_source_and_the_motion_stays_near_the_truth(
    tokenizer, sources, transferred
):
    (_, onsets, true), (flow, aims) = sources, transferred
    better = torch.cat(
        [refined(tokenizer, *one, 2) for one in zip(onsets.split(1), flow.split(1), aims, strict=True)]
    )
    before, after = (distance(tokenizer, onsets, some, aims).mean() for some in (flow, better))
    assert after < 0.7 * before
    moving = true.norm(dim=-1) > 0.2 * true.norm(dim=-1).amax((1, 2), keepdim=True)
    error = [(some - true).norm(dim=-1)[moving].mean() for some in (flow, better)]
    assert error[1] < 1.1 * error[0] < 0.7 * true.norm(dim=-1)[moving].mean()
    change = (better - flow).norm(dim=-1) * 64
    assert 0.01 < change.max() < 0.3  # px of 128
    assert not change[:, 0, 0].any()  # outside the face


@torch.no_grad()
def test_no_step_changes_nothing_and_no_gradient_is_left(tokenizer, sources, transferred):
    (_, onsets, _), (flow, aims) = sources, transferred
    assert refined(tokenizer, onsets, flow, aims[0], 0) is flow
    better = refined(tokenizer, onsets[:1], flow[:1], aims[0], 1)
    assert not better.requires_grad and all(p.grad is None for p in tokenizer.parameters())

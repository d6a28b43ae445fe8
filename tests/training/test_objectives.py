import pytest
import torch

from dface_hf.training.objectives import ActionReader, agreement_loss, flow_loss, quiet_loss, usage_loss


def test_the_flow_loss_is_zero_for_the_truth_and_one_for_no_motion():
    truth = torch.randn(4, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert flow_loss(truth, truth).item() == pytest.approx(0.01, abs=1e-3)  # the root of its epsilon
    assert flow_loss(torch.zeros_like(truth), truth).item() == pytest.approx(1.0, abs=1e-3)


def test_a_small_motion_counts_as_much_as_a_large_one():
    truth = torch.zeros(2, 2, 64, 64)
    truth[:, :, :16], truth[:, :, 48:] = 5.0, 0.5
    without_small, without_large = truth.clone(), truth.clone()
    without_small[:, :, 48:], without_large[:, :, :16] = 0.0, 0.0
    small, large = flow_loss(without_small, truth), flow_loss(without_large, truth)
    assert large.item() == pytest.approx(small.item(), rel=0.05)


def test_agreement_is_perfect_for_equal_twins_and_one_for_unrelated_ones():
    vectors = torch.randn(64, 16, 8, generator=torch.Generator().manual_seed(0))
    assert agreement_loss(vectors[:32].repeat(2, 1, 1)).item() == 0
    assert agreement_loss(vectors).item() == pytest.approx(1.0, abs=0.05)


def test_only_cells_that_do_not_move_are_held_to_silence():
    truth = torch.zeros(2, 2, 32, 32)
    truth[:, :, :8, :8] = 1.0  # the first cell of sixteen moves
    loud = torch.zeros(2, 16, 8)
    loud[:, 0] = 3.0
    assert quiet_loss(loud, truth, 0.15).item() == 0
    loud[:, 5] = 1.0
    assert quiet_loss(loud, truth, 0.15).item() == pytest.approx(1 / 15)
    assert quiet_loss(loud, truth + 1, 0.15).item() == 0  # everything moves: no cell is asked


def test_the_reader_learns_which_actions_show_in_the_codes():
    torch.manual_seed(0)
    reader, codes = ActionReader(16 * 8, 3), torch.randn(64, 16, 8)
    weights = (codes[:, :3, 0] > 0).float() * 0.7
    optimiser = torch.optim.Adam(reader.parameters(), lr=0.05)
    first = reader(codes, weights).item()
    for _ in range(50):
        optimiser.zero_grad()
        loss = reader(codes, weights)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 * first


def test_usage_is_zero_for_even_use_and_one_for_a_single_code():
    codes = 10 * torch.eye(8)
    assert usage_loss(codes[None], codes).item() == pytest.approx(0.0, abs=1e-3)
    assert usage_loss(codes[:1].expand(1, 16, 8), codes).item() == pytest.approx(1.0, abs=1e-3)

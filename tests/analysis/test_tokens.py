import numpy as np
import skimage.data
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis import (
    action_unit_probe,
    evaluate_tokenizer,
    one_hot_tokens,
    pooled_difference,
)
from dface_hf.analysis.probes import (
    ActionUnitProbe,
    difference_of,
    flow_of,
    subject_probe,
    tuned_probe,
    unit_scores,
)
from dface_hf.analysis.token_benchmark import flow_errors
from dface_hf.analysis.tokens import codebook_use, reconstruction, represent, token_agreement
from dface_hf.data import PairClips, labelled_pairs, pretraining_pairs, render_clips, tokenise

CONFIG = DFaceTokenizerConfig(
    image_size=32, patch_size=4, hidden_size=32, num_spatial_layers=1, num_attention_heads=2, head_dim=16
)


def test_a_probe_reads_what_is_there_and_not_what_is_not():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 2, (400, 2))
    features = np.column_stack([units[:, 0] * 1e-3, rng.normal(size=400)]).astype(np.float32)
    result = action_unit_probe(features[:200], units[:200], features[200:], units[200:], (1, 12))
    assert result.f1[1] == 1.0, "features are scaled, however small they are"
    assert result.f1[12] < 0.75
    assert result.macro_f1 == np.mean([result.f1[1], result.f1[12]])


def test_one_hot_and_pooled_difference():
    assert one_hot_tokens(torch.tensor([[0, 3]]), 4).tolist() == [[1, 0, 0, 0, 0, 0, 0, 1]]
    onset = torch.zeros(1, 3, 4, 4)
    apex = onset.clone()
    apex[:, :, :2, :2] = 1
    assert pooled_difference(onset, apex).tolist() == [[1, 0, 0, 0]]


def test_evaluation_of_a_tokenizer_that_says_nothing():
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    tokenizer.quantizer.running_rms.fill_(1e6)  # every vector is short: code 0 everywhere
    streams = [pretraining_pairs(32, seed=seed, bank=32, refresh_every=0, still_share=0.3) for seed in (0, 1)]
    result = evaluate_tokenizer(tokenizer, *streams, clips=(128, 64))
    assert result["null_share_still"] == result["null_share_moving"] == 1.0
    assert result["codes_used"] == 1 and abs(result["perplexity"] - 1) < 1e-5
    assert result["copy_l1"] > 0 and 0 <= result["probe_f1_tokens"] < result["probe_f1_frame_difference"] <= 1


def test_tokenised_pairs_carry_their_classes():
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    ids, labels = tokenise(tokenizer, labelled_pairs("default4", 32, seed=0, bank=32, refresh_every=0), 100)
    assert ids.shape == (128, 16) and labels.shape == (128,)
    assert set(labels.tolist()) == {0, 1, 2, 3}


def test_f1_by_unit():
    predicted = np.array([[1, 0, 0], [1, 1, 0]])
    truth = np.array([[1, 0, 0], [0, 1, 1]])
    result = unit_scores(predicted, truth, (1, 2, 4))
    assert result.f1 == {1: 2 / 3, 2: 1.0, 4: 0.0}, "a unit that is never found counts 0"


def test_the_strength_of_a_probe_is_chosen_on_faces_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    units = (rng.random((400, 1)) < 0.5).astype(np.uint8)
    groups = rng.integers(0, 40, 400)
    weak = 0.4 * units + rng.normal(size=(400, 200))  # a faint sign in each of many features
    assert tuned_probe(weak, units, groups, (1,)).strength == 0.001
    chosen = tuned_probe(weak[:, :1] + 3 * units, units, groups, (1,))
    assert chosen.score(weak[:, :1] + 3 * units, units).macro_f1 > 0.8
    assert ActionUnitProbe((1,)).fit(weak, units).score(weak, units).macro_f1 > 0.95, "overfitted"


def test_a_subject_probe_tells_faces_apart_only_by_what_stays():
    rng = np.random.default_rng(0)
    who = rng.integers(0, 10, 300)
    accuracy, chance = subject_probe(np.eye(10)[who] + 0.1 * rng.normal(size=(300, 10)), who)
    assert accuracy > 0.95 and 0.1 <= chance < 0.2
    assert subject_probe(rng.normal(size=(300, 10)), who)[0] < 0.25


def shifted_clips(shift: int = 2) -> PairClips:
    """Smooth pictures that move to the right."""
    noise = torch.nn.functional.interpolate(torch.rand(4, 3, 12, 12), 80, mode="bicubic").clamp(0, 1)
    pictures = (noise * 255).byte().permute(0, 2, 3, 1).numpy()
    onset, apex = pictures[:, 8:72, 8:72], pictures[:, 8:72, 8 - shift : 72 - shift]
    return PairClips(onset, apex, np.zeros((4, 0), np.uint8), np.arange(4))


def test_flow_and_difference_of_clips():
    clips = shifted_clips()
    x, y = flow_of(clips, grid=8).reshape(4, 8, 8, 2)[:, 2:-2, 2:-2].transpose(3, 0, 1, 2)
    assert abs(x.mean() - 2) < 0.3 and abs(y).mean() < 0.3
    halved = flow_of(clips, side=32, grid=8).reshape(4, 8, 8, 2)[:, 2:-2, 2:-2, 0]
    assert abs(halved.mean() - 1) < 0.3, "pixels of the shrunk crop"
    assert difference_of(clips, 64).shape == (4, 1024)
    same = PairClips(clips.onset, clips.onset, clips.units, clips.identity)
    assert not difference_of(same).any()


def test_what_a_tokenizer_says_of_clips_is_what_it_encodes():
    torch.manual_seed(0)
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    clips = render_clips(pretraining_pairs(32, bank=32, refresh_every=0), 6)
    read = represent(tokenizer, clips)
    frames = torch.cat(list(clips.pixel_values(32)))
    with torch.no_grad():
        ids = tokenizer.encode(*frames.unbind(1))
    assert (read.ids == ids.numpy()).all() and read.vectors.shape == read.codes.shape == (6, 16, 32)
    assert (read.codes == tokenizer.quantizer.codes()[ids].detach().numpy()).all()
    assert list(read.features) == list(read.VIEWS)
    assert (read.features["tokens, one-hot"].reshape(6, 16, 32).argmax(-1) == read.ids).all()


def test_codebook_use_leaves_the_null_code_out():
    ids = np.array([[0, 0, 1, 1], [0, 2, 1, 2]])
    use = codebook_use(ids, 5)
    assert use["dead_codes"] == 2 and use["null_share"] == 3 / 8
    shares = np.array([3, 2]) / 5
    assert np.isclose(use["perplexity"], np.exp(-(shares * np.log(shares)).sum()), atol=1e-4)
    assert codebook_use(np.zeros((2, 4), int), 5) == {"perplexity": 0.0, "dead_codes": 4, "null_share": 1.0}


def test_agreement_is_that_of_all_pairs_of_actions():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (2, 30, 16))
    found = token_agreement(a, b, 3)
    counts = np.zeros((2, 2))
    for i in range(30):
        for j in range(30):
            moves = (a[i] > 0) | (b[j] > 0)
            counts[int(i != j)] += ((a[i] == b[j]) & moves).sum(), moves.sum()
    same, different = counts[:, 0] / counts[:, 1]
    assert np.isclose(found["same"], same) and np.isclose(found["different"], different)
    assert abs(found["corrected"]) < 0.1, "chance"
    assert token_agreement(a, a, 3)["corrected"] == 1.0
    assert token_agreement(0 * a, 0 * a, 3)["corrected"] == 0.0, "stillness is no agreement"


def test_reconstruction_is_measured_against_copying_and_other_tokens():
    torch.manual_seed(0)
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    clips = shifted_clips()
    found = reconstruction(tokenizer, clips)
    with torch.no_grad():
        frames = torch.cat(list(clips.pixel_values(32)))
        onset, apex = frames.unbind(1)
        drawn = tokenizer.decode(onset, tokenizer.encode(onset, apex)).reconstruction
    expected = (drawn - apex).abs().mean() / (onset - apex).abs().mean()
    assert np.isclose(found["l1"], float(expected), atol=1e-3)
    assert found == reconstruction(tokenizer, clips) and 0 <= found["own_better"] <= 1


def test_flow_on_a_coarse_grid_redraws_only_what_moves_together():
    """One pair moves as a whole, the halves of the other move apart."""
    texture = skimage.data.astronaut()[:140, 100:240]
    onset = texture[6:134, 6:134]
    together = texture[3:131, 6:134]
    apart = np.concatenate([texture[3:67, 6:134], texture[73:137, 6:134]])
    for apex, most, least in ((together, 0.4, 0.0), (apart, 1.2, 0.7)):
        pair = PairClips(
            onset[None], np.ascontiguousarray(apex[None]), np.zeros((1, 0), np.uint8), np.zeros(1, int)
        )
        found = flow_errors(pair, (128, 1))
        assert list(found) == ["optical flow, 128x128", "optical flow, 1x1"]
        assert found["optical flow, 128x128"]["l1"] < 0.5
        assert least < found["optical flow, 1x1"]["l1"] < most

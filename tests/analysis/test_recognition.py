import numpy as np
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis.recognition import animated_features, leave_subjects_out, nested_choice
from dface_hf.data.protocols import leave_one_subject_out
from dface_hf.synthesis import procedural_faces

CONFIG = DFaceTokenizerConfig(
    image_size=32, patch_size=4, hidden_size=32, num_spatial_layers=1, num_attention_heads=2, head_dim=16
)


def test_classes_are_recognised_on_strangers_only_by_what_strangers_share():
    rng = np.random.default_rng(0)
    labels, subjects = np.repeat([0, 1, 2], 20), np.tile(np.arange(10), 6)
    shared = np.eye(3)[labels] + 0.05 * rng.normal(size=(60, 3))
    assert leave_subjects_out(shared, labels, subjects) == {"uf1": 1.0, "uar": 1.0}
    alone = np.arange(60) // 2  # each subject has signs of its own for the classes
    own = np.eye(30)[alone] + 0.05 * rng.normal(size=(60, 30))
    assert leave_subjects_out(own, np.arange(60) // 2 % 3, alone // 3)["uf1"] < 0.5


def test_settings_are_chosen_without_the_subject_who_is_tested():
    """One setting tells the classes of all but the last subject, the other those of the last one alone."""
    rng = np.random.default_rng(0)
    labels, subjects = np.tile([0, 1, 2], 20), np.repeat([f"s{n}" for n in range(6)], 10)
    noise, corpora = rng.normal(size=(60, 3)), ["casme2"] * 60
    last = subjects == "s5"
    most = np.where(last[:, None], noise, np.eye(3)[labels] + 0.05 * noise)
    only_last = np.where(last[:, None], np.eye(3)[labels], noise)
    folds = leave_one_subject_out(corpora, subjects)
    found = nested_choice({"most": most, "last": only_last}, labels, folds, corpora, subjects, k=3)
    assert set(found.chosen) == {"most"} and found.inner.shape == (6, 2)
    assert (found.decision.argmax(-1) == labels)[~last].mean() > 0.95
    flipped = np.where(last, (labels + 1) % 3, labels)  # labels of the tested subject change nothing
    again = nested_choice({"most": most, "last": only_last}, flipped, folds, corpora, subjects, k=3)
    assert again.chosen[5] == found.chosen[5] and np.array_equal(again.decision[last], found.decision[last])


def test_animated_motion_is_told_apart_from_stillness():
    torch.manual_seed(0)
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    motion = torch.zeros(3, 2, 64, 64)
    motion[1, 1, 20:40, 20:40] = motion[2, 0, 40:60, 10:50] = 2 / 64
    faces = procedural_faces(2, 96, seed=1, oversample=1)
    found = animated_features(tokenizer, motion, faces, (2.0, 4.0))
    assert {x.shape for x in found.values()} == {(3, 16 * 32)}
    vectors = found["vectors before the codebook"]
    assert np.abs(vectors[0]).max() < 1e-4 < np.abs(vectors[1:]).max()
    shares = found["tokens, one-hot"].reshape(3, 16, 32)
    assert np.allclose(shares.sum(-1), 1) and (shares[0, :, 0] > 0.999).all()

import numpy as np
import pytest
import torch

from dface_hf import DFaceImageProcessor
from dface_hf.data import EvenPairs, cached_clips, keyframe_clips, render_clips, synthetic_me
from dface_hf.data.pair_clips import render_same_action
from dface_hf.synthesis import NuisanceConfig, PairSampler, procedural_faces


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(4, 64, seed=3, oversample=1)


def stream(faces, seed=0, kind=EvenPairs, **options):
    return kind(64, identities=faces, seed=seed, still_share=0.0, **options)


def test_even_pairs_move_as_far_as_asked_whichever_unit_acts(faces):
    options = dict(units=(5, 7), amplitude=(1.0, 1.0), nuisances=NuisanceConfig.none())
    even = stream(faces, **options).sample(16).amplitude
    assert (even > 0.85).all() and (even < 1.1).all()
    assert stream(faces, kind=PairSampler, **options).sample(16).amplitude.max() < 0.6


def test_clips_are_what_the_image_processor_is_given(faces):
    clips = render_clips(stream(faces), 6)
    assert clips.onset.shape == clips.apex.shape == (6, 64, 64, 3) and clips.onset.dtype == np.uint8
    assert clips.units.shape == (6, 18) and clips.identity.max() < 4
    batches = list(clips.pixel_values(32, batch=4))
    assert [len(batch) for batch in batches] == [4, 2]
    processor = DFaceImageProcessor(size={"height": 32, "width": 32})
    pairs = [list(pair) for pair in zip(clips.onset, clips.apex, strict=True)]
    expected = processor(pairs, return_tensors="pt").pixel_values
    assert (torch.cat(batches) - expected).abs().max() <= 1.01 / 255


def test_stabilised_clips_show_less_of_the_head(faces):
    moving = stream(faces, nuisances=NuisanceConfig.none().but(drift=3.0), amplitude=(0.5, 0.5))
    clips, raw = render_clips(moving, 8), moving.sample(8, 0)
    left = np.abs(clips.apex.astype(float) - clips.onset).mean()
    assert left < 0.5 * 255 * float((raw.apex - raw.onset).abs().mean())


def test_two_faces_do_the_same(faces):
    clips = render_same_action(stream(faces), 5)
    assert len(clips) == 10 and (clips.units[::2] == clips.units[1::2]).all()
    assert (clips.identity[::2] != clips.identity[1::2]).all()
    assert np.abs(clips.onset[::2].astype(float) - clips.onset[1::2]).mean() > 5


def test_kept_clips_are_used_until_the_stream_changes(faces, tmp_path):
    asked = []

    def render(clips, seed=0):
        asked.append(clips)
        return render_clips(stream(faces, seed), clips)

    path = tmp_path / "new" / "clips"
    first = cached_clips(path, 60, render)
    again = cached_clips(path, 60, render)
    assert asked == [60, 50], "of kept clips only the first ones are rendered, to compare them"
    assert all((a == b).all() for a, b in zip(first.arrays, again.arrays, strict=True))
    assert len(cached_clips(path, 55, render)) == 55
    other = cached_clips(path, 55, lambda clips: render(clips, seed=1))
    assert not (other.units[:50] == first.units[:50]).all()


def test_keyframes_of_a_corpus(tmp_path):
    rows = synthetic_me("smic", 4, size=64, frames="keyframes", cache_dir=str(tmp_path))
    clips = keyframe_clips(rows)
    assert clips.onset.shape == (4, 64, 64, 3) and clips.units.shape == (4, 0)
    assert len(np.unique(clips.identity)) == len({row["subject"] for row in rows})
    assert (clips.onset != clips.apex).any()

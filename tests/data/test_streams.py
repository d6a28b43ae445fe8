import re

import numpy as np
import PIL.Image
import pytest
import torch

from dface_hf import DFaceImageProcessor
from dface_hf.data import (
    MixedPairs,
    RepeatedPairs,
    VideoPairs,
    aligned_faces,
    pretraining_mix,
    pretraining_pairs,
)
from dface_hf.data.pair_clips import render_clips


@pytest.fixture(scope="module")
def faces():
    return torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def repeated(faces, **options):
    return RepeatedPairs(pretraining_pairs(32, 0, identities=faces, still_share=0.0, **options), batches=2)


def longest(stream, step):
    return stream.sample(8, step).backward.norm(dim=1).amax().item() * 128 / 32


def test_a_curriculum_reaches_the_streams_of_a_mix(faces):
    stream = MixedPairs([(repeated(faces), 1.0)])
    stream.amplitude = (20.0, 20.0)
    large = longest(stream, 0)
    stream.amplitude = (0.5, 0.5)
    assert longest(stream, 0) < 0.5 < large / 2  # the very step that was kept is drawn anew
    assert stream.amplitude == (0.5, 0.5)


def test_pairs_of_an_unchanged_range_stay(faces):
    stream = repeated(faces)
    first = stream.sample(4, 1)
    kept = dict(stream.kept)
    stream.amplitude = stream.amplitude
    assert stream.kept.keys() == kept.keys()
    assert torch.equal(stream.sample(4, 3).apex, first.apex)


def test_a_mix_leaves_streams_without_a_range_alone(faces):
    sampler = pretraining_pairs(32, 0, identities=faces)
    videos = VideoPairs(render_clips(sampler, 2), 32)
    stream = MixedPairs([(videos, 0.5), (repeated(faces), 0.5)])
    stream.amplitude = (1.0, 2.0)
    assert videos.amplitude is None and stream.streams[1].amplitude == (1.0, 2.0)
    assert MixedPairs([(videos, 1.0)]).amplitude is None


def test_real_pairs_are_shrunk_as_at_inference(faces):
    clips = render_clips(pretraining_pairs(48, 0, identities=faces), 1)
    processor = DFaceImageProcessor(size={"height": 20, "width": 20})
    seen = processor([clips.onset[0], clips.apex[0]], return_tensors="pt").pixel_values[0]
    pairs = VideoPairs(clips, 20).sample(4, 0)
    for pair in zip(pairs.onset, pairs.apex, strict=True):
        found = torch.stack(pair)
        apart = min(float((found.flip(-1) - seen).abs().max()), float((found - seen).abs().max()))
        assert apart <= 1.01 / 255


def test_identities_of_any_kind_of_picture(tmp_path):
    frame = np.full((40, 40, 3), 200, np.uint8)
    for name in ("a.png", "b.webp", "c.bmp", "d.tif"):
        PIL.Image.fromarray(frame).save(tmp_path / name)
    PIL.Image.fromarray(np.full((40, 40), 200 * 256, np.uint16)).save(tmp_path / "deep.tiff")
    (tmp_path / "notes.txt").write_text("none")
    found = aligned_faces(tmp_path, 32)
    assert found.shape == (5, 3, 32, 32) and (found - 200 / 255).abs().max() < 0.02
    (tmp_path / "e.webp").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="e.webp"):
        aligned_faces(tmp_path, 32)


def test_the_mix_for_pretraining_is_a_function_of_seed_and_step():
    def pairs(step, **options):
        stream, lines = pretraining_mix(32, seed=3, batches=2, batch_size=4, **options)
        assert len(lines) == 1 and lines[0].startswith("8 procedural faces")
        return stream.sample(4, step)

    assert torch.equal(pairs(1).apex, pairs(1).apex)
    assert torch.equal(pairs(0).apex, pairs(2).apex)  # two batches, over and over
    assert not torch.equal(pairs(0).apex, pairs(1).apex)
    assert not pairs(0, still_share=1.0).weights.any()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["drawings"], "['drawings']; known are procedural"),
        ([], "known are"),
        (["videos"], "need a folder of faces"),
    ],
)
def test_parts_of_the_mix_that_are_not_there(parts, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        pretraining_mix(32, parts=parts)

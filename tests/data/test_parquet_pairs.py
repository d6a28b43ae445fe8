import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, DatasetDict

from dface_hf.data import CLIP_FEATURES, MixedPairs, ParquetPairs, labelled_clips, open_clips, share_of
from dface_hf.data.real_videos import GAP

from .clip_sets import SIZE, clip_of, clip_set, index_of, rows, write_clips


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("prepared"))


def pairs(prepared, **options):
    return ParquetPairs([prepared], SIZE, window=5, per_clip=2, **options)


def test_a_pass_shows_every_clip_and_the_next_one_in_another_order(prepared):
    stream = pairs(prepared, keyframe_share=1.0)  # one pair a clip, as equal pairs count once
    first, second = (stream.sample(12, step) for step in range(2))
    shown = [[clip_of(onset) for onset in batch.onset] for batch in (first, second)]
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(12))
    assert shown[0] != shown[1] and shown[0] != sorted(shown[0])
    assert first.onset.shape == (12, 3, SIZE, SIZE) and first.weights is None


def test_pairs_are_keyframes_or_frames_of_the_gap(prepared):
    keyframes = pairs(prepared, keyframe_share=1.0).sample(12, 0)
    assert {index_of(onset) for onset in keyframes.onset} == {2}
    stream, gaps, onsets = pairs(prepared, keyframe_share=0.0), set(), set()
    for step in range(10):
        batch = stream.sample(12, step)
        onsets |= {index_of(onset) for onset in batch.onset}
        gaps |= {
            index_of(apex) - index_of(onset) for onset, apex in zip(batch.onset, batch.apex, strict=True)
        }
    assert len(onsets) > 5 and max(onsets) <= 29 - GAP[0]
    # The apex's corner is only nearly its index: it was brought to the brightness of the onset.
    assert GAP[0] - 1 <= min(gaps) and max(gaps) <= GAP[1] + 1 and len(gaps) > 4


def test_a_stream_goes_on_exactly_where_its_state_was_taken(prepared):
    whole, states, batches = pairs(prepared), [], []
    for step in range(14):
        states.append(json.loads(json.dumps(whole.state_dict())))
        batches.append(whole.sample(4, step))
    assert whole.number >= 2
    for step, state in enumerate(states):
        resumed = pairs(prepared)
        resumed.load_state_dict(state)
        for later in range(step, min(step + 3, 14)):
            again = resumed.sample(4, later)
            assert torch.equal(again.onset, batches[later].onset), (step, later)
            assert torch.equal(again.apex, batches[later].apex), (step, later)


@pytest.mark.parametrize("ranks", [2, 3])  # three divides the number of files, two does not
def test_processes_read_different_clips_and_together_all(prepared, ranks):
    shown = []
    for rank in range(ranks):
        stream = pairs(prepared, keyframe_share=1.0)
        batch = share_of(stream, 12, 0, False, rank, ranks)
        shown.append({clip_of(onset) for onset in batch.onset})
        assert len(shown[-1]) == 12 // ranks
    assert set.union(*shown) == set(range(12))


def test_a_mixture_keeps_the_state_of_its_clips(prepared):
    def mixture():
        return MixedPairs([(pairs(prepared), 0.5), (pairs(prepared, seed=1), 0.5)])

    whole = mixture()
    for step in range(5):
        whole.sample(4, step)
    resumed = mixture()
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert torch.equal(resumed.sample(4, 5).apex, whole.sample(4, 5).apex)


def test_prepared_clips_are_read_from_parquet_and_from_disk(prepared, tmp_path):
    clip_set(3).save_to_disk(tmp_path / "disk")
    assert [row["clip_id"] for row in open_clips(tmp_path / "disk")] == ["c0", "c1", "c2"]
    assert {row["clip_id"] for row in open_clips(prepared)} == {f"c{clip}" for clip in range(12)}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no \.parquet file in it"):
        open_clips(tmp_path / "empty")
    Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "text" / "x.parquet")
    with pytest.raises(ValueError, match="lacks the columns .*'apex'"):
        open_clips(tmp_path / "text")


def test_clips_without_a_class_are_counted(tmp_path):
    folder = write_clips(tmp_path, 8, 1, emotions=("happiness", "others", "surprise", None), frames=9)
    found = labelled_clips([folder], "composite3")
    assert found.left_out == {"others": 2, "no emotion": 2}
    assert found.labels.tolist() == [1, 2, 1, 2] and found.corpora == ("look-alike",)
    assert found.pairs.onset[0].shape == (SIZE, SIZE, 3) and found.licenses == ("cc0-1.0",)
    assert round((found.pairs.onset[1, 4:].mean() - 40) / 12) == 2
    with pytest.raises(ValueError, match="no clip with a class of composite3: 1 x no emotion"):
        labelled_clips([write_clips(tmp_path / "none", 1, 1, emotions=(None,), frames=9)], "composite3")


def test_splits_are_told_by_files_folders_and_dataset_dicts(tmp_path):
    def subjects(source, split=None):
        return [row["subject"] for row in open_clips(source, split)]

    found = Dataset.from_list(rows(4, frames=9), features=CLIP_FEATURES)
    parts = {"validation": found.select([1]), "train": found.select([0, 3]), "test": found.select([2])}
    (tmp_path / "files").mkdir()
    for name, part in parts.items():
        part.to_parquet(tmp_path / "files" / f"{name}-00000-of-00001.parquet")
        part.to_parquet(tmp_path / "folders" / name / "part.parquet")
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    for source in (tmp_path / "files", tmp_path / "folders", tmp_path / "saved"):
        assert subjects(source) == ["s0", "s3", "s1", "s2"]
        assert subjects(source, "train") == ["s0", "s3"] and subjects(source, "test") == ["s2"]
        clips = labelled_clips([source], "composite3")
        assert clips.splits == ("train", "train", "validation", "test")
        assert clips.rows(np.array([3, 0])).splits == ("test", "train")
        stream = ParquetPairs([source], SIZE, keyframe_share=1.0)  # the test clip is not pretrained on
        assert {clip_of(one) for one in stream.sample(40, 0).onset} == {0, 3}
    with pytest.raises(ValueError, match="has no split test, but train"):
        open_clips(write_clips(tmp_path / "whole", 4, 1, frames=9), "test")
    assert labelled_clips([tmp_path / "whole"], "composite3").splits == ()
    found.to_parquet(tmp_path / "only" / "test.parquet")
    with pytest.raises(ValueError, match="has no split train, but test"):
        ParquetPairs([tmp_path / "only"], SIZE)


def test_an_apex_outside_its_clip_is_named(tmp_path):
    (row,) = rows(1, frames=9)
    Dataset.from_list([row | {"apex": 40}], features=CLIP_FEATURES).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="look-alike/c0 has no frame 40; it has 9"):
        labelled_clips([tmp_path], "composite3")
    with pytest.raises(ValueError, match="look-alike/c0 has no frame 40"):
        ParquetPairs([tmp_path], SIZE, keyframe_share=1.0).sample(1, 0)


def test_what_cannot_be_read_is_named(prepared, tmp_path):
    found = rows(2, frames=9)
    found[1]["frames"] = [frame.resize((16, 16)) for frame in found[1]["frames"]]
    Dataset.from_list(found, features=CLIP_FEATURES).to_parquet(tmp_path / "sizes" / "a.parquet")
    with pytest.raises(ValueError, match="look-alike/c1 has frames of 16x16 px, .* before it 32x32; prepare"):
        labelled_clips([tmp_path / "sizes"], "composite3")
    whole = next(Path(prepared).rglob("*.parquet"))
    table = pq.read_table(whole)
    broken = table.to_pylist()
    broken[0]["frames"][2]["bytes"] = b"no picture"
    (tmp_path / "picture").mkdir()
    pq.write_table(pa.Table.from_pylist(broken, table.schema), tmp_path / "picture" / "a.parquet")
    with pytest.raises(ValueError, match="frame 2 cannot be read: it is no picture; prepare the clip again"):
        labelled_clips([tmp_path / "picture"], "composite3")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "a.parquet").write_bytes(whole.read_bytes()[:500])
    with pytest.raises(ValueError, match="half/a.parquet: no whole Parquet file; copy it again"):
        open_clips(tmp_path / "half")

"""The synthetic corpora of action units, and reading them for the detection of units."""

import numpy as np
import pytest
from datasets import Dataset

from dface_hf.actions import active_units
from dface_hf.data import CLIP_FEATURES, check_clip
from dface_hf.data.synthetic_au import (
    AU_CORPORA,
    plan_units,
    synthetic_au,
    unit_combinations,
    write_au_corpora,
)
from dface_hf.data.unit_clips import read_unit_clips
from dface_hf.models.ac4au.configuration_ac4au import UNITS

from .clip_sets import rows


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list[str]:
    return write_au_corpora(tmp_path_factory.mktemp("au"), clips=4, size=32)


def test_rows_are_of_the_schema_and_differ_between_corpora(tmp_path):
    one, again = (synthetic_au("web", 2, size=32, cache_dir=str(tmp_path / name)) for name in "ab")
    for row in one:
        check_clip(row)
        assert row["emotion"] is None and row["fps"] == 30.0 and row["action_units"]
        assert set(active_units(row["action_units"])) <= set(UNITS)
    assert [np.asarray(f).tolist() for f in one[1]["frames"]] == [
        np.asarray(f).tolist() for f in again[1]["frames"]
    ]
    other = synthetic_au("web", 2, seed=5, size=32, cache_dir=str(tmp_path / "c"))
    assert other["action_units"] != one["action_units"]
    assert len({(one.fps, one.amplitude, one.seed) for one in AU_CORPORA.values()}) == len(AU_CORPORA) == 3


def test_all_units_come_with_others_and_alone():
    plan = [set(clip.units) for name, one in AU_CORPORA.items() for clip in plan_units(name, 160, one.seed)]
    counts = {unit: sum(unit in units for units in plan) for unit in UNITS}
    assert min(counts.values()) > 10 and max(counts.values()) < len(plan) / 2
    assert any(len(units) > 2 for units in plan) and any(len(units) == 1 for units in plan)
    both = sum({1, 2} <= units for units in plan)
    assert both > 2 * counts[1] * counts[2] / len(plan)  # together more often than by chance
    assert sum(one.unilateral for one in unit_combinations()) == 2


def test_unknown_corpus_and_no_clips():
    with pytest.raises(ValueError, match="unknown corpus 'vhs'; known: fast, grey, web"):
        synthetic_au("vhs")
    with pytest.raises(ValueError, match="clips=0"):
        synthetic_au("web", 0)


def test_what_was_written_is_not_made_again(corpora):
    before = read_unit_clips(corpora, 16)
    folder = corpora[0].rsplit("/", 1)[0]
    assert write_au_corpora(folder, clips=4, size=32) == corpora
    with pytest.raises(ValueError, match="fast: made with clips 4, not 99; size 32, not 64: remove"):
        write_au_corpora(folder, clips=99, size=64)
    assert read_unit_clips(corpora, 16).fingerprint == before.fingerprint


def test_another_take_has_other_people_and_names(tmp_path):
    folders = write_au_corpora(tmp_path, clips=2, size=32, takes=2)
    assert [folder.rsplit("/", 1)[1] for folder in folders] == [*AU_CORPORA, *(f"{n}-1" for n in AU_CORPORA)]
    clips = read_unit_clips([folders[0], folders[3]], 16)
    assert set(clips.corpora) == {"SyntheticAU-fast"} and len(set(clips.names)) == 4
    assert clips.subject_ids(np.arange(4)).max() == 1 and clips.subjects[2] == "1811-sub01"
    assert (clips.frames[0] != clips.frames[2]).any()


def test_clips_of_units(corpora):
    clips = read_unit_clips(corpora, 16)
    assert clips.frames.shape == (12, 8, 16, 16, 3) and clips.pairs.onset.shape == (12, 32, 32, 3)
    assert list(dict.fromkeys(clips.corpora)) == [f"SyntheticAU-{name}" for name in AU_CORPORA]
    notation = [row["action_units"] for name in AU_CORPORA for row in plan_rows(name)]
    assert clips.shown.tolist() == [[unit in active_units(cell) for unit in UNITS] for cell in notation]
    assert (clips.frames[:, 0] != clips.frames[:, 4]).any(axis=(1, 2, 3)).all()  # something moves
    some = clips.rows(np.array([5, 2]))
    assert some.names == (clips.names[5], clips.names[2]) and len(some.pairs) == 2
    ids = clips.subject_ids(np.array([0, 1, 4]))
    assert ids[[0, 1, 4]].tolist() == [0, 1, 2] and (ids[8:] == -1).all()


def plan_rows(name: str) -> list[dict]:
    return [{"action_units": clip.notation} for clip in plan_units(name, 4, AU_CORPORA[name].seed)]


def test_clips_that_cannot_be_read(corpora, tmp_path):
    def written(name: str, **changes) -> str:
        found = [row | changes for row in rows(4, frames=12)]
        (tmp_path / name).mkdir()
        Dataset.from_list(found, features=CLIP_FEATURES).to_parquet(tmp_path / name / "part.parquet")
        return str(tmp_path / name)

    with pytest.raises(ValueError, match="none of 4 clips has action units; give a coded corpus"):
        read_unit_clips([uncoded := written("uncoded", action_units="")])
    keyframes = [row["frames"][:3] for row in rows(1, frames=12)][0]
    short = written("short", action_units="4", frames=keyframes, onset=0, apex=1, offset=2)
    with pytest.raises(ValueError, match="holds keyframes only.*--frames all"):
        read_unit_clips([short])
    with pytest.raises(ValueError, match="give each clip once"):
        read_unit_clips([corpora[0], corpora[0]], 16)
    with pytest.raises(ValueError, match="different sizes"):
        read_unit_clips([corpora[0], written("large", action_units="4", frames=larger(), offset=11)], 16)
    mixed = read_unit_clips([corpora[0], uncoded], 16)
    assert (len(mixed), mixed.left_out) == (4, {"look-alike": 4})


def larger() -> list:
    return [np.zeros((40, 40, 3), np.uint8)] * 12

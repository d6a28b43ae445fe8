"""The composite of MEGC 2019: published counts from sheets, from prepared corpora and from a manifest."""

from pathlib import Path

import numpy as np
import pytest

from dface_hf.data import (
    CORPORA,
    check_composite,
    read_corpus,
    read_flow_images,
    read_manifest,
    select_composite,
)
from dface_hf.data.megc2019 import COUNTS, SUBJECTS

from . import releases

MEGC = Path(__file__).resolve().parents[2] / "../shared/data/megc2019"


def rows_of(corpus: str, emotions: dict[str, int], subjects: int, also=()) -> list[dict]:
    """Rows of the clip schema, as far as the composite looks at them."""
    clips = releases.spread(emotions, subjects)
    rows = [
        {"corpus": corpus, "subject": f"s{s:02d}", "clip_id": f"s{s:02d}/c{i}", "emotion": word}
        for i, (s, word) in enumerate(clips)
    ]
    extra = [{"corpus": corpus, "subject": i[:5], "clip_id": i, "emotion": "disgust"} for i in also]
    return rows + extra


def whole_corpora() -> list[dict]:
    """Every clip of the three sheets; CASME II's two subjects without a class have "others" only."""
    casme2 = dict(CORPORA["casme2"].emotions)
    named = {word: casme2[word] for word in ("happiness", "repression", "surprise", "sadness", "fear")}
    rows = rows_of("casme2", named | {"disgust": 61}, 24, ("sub04/EP12_01f", "sub05/EP09_05f"))
    rows += [
        row | {"subject": "x", "clip_id": f"x/{i}"}
        for i, row in enumerate(rows_of("casme2", {"others": 99}, 2))
    ]
    samm = dict(CORPORA["samm"].emotions)
    other = samm.pop("others")
    rows += rows_of("samm", samm, 28) + [
        row | {"subject": "y"} for row in rows_of("samm", {"others": other}, 1)
    ]
    return rows + rows_of("smic", CORPORA["smic"].emotions, 16)


def test_the_composite_has_the_published_counts():
    rows = whole_corpora()
    assert len(rows) == 255 + 159 + 164
    found = select_composite(rows)
    check_composite(found)
    assert len(found) == 442 and found.counts() == COUNTS and found.subject_counts() == SUBJECTS
    assert sum(SUBJECTS.values()) == 68
    assert np.bincount(found.labels).tolist() == [250, 109, 83]
    for i in (0, 200, 441):
        row = rows[found.rows[i]]
        assert (row["corpus"], row["subject"]) == (found.corpora[i], found.subjects[i])
        assert row["clip_id"] == f"{found.subjects[i]}/{found.clips[i]}"


def test_an_incomplete_composite_is_told():
    rows = whole_corpora()
    lost = next(i for i, row in enumerate(rows) if row["corpus"] == "samm" and row["emotion"] == "contempt")
    with pytest.raises(ValueError, match="samm has 91/26/15 clips .* published are 92/26/15 clips"):
        check_composite(select_composite(rows[:lost] + rows[lost + 1 :]))
    with pytest.raises(ValueError, match="smic has 0/0/0 clips"):
        check_composite(select_composite([row for row in rows if row["corpus"] != "smic"]))
    assert len(select_composite([])) == 0


def test_names_of_readers_are_those_of_the_composite(tmp_path):
    releases.smic_clip(tmp_path, 1, "negative", 1, range(5))
    (clip,) = read_corpus("smic", tmp_path).clips
    row = {name: getattr(clip, name) for name in ("corpus", "subject", "clip_id", "emotion")}
    found = select_composite([row])
    assert (found.subjects[0], found.clips[0], found.labels[0]) == ("s01", "s01_ne_01", 0)


def test_bad_manifests_are_named(tmp_path):
    path = tmp_path / "manifest.csv"
    with pytest.raises(ValueError, match="manifest.csv: no such file"):
        read_manifest(path)
    path.write_text("corpus,subject,label\nsmic,s01,0\n")
    with pytest.raises(ValueError, match="lacks column 'clip'"):
        read_manifest(path)
    path.write_text("corpus,subject,clip,label\nsmic,s01,s01_ne_01,0\nsmic,s01,s01_ne_02,3\n")
    with pytest.raises(ValueError, match="row 3: label '3' must be 0, 1 or 2"):
        read_manifest(path)


@pytest.mark.skipif(not (MEGC / "manifest.csv").exists(), reason="the flow pictures are absent")
def test_the_real_manifest_is_complete():
    found = read_manifest(MEGC / "manifest.csv")
    check_composite(found)
    pictures = read_flow_images(MEGC)
    assert pictures.images.shape == (442, 28, 28, 3) and len(set(pictures.subjects)) == 68
    assert np.array_equal(pictures.clips, found.clips) and np.array_equal(pictures.corpora, found.corpora)
    assert np.array_equal(pictures.labels, found.labels)

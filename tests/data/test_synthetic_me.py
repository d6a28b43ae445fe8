from collections import Counter

import numpy as np
import pytest

from dface_hf.actions import get_class_scheme, parse_action_units
from dface_hf.data import (
    CLIP_FEATURES,
    CORPORA,
    check_clip,
    emotion_pairs,
    plan_corpus,
    scheme_action_sets,
    synthetic_me,
)


@pytest.mark.parametrize(
    ("corpus", "clips", "subjects", "common"),
    [
        ("casme2", 255, 26, ("others", 99)),
        ("samm", 159, 29, ("anger", 57)),
        ("smic", 164, 16, ("negative", 70)),
    ],
)
def test_counts_and_imbalance_are_the_published_ones(corpus, clips, subjects, common):
    plan = plan_corpus(corpus)
    emotions, people = Counter(c.emotion for c in plan), Counter(c.subject for c in plan)
    assert len(plan) == clips == len({c.clip_id for c in plan})
    assert dict(emotions) == CORPORA[corpus].emotions and emotions.most_common(1) == [common]
    assert len(people) == subjects
    sizes = sorted(people.values(), reverse=True)
    assert sizes[0] > 4 * sizes[len(sizes) // 2] / 2 and sizes[0] >= 2 * sizes[2]


def test_plans_come_from_the_seed_and_can_be_shrunk():
    assert plan_corpus("casme2", seed=1) == plan_corpus("casme2", seed=1) != plan_corpus("casme2", seed=2)
    small = plan_corpus("casme2", clips=51)
    assert len(small) == 51 and Counter(c.emotion for c in small)["others"] in (19, 20, 21)
    assert len(plan_corpus("smic", clips=3)) == 3
    with pytest.raises(ValueError, match="unknown corpus 'casme9'"):
        plan_corpus("casme9")
    with pytest.raises(ValueError, match="clips=0"):
        plan_corpus("smic", clips=0)


def test_plans_look_like_micro_expressions():
    plan = plan_corpus("casme2") + plan_corpus("samm")
    assert np.mean([len(c.units) for c in plan]) == pytest.approx(1.5, abs=0.25)
    assert all(0.1 < c.peak <= 2.0 and 0.15 <= c.course.total <= 0.6001 for c in plan)
    assert all(parse_action_units(c.notation) for c in plan)
    contempt = [c for c in plan if c.emotion == "contempt"]
    assert all(c.sides[c.units.index(14) if 14 in c.units else 0] in "LR" for c in contempt)
    happy = [c for c in plan if c.emotion == "happiness"]
    assert all({6, 12} & set(c.units) for c in happy)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("datasets"))


def test_a_corpus_is_a_dataset_of_the_clip_schema(cache):
    data = synthetic_me("casme2", clips=3, size=64, cache_dir=cache)
    assert data.features == CLIP_FEATURES and len(data) == 3
    for row in data:
        check_clip(row)
        assert row["corpus"] == "SyntheticME-casme2" and row["fps"] == 200 and row["license"] == "cc0-1.0"
        frames = np.stack([np.asarray(f) for f in row["frames"]])
        assert frames.shape[1:] == (64, 64, 3) and frames.dtype == np.uint8 and len(frames) > 40
        assert not np.array_equal(frames[row["onset"]], frames[row["apex"]])


def test_keyframes_are_frames_of_the_whole_clip(cache):
    whole = synthetic_me("casme2", clips=2, size=64, cache_dir=cache)
    keys = synthetic_me("casme2", clips=2, size=64, frames="keyframes", cache_dir=cache)
    for a, b in zip(whole, keys, strict=True):
        assert len(b["frames"]) == 3 and (b["onset"], b["apex"], b["offset"]) == (0, 1, 2)
        for name, frame in zip(("onset", "apex", "offset"), b["frames"], strict=True):
            assert np.array_equal(np.asarray(a["frames"][a[name]]), np.asarray(frame)), name
    with pytest.raises(ValueError, match="frames='some'"):
        synthetic_me("casme2", frames="some")


def test_samm_is_grey_and_smic_has_no_apex_of_its_own(cache):
    samm = synthetic_me("samm", clips=1, size=64, frames="keyframes", cache_dir=cache)[0]
    picture = np.asarray(samm["frames"][0])
    assert np.array_equal(picture[..., 0], picture[..., 2])
    smic = synthetic_me("smic", clips=2, size=64, cache_dir=cache)
    for row in smic:
        assert row["fps"] == 100 and row["action_units"] == ""
        assert row["apex"] == (row["onset"] + row["offset"]) // 2


def test_datasets_are_reproducible_without_the_cache(cache, tmp_path):
    first = synthetic_me("smic", clips=1, size=64, frames="keyframes", cache_dir=cache)
    second = synthetic_me("smic", clips=1, size=64, frames="keyframes", cache_dir=str(tmp_path))
    assert first[0] == second[0]
    other = synthetic_me("smic", clips=1, size=64, frames="keyframes", seed=1, cache_dir=str(tmp_path))
    assert first[0]["frames"][0] != other[0]["frames"][0]


def test_labelled_pairs_follow_the_scheme():
    stream = emotion_pairs("default4", bank=32)
    batch = stream.sample(200, step=0)
    share = batch.label.bincount(minlength=4) / 200
    assert share.min() > 0.15 and batch.label.min() == 0
    scheme = get_class_scheme("default4")
    column = {unit: i for i, unit in enumerate(stream.units)}
    positive = batch.units[batch.label == scheme.label2id["positive"]]
    assert (positive[:, [column[6], column[12]]].sum(1) > 0).all()
    unbalanced = scheme_action_sets("casme2_5")
    weight = Counter()
    for item in unbalanced:
        weight[item.label] += item.probability
    labels = get_class_scheme("casme2_5").label2id
    assert weight[labels["others"]] / weight[labels["surprise"]] == pytest.approx(99 / 25)

import pytest
import torch

from dface_hf.synthesis.seeds import seed_of, seeded
from dface_hf.synthesis.timing import (
    FPS,
    TimeCourse,
    blink_course,
    draw_macro_course,
    draw_time_course,
    jitter_labels,
)


@pytest.mark.parametrize("fps", FPS)
def test_keyframes_and_intensity_agree(fps):
    for seed in range(40):
        course = draw_time_course(seeded(seed))
        values, (onset, apex, offset) = course.frames(fps, before=3, after=2)
        assert onset == 3 and onset < apex < offset and len(values) == offset + 3
        assert values[: onset + 1].eq(0).all() and values[offset:].eq(0).all()
        assert values[apex] == 1 and values.max() == 1 and values.min() >= 0
        assert (values[onset : apex + 1].diff() >= 0).all(), "rises up to the apex"
        assert values.argmax() == apex


def test_durations_follow_the_published_ranges():
    courses = [draw_time_course(seeded("t", i)) for i in range(800)]
    total = torch.tensor([c.total for c in courses])
    rise = torch.tensor([c.rise for c in courses])
    assert total.min() >= 0.15 - 1e-6 and total.max() <= 0.6 + 1e-6
    assert total.median() == pytest.approx(0.33, abs=0.02)
    assert rise.min() >= 0.065 - 1e-6 and rise.max() <= 0.26 + 1e-6
    assert (rise / total).median() == pytest.approx(0.45, abs=0.04)
    assert all(0 <= c.hold <= 0.08 and c.fall > 0 for c in courses)
    assert all(draw_macro_course(seeded(i)).total > 0.6 for i in range(50))
    assert all(blink_course(seeded(i)).total < 0.4 for i in range(50))


def test_labels_are_jittered_within_their_share_and_stay_ordered():
    for seed in range(200):
        onset, apex, offset = jitter_labels((50, 80, 120), seeded(seed), 0.1)
        assert onset < apex < offset
        assert abs(onset - 50) <= 7 and abs(apex - 80) <= 7 and abs(offset - 120) <= 14
    assert jitter_labels((5, 8, 12), seeded(0), 0.0) == (5, 8, 12)


def test_bad_courses_are_refused():
    with pytest.raises(ValueError, match="rise=0"):
        TimeCourse(0, 0, 1)
    with pytest.raises(ValueError, match="fps=0"):
        TimeCourse(0.1, 0, 0.2).frames(0)


def test_seeds_are_the_same_everywhere():
    assert seed_of("pairs", 0, 1) == 5703780427902569140
    assert seed_of("a", 12) != seed_of("a1", 2)

"""Clips with action units for tests, made without a face: each unit brightens a place of its own."""

import numpy as np

from dface_hf.data.pair_clips import PairClips
from dface_hf.data.unit_clips import UnitClips
from dface_hf.models import AC4AUConfig
from dface_hf.models.ac4au.configuration_ac4au import UNITS

SIZE, PAIR_SIZE, TIME = 16, 32, 8
TINY = AC4AUConfig(
    image_size=SIZE, stem_channels=4, stage_channels=(4, 8, 8), stage_depths=(0, 0, 0), head_channels=16,
    hidden_size=16, spatial_stages=(0,), num_temporal_layers=1, num_attention_heads=2, num_experts=3,
    expert_size=8, dropout=0.1,
)  # fmt: skip


def unit_clips(clips: int = 24, corpora: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> UnitClips:
    """Clips of three subjects a corpus; where unit k is shown, column k brightens and fades."""
    rng = np.random.default_rng(seed)
    shown = (rng.random((clips, len(UNITS))) < 0.3).astype(np.uint8)
    course = np.sin(np.linspace(0, np.pi, TIME))
    faces = rng.integers(40, 160, (len(corpora), 3, SIZE, SIZE, 3))
    which = np.arange(clips) % len(corpora), np.arange(clips) // len(corpora) % 3
    moved = np.zeros((clips, SIZE, SIZE, 1))
    moved[:, 4:12, : len(UNITS)] = 80 * shown[:, None, :, None]
    frames = faces[which][:, None] + course[None, :, None, None, None] * moved[:, None]
    frames = frames.round().astype(np.uint8)
    large = frames.repeat(PAIR_SIZE // SIZE, 2).repeat(PAIR_SIZE // SIZE, 3)
    pairs = PairClips(large[:, 0], large[:, TIME // 2], np.zeros((clips, 0), np.uint8), which[1])
    names = tuple(
        (corpora[corpus], f"s{person}", f"c{number}")
        for number, (corpus, person) in enumerate(zip(*which, strict=True))
    )
    return UnitClips(frames, pairs, shown, UNITS, names, {}, ("cc0-1.0",))

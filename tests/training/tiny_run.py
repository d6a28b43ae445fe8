"""A tiny pretraining run as a program of its own, for tests that kill it or start it twice.

    python tiny_run.py OUTPUT '{"steps": 12, "model": {"code_dim": 8}}' [resume]

STEP_TIME in the environment is how long drawing the pairs of a step takes, in seconds.
"""

import json
import os
import sys
import time
from types import SimpleNamespace

import torch

from dface_hf import DFaceTokenizerConfig
from dface_hf.training import PretrainConfig, pretrain

MODEL = DFaceTokenizerConfig(
    image_size=32,
    patch_size=4,
    hidden_size=32,
    num_spatial_layers=1,
    num_attention_heads=2,
    head_dim=16,
    code_dim=8,
)
RECIPE = dict(
    steps=12,
    batch_size=8,
    continuous_steps=4,
    revive_every=2,
    lr_warmup_steps=2,
    log_every=2,
    checkpoint_every=4,
)


class ShiftStream:
    """Random images; the apex is the onset moved by a pixel, or the onset itself: fast, and a function of the
    step."""

    amplitude = (1.0, 1.0)
    num_actions = 1

    def sample(self, batch, step=None, twins=False):
        time.sleep(float(os.environ.get("STEP_TIME", 0)))
        generator = torch.Generator().manual_seed(step)
        onset = torch.rand(batch, 3, 32, 32, generator=generator)
        moving = (torch.arange(batch) % (batch // 2) % 4 > 0)[:, None, None, None]
        apex = torch.where(moving, onset.roll(1, dims=3), onset)
        backward = torch.where(moving, torch.tensor([-1.0, 0.0])[:, None, None], 0.0).expand(-1, 2, 32, 32)
        weights = moving[:, :, 0, 0].float()
        return SimpleNamespace(onset=onset, apex=apex, weights=weights, backward=backward)


if __name__ == "__main__":
    output, options, *rest = sys.argv[1:]
    options = json.loads(options)
    model = DFaceTokenizerConfig(**(MODEL.to_dict() | options.pop("model", {})))
    recipe = PretrainConfig(**(RECIPE | options))
    pretrain(model, ShiftStream(), recipe, output, resume="resume" in rest)

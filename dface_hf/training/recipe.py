"""How a tokenizer is pretrained: every number that a run depends on, in one place."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dface_hf.models import DFaceTokenizerConfig


@dataclass(frozen=True)
class PretrainConfig:
    """How a tokenizer is pretrained.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pairs a forward pass and process.
        gradient_accumulation_steps: Forward passes that share an optimiser step, to save memory. Statistics
            of a batch (its RMS, usage, agreement) are then those of one pass.
        learning_rate: Peak of the cosine schedule.
        codebook_rate: Learning rate of the codebooks, relative to the rest.
        lr_warmup_steps: Steps of linear warm-up.
        weight_decay: Of AdamW.
        grad_clip: Largest norm of the gradient.
        ema_decay: Of the moving average of the weights, which is then what is published; 0 for none.
        continuous_steps: First steps without quantisation.
        codebook_from_data: After them, start the codebooks by k-means on vectors of the stream; otherwise
            they start at random.
        hard_share: Share of the run, at its end, in which decoder and codebook train on the codewords
            themselves.
        commitment_weight: Weight of the distance between vectors and their codewords in that last part, in
            which the encoder goes on with straight-through gradients; 0 lets it rest.
        revive_every: Steps between revivals of dead codes; none once codewords are hard.
        image_weight: Weight of the error of the decoded apex frame.
        flow_weight: Weight of the error of the decoded motion against the true one (`flow_loss`).
        unit_weight: Weight of reading the acting fields from the tokens by a linear map (`ActionReader`).
        twins: Draw pairs of pairs in which two faces do the same.
        swap_share: Share of the twins that are decoded with each other's tokens.
        agreement_weight: Weight of the distance between the vectors of twins (`agreement_loss`), from the
            end of the continuous steps on.
        usage_weight: Weight of the unevenness of the use of the codes (`usage_loss`), from the end of the
            continuous steps on.
        adversary_weight: Weight of a critic that tells twins apart by their vectors, with its gradient
            reversed for the encoder (`FaceCritic`), from the end of the continuous steps on; 0 for none.
        still_weight: Weight of the mean squared vector of pairs in which nothing acts (`still_loss`).
        quiet_weight: Weight of the vectors of single cells that do not move (`quiet_loss`); 0 for none.
        quiet_floor: Motion of a cell, px of a 128 crop, from which on it counts as moving.
        codebook_weight: Weight of the distance between codewords and the vectors they stand for, in the last
            part; 0 leaves the codebook to the other terms.
        amplitude: Range of the largest motion, px of a 128 crop, that the second half is trained on.
        first_amplitude: The range at step 0; it narrows to `amplitude` over the first half.
        seed: Of weights, stream and noise.
        mixed_precision: `"no"` or `"bf16"`.
        log_every: Steps between lines of `metrics.jsonl`.
        checkpoint_every: Steps between checkpoints.
    """

    steps: int = 4000
    batch_size: int = 48
    gradient_accumulation_steps: int = 1
    learning_rate: float = 6e-4
    codebook_rate: float = 4.0
    lr_warmup_steps: int = 200
    weight_decay: float = 1e-4
    grad_clip: float = 0.3
    ema_decay: float = 0.0
    continuous_steps: int = 600
    codebook_from_data: bool = True
    hard_share: float = 0.6
    commitment_weight: float = 0.25
    revive_every: int = 100
    image_weight: float = 1.0
    flow_weight: float = 1.0
    unit_weight: float = 3.0
    twins: bool = True
    swap_share: float = 0.5
    agreement_weight: float = 0.1
    usage_weight: float = 0.5
    adversary_weight: float = 0.0
    still_weight: float = 1.0
    quiet_weight: float = 2.0
    quiet_floor: float = 0.15
    codebook_weight: float = 1.0
    amplitude: tuple[float, float] = (0.5, 6.0)
    first_amplitude: tuple[float, float] | None = None
    seed: int = 0
    mixed_precision: str = "no"
    log_every: int = 20
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        if self.twins and self.batch_size % 2:
            raise ValueError(f"batch_size is {self.batch_size}; twins need an even one")
        if self.adversary_weight and not self.twins:
            raise ValueError(f"adversary_weight is {self.adversary_weight}; it needs twins=True")

    def amplitude_at(self, step: int) -> tuple[float, float]:
        """The range of motion at a step, narrowed geometrically over the first half of the run."""
        done = min(1.0, 2 * step / self.steps)
        pairs = zip(self.first_amplitude, self.amplitude, strict=True)
        low, high = (math.exp((1 - done) * math.log(a) + done * math.log(b)) for a, b in pairs)
        return low, high

    def mode_at(self, step: int) -> str:
        """The quantiser's mode at a step: "continuous", "noise", then "straight" or "hard"."""
        if step < self.continuous_steps:
            return "continuous"
        if step < (1 - self.hard_share) * self.steps:
            return "noise"
        return "straight" if self.commitment_weight else "hard"

    def revives_at(self, step: int) -> bool:
        """Whether dead codes are replaced after a step."""
        live = self.mode_at(step) in ("noise", "straight") and step > self.continuous_steps
        return live and step % self.revive_every == 0


def read_recipe(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of a JSON file, such as the `recipe.json` of a run or a part of it.

    Args:
        path: Fields of `PretrainConfig`, and below "model" those of `DFaceTokenizerConfig`.

    Returns:
        Both.

    Raises:
        ValueError: If it is no JSON object, or has a field that neither knows, or text for a number.
    """
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error})") from error
    if not isinstance(settings, dict) or not isinstance(model := settings.pop("model", {}), dict):
        raise ValueError(f"{path}: give an object of settings, and below model another")
    settings.pop("processes", None)  # what the run had, not what it is to have
    defaults = asdict(PretrainConfig())
    for kind, given, fields in (
        ("PretrainConfig", settings, defaults),
        ("DFaceTokenizerConfig", model, DFaceTokenizerConfig().to_dict()),
    ):
        if unknown := sorted(given.keys() - fields.keys()):
            raise ValueError(f"{path}: {kind} has no {', '.join(unknown)}")
    for name, value in settings.items():
        if isinstance(value, str) != isinstance(defaults[name], str):
            raise ValueError(f"{path}: {name} is {value!r}; its default is {defaults[name]!r}")
    ranges = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    return settings | ranges, model


def as_told(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Settings that an earlier run has written; one that did not exist then had what is now its default."""
    return json.loads(json.dumps(defaults)) | settings

"""Pretrain the D-FACE tokenizer on an endless stream of onset/apex pairs, with Accelerate.

- Resumable: `resume=True` goes on from the last whole checkpoint; the stream is a function of (seed, step),
so a resumed
  run sees the pairs, and ends with the weights, of an uninterrupted one.
- The codebook starts alive: continuous warm-up, then k-means on the vectors, then revival of dead codes.
- Curriculum: motions shrink from macro to micro over the first half.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import set_seed, tqdm
from transformers import get_cosine_schedule_with_warmup

from dface_hf.models import DFaceTokenizerConfig, DFaceTokenizerModel

from .checkpointing import checkpoints, save_checkpoint, write_folder, write_json


@dataclass(frozen=True)
class PretrainConfig:
    """How a tokenizer is pretrained.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pairs a step and process.
        learning_rate: Peak of the cosine schedule.
        codebook_rate: Learning rate of the codebook, relative to the rest.
        lr_warmup_steps: Steps of linear warm-up.
        weight_decay: Of AdamW.
        grad_clip: Largest norm of the gradient.
        continuous_steps: First steps without quantisation.
        hard_share: Share of the run, at its end, in which decoder and codebook train on the codewords
            themselves.
        revive_every: Steps between revivals of dead codes; none once codewords are hard.
        still_weight: Weight of the mean squared vector of pairs in which nothing acts.
        amplitude: Range of the largest motion, px of a 128 crop, that the second half is trained on.
        first_amplitude: The range at step 0; it narrows to `amplitude` over the first half.
        seed: Of weights, stream and noise.
        mixed_precision: `"no"` or `"bf16"`.
        log_every: Steps between lines of `metrics.jsonl`.
        checkpoint_every: Steps between checkpoints.
    """

    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 6e-4
    codebook_rate: float = 4.0
    lr_warmup_steps: int = 200
    weight_decay: float = 1e-4
    grad_clip: float = 0.3
    continuous_steps: int = 600
    hard_share: float = 0.3
    revive_every: int = 100
    still_weight: float = 1.0
    amplitude: tuple[float, float] = (0.5, 3.0)
    first_amplitude: tuple[float, float] = (2.0, 6.0)
    seed: int = 0
    mixed_precision: str = "no"
    log_every: int = 20
    checkpoint_every: int = 200

    def amplitude_at(self, step: int) -> tuple[float, float]:
        """The range of motion at a step, narrowed geometrically over the first half of the run."""
        done = min(1.0, 2 * step / self.steps)
        pairs = zip(self.first_amplitude, self.amplitude, strict=True)
        low, high = (math.exp((1 - done) * math.log(a) + done * math.log(b)) for a, b in pairs)
        return low, high

    def mode_at(self, step: int) -> str:
        """The quantiser's mode at a step: "continuous", "noise" or "hard"."""
        if step < self.continuous_steps:
            return "continuous"
        return "hard" if step >= (1 - self.hard_share) * self.steps else "noise"


class PairStream(Protocol):
    """What `pretrain` needs of a source of pairs; `dface_hf.synthesis.PairSampler` is one."""

    amplitude: tuple[float, float]

    def sample(self, batch: int, step: int | None = None) -> Any:
        """Return an object with `onset` and `apex`, both (batch, 3, height, width) in [0, 1], and `units`
        (batch, units), zero where nothing acts."""


def pretrain(
    model_config: DFaceTokenizerConfig,
    stream: PairStream,
    config: PretrainConfig,
    output_dir: str | Path,
    resume: bool = False,
    report_to: str | None = None,
) -> DFaceTokenizerModel:
    """Train a tokenizer and write it to `output_dir` (`model/`, `metrics.jsonl`, `checkpoints/`).

    Args:
        model_config: Architecture of the new tokenizer.
        stream: Source of pairs.
        config: Recipe.
        output_dir: Folder of the run.
        resume: Go on from the last checkpoint in `output_dir`, if there is one.
        report_to: A tracker that Accelerate knows, such as "tensorboard" or "trackio" (extra `[trackers]`);
            the numbers are in `metrics.jsonl` in any case.

    Returns:
        The trained model, on the CPU or device it was trained on.

    Raises:
        ValueError: If the run in `output_dir` was made with another recipe, or would be overwritten; if the
            tracker is not installed.
        FloatingPointError: If the loss is no number.
    """
    run = _Run(model_config, stream, config, Path(output_dir), report_to)
    start = run.resume() if resume else run.begin()
    bar = tqdm(total=config.steps, initial=start, desc="pretrain", unit="step", smoothing=0.05)
    for step in range(start, config.steps):
        bar.set_postfix(run.step(step), refresh=False)
        bar.update()
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            run.save(step + 1)
    bar.close()
    return run.finish()


def _parameter_groups(model: DFaceTokenizerModel, config: PretrainConfig) -> list[dict]:
    """The codebook has to follow the encoder: it learns faster and does not decay."""
    codebook = model.quantizer.codebook
    rest = [parameter for parameter in model.parameters() if parameter is not codebook]
    return [
        {"params": rest, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": [codebook], "lr": config.codebook_rate * config.learning_rate, "weight_decay": 0.0},
    ]


class _Run:
    """The state of one pretraining run: model, optimiser, schedule and where they are written."""

    def __init__(
        self, model_config, stream: PairStream, config: PretrainConfig, folder: Path, report_to: str | None
    ):
        set_seed(config.seed)
        self.config, self.stream, self.folder = config, stream, folder
        if report_to is not None and report_to not in (known := get_available_trackers()):
            # Accelerate would go on without it, with a warning only.
            raise ValueError(
                f"report_to is {report_to!r}; installed trackers: {[str(t.value) for t in known]}"
            )
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision, log_with=report_to, project_dir=str(folder)
        )
        if report_to:
            self.accelerator.init_trackers("dface-pretrain")
        model = DFaceTokenizerModel(model_config).train()
        optimizer = torch.optim.AdamW(_parameter_groups(model, config), betas=(0.9, 0.99))
        schedule = get_cosine_schedule_with_warmup(optimizer, config.lr_warmup_steps, config.steps)
        self.model, self.optimizer, self.schedule = self.accelerator.prepare(model, optimizer, schedule)
        self.metrics: dict[str, float] = {}

    @property
    def tokenizer(self) -> DFaceTokenizerModel:
        return self.accelerator.unwrap_model(self.model)

    def begin(self) -> int:
        """Start a new run; the recipe is written first."""
        if checkpoints(self.folder / "checkpoints"):
            raise ValueError(
                f"{self.folder} holds checkpoints of a run; resume it, or use another output folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "metrics.jsonl").write_text("")
        write_json(self.folder / "recipe.json", self._recipe())
        return 0

    def resume(self) -> int:
        """Load the last checkpoint and return its step; begin anew where there is none."""
        saved = checkpoints(self.folder / "checkpoints")
        if not saved:
            return self.begin()
        recipe = json.loads((self.folder / "recipe.json").read_text())
        if recipe != (wanted := json.loads(json.dumps(self._recipe()))):
            changed = [
                f"{key}: {recipe.get(key)} -> {value}"
                for key, value in wanted.items()
                if recipe.get(key) != value
            ]
            raise ValueError(f"{self.folder}: the run was made with another recipe ({'; '.join(changed)}); "
                             "use another output folder, or the same options")  # fmt: skip
        self.accelerator.load_state(str(saved[-1]))
        step = int(saved[-1].name[5:])
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        (self.folder / "metrics.jsonl").write_text("".join(line + "\n" for line in kept))
        return step

    def step(self, step: int) -> dict[str, str]:
        """Do one optimiser step and return what the progress bar shows."""
        self.stream.amplitude = self.config.amplitude_at(step)
        quantizer = self.tokenizer.quantizer
        if step == self.config.continuous_steps:
            self._initialise_codebook(step)
        quantizer.mode = self.config.mode_at(step)
        pixel_values, still = self._batch(step)
        output = self.model(pixel_values)
        if not torch.isfinite(output.loss):
            raise FloatingPointError(
                f"step {step}: the loss is {output.loss.item()}; lower the learning rate"
            )
        # Nuisances alone must look like nothing: without this term noise reaches the length of small motions.
        learns = still.any() and quantizer.mode != "hard"
        stillness = output.action_vectors[still].pow(2).mean() if learns else 0.0
        self.accelerator.backward(output.loss + self.config.still_weight * stillness)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self._revive(step, output.action_vectors.detach())
        self._log(step + 1, output, float(norm))
        return {name: f"{self.metrics[name]:.3g}" for name in ("loss", "perplexity") if name in self.metrics}

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.folder / "checkpoints", step, self.accelerator.save_state)

    def finish(self) -> DFaceTokenizerModel:
        """Write the model and return it."""
        self.accelerator.end_training()
        model = self.tokenizer.eval()
        write_folder(self.folder / "model", model.save_pretrained)
        return model

    def _recipe(self) -> dict[str, Any]:
        return {**asdict(self.config), "model": self.tokenizer.config.to_diff_dict()}

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pairs (batch, 2, 3, height, width), and which of them are still (batch,)."""
        # Each process draws its own part of the stream.
        index = step * self.accelerator.num_processes + self.accelerator.process_index
        batch = self.stream.sample(self.config.batch_size, index)
        pixel_values = torch.stack([batch.onset, batch.apex], dim=1)
        return pixel_values.to(self.accelerator.device), (batch.units.sum(dim=1) == 0).to(
            self.accelerator.device
        )

    @torch.no_grad()
    def _initialise_codebook(self, step: int, batches: int = 16) -> None:
        vectors = [self.tokenizer.action_vectors(self._batch(step + i)[0]) for i in range(batches)]
        self.tokenizer.quantizer.initialise_codebook(torch.cat(vectors).flatten(0, 1))

    def _revive(self, step: int, vectors: torch.Tensor) -> None:
        config = self.config
        if (
            config.mode_at(step) == "noise"
            and step > config.continuous_steps
            and step % config.revive_every == 0
        ):
            self.metrics["revived"] = self.tokenizer.quantizer.revive(vectors.flatten(0, 1))

    def _log(self, step: int, output, norm: float) -> None:
        if step % self.config.log_every:
            return
        self.metrics |= {"step": step, "loss": output.loss.item(), "perplexity": output.perplexity.item()}
        null = (output.action_ids == 0).float().mean().item()
        self.metrics |= {"null_share": null, "grad_norm": norm, "lr": self.schedule.get_last_lr()[0]}
        self.accelerator.log(self.metrics, step=step)
        if self.accelerator.is_main_process:
            with open(self.folder / "metrics.jsonl", "a") as file:
                file.write(json.dumps({key: round(value, 6) for key, value in self.metrics.items()}) + "\n")

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
from accelerate.tracking import get_available_trackers
from accelerate.utils import set_seed, tqdm
from transformers import get_cosine_schedule_with_warmup

from dface_hf.models import DFaceTokenizerConfig, DFaceTokenizerModel, DFaceTokenizerOutput

from .accelerator import new_accelerator
from .checkpointing import checkpoints, save_checkpoint, write_folder, write_json
from .objectives import ActionReader, agreement_loss, flow_loss, usage_loss


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
        still_weight: Weight of the mean squared vector of pairs in which nothing acts.
        amplitude: Range of the largest motion, px of a 128 crop, that the second half is trained on.
        first_amplitude: The range at step 0; it narrows to `amplitude` over the first half.
        seed: Of weights, stream and noise.
        mixed_precision: `"no"` or `"bf16"`.
        log_every: Steps between lines of `metrics.jsonl`.
        checkpoint_every: Steps between checkpoints.
    """

    steps: int = 4000
    batch_size: int = 48
    learning_rate: float = 6e-4
    codebook_rate: float = 4.0
    lr_warmup_steps: int = 200
    weight_decay: float = 1e-4
    grad_clip: float = 0.3
    continuous_steps: int = 600
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
    still_weight: float = 1.0
    amplitude: tuple[float, float] = (0.5, 6.0)
    first_amplitude: tuple[float, float] | None = None
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
        """The quantiser's mode at a step: "continuous", "noise", then "straight" or "hard"."""
        if step < self.continuous_steps:
            return "continuous"
        if step < (1 - self.hard_share) * self.steps:
            return "noise"
        return "straight" if self.commitment_weight else "hard"


class PairStream(Protocol):
    """What `pretrain` needs of a source of pairs; `dface_hf.synthesis.PairSampler` is one."""

    amplitude: tuple[float, float]
    num_actions: int

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> Any:
        """Return an object with `onset` and `apex`, both (batch, 3, height, width) in [0, 1], and the truth:
        `weights` (batch, actions), zero where nothing acts, and `backward` (batch, 2, height, width) in px;
        both None for a batch of real pairs."""


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


def _parameter_groups(model: DFaceTokenizerModel, reader: ActionReader, config: PretrainConfig) -> list[dict]:
    """The codebook has to follow the encoder: it learns faster and does not decay."""
    codebook = model.quantizer.codebook
    rest = [parameter for parameter in model.parameters() if parameter is not codebook]
    rest += list(reader.parameters())
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
        self.accelerator = new_accelerator(
            mixed_precision=config.mixed_precision, log_with=report_to, project_dir=str(folder)
        )
        if report_to:
            self.accelerator.init_trackers("dface-pretrain")
        model = DFaceTokenizerModel(model_config).train()
        reader = ActionReader(model_config.num_action_tokens * model_config.code_dim, self.stream.num_actions)
        optimizer = torch.optim.AdamW(_parameter_groups(model, reader, config), betas=(0.9, 0.99))
        schedule = get_cosine_schedule_with_warmup(optimizer, config.lr_warmup_steps, config.steps)
        self.model, self.reader, self.optimizer, self.schedule = self.accelerator.prepare(
            model, reader, optimizer, schedule
        )
        self.metrics: dict[str, float] = {}
        self.revived = 0

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
        if self.config.first_amplitude:
            self.stream.amplitude = self.config.amplitude_at(step)
        quantizer = self.tokenizer.quantizer
        if step == self.config.continuous_steps:
            self._initialise_codebook(step)
        quantizer.mode = self.config.mode_at(step)
        batch, pixel_values = self._batch(step)
        output = self.model(pixel_values, token_order=self._token_order(step, batch))
        losses = self._losses(output, batch)
        loss = sum(losses.values())
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {step}: the loss is {loss.item()}; lower the learning rate")
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self._revive(step, output.action_vectors.detach())
        self._log(step + 1, output, float(norm), losses)
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

    def _draw(self, step: int, size: int) -> Any:
        """This process's pairs of a step: each process draws its own part of the stream."""
        index = step * self.accelerator.num_processes + self.accelerator.process_index
        return self.stream.sample(size, index, twins=self.config.twins)

    def _batch(self, step: int) -> tuple[Any, torch.Tensor]:
        """The pairs of a step with their truth, and their frames (batch, 2, 3, h, w) on the device."""
        batch = self._draw(step, self.config.batch_size)
        return batch, torch.stack([batch.onset, batch.apex], dim=1).to(self.accelerator.device)

    def _token_order(self, step: int, batch: Any) -> torch.Tensor | None:
        """Which twins are decoded with each other's tokens."""
        if not (self.config.twins and self.config.swap_share) or batch.weights is None:
            return None
        size = self.config.batch_size
        swapped = (
            torch.rand(size // 2, generator=torch.Generator().manual_seed(step)) < self.config.swap_share
        )
        own = torch.arange(size)
        return torch.where(swapped.repeat(2), own.roll(size // 2), own).to(self.accelerator.device)

    def _losses(self, output: DFaceTokenizerOutput, batch: Any) -> dict[str, torch.Tensor]:
        """The weighted terms of the loss."""
        config, mode = self.config, self.tokenizer.quantizer.mode
        losses = {"image": config.image_weight * output.loss}
        if mode == "straight":
            codes = output.action_codes.detach()
            losses["commitment"] = config.commitment_weight * (output.action_vectors - codes).pow(2).mean()
        if mode in ("noise", "straight") and config.usage_weight:
            codes = self.tokenizer.quantizer.codes().detach()
            losses["usage"] = config.usage_weight * usage_loss(output.action_vectors, codes)
        if batch.weights is None:  # a real pair: nobody knows what acts
            return losses
        weights = batch.weights.to(self.accelerator.device)
        if output.flow is not None and config.flow_weight:
            losses["flow"] = config.flow_weight * flow_loss(output.flow, batch.backward.to(weights.device))
        if config.unit_weight:
            losses["units"] = config.unit_weight * self.reader(output.action_codes, weights)
        # The encoder rests while codewords are hard: what concerns its vectors alone is left out.
        still = (weights == 0).all(dim=1)
        if mode != "hard" and still.any():
            # Nuisances alone must look like nothing: without this noise reaches the length of small motions.
            losses["still"] = config.still_weight * output.action_vectors[still].pow(2).mean()
        if mode in ("noise", "straight") and config.twins and config.agreement_weight:
            losses["agreement"] = config.agreement_weight * agreement_loss(output.action_vectors)
        return losses

    @torch.no_grad()
    def _initialise_codebook(self, step: int, batches: int = 16) -> None:
        vectors = [self.tokenizer.action_vectors(self._batch(step + i)[1]) for i in range(batches)]
        self.tokenizer.quantizer.initialise_codebook(torch.cat(vectors).flatten(0, 1))

    def _revive(self, step: int, vectors: torch.Tensor) -> None:
        config = self.config
        if (
            config.mode_at(step) in ("noise", "straight")
            and step > config.continuous_steps
            and step % config.revive_every == 0
        ):
            self.revived += self.tokenizer.quantizer.revive(vectors.flatten(0, 1))

    def _log(self, step: int, output, norm: float, losses: dict[str, torch.Tensor]) -> None:
        if step % self.config.log_every:
            return
        null = (output.action_ids == 0).float().mean().item()
        self.metrics = {"step": step, "loss": sum(losses.values()).item()}
        self.metrics |= {f"{name}_loss": value.item() for name, value in losses.items()}
        self.metrics |= {"perplexity": output.perplexity.item(), "null_share": null, "revived": self.revived}
        self.metrics |= {"grad_norm": norm, "lr": self.schedule.get_last_lr()[0]}
        self.revived = 0
        self.accelerator.log(self.metrics, step=step)
        if self.accelerator.is_main_process:
            with open(self.folder / "metrics.jsonl", "a") as file:
                file.write(json.dumps({key: round(value, 6) for key, value in self.metrics.items()}) + "\n")

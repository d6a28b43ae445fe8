"""Pretrain the D-FACE tokenizer on an endless stream of onset/apex pairs, with Accelerate.

- Resumable: `resume=True` goes on from the last whole checkpoint. The stream is a function of (seed, step),
  or keeps its state in the checkpoint: a run that was killed ends with the weights of an uninterrupted one.
- Distributed: processes share the pairs of a step, and codebook, losses and gradients are those of the whole
  batch: more processes give the same run as one with the same global batch, up to rounding. Of prepared
  clips (`ParquetPairs`) each process reads files of its own, so that there the pairs of a step differ.
- The codebook starts alive: continuous warm-up, then k-means on the vectors, then revival of dead codes.
- Curriculum: motions shrink from macro to micro over the first half.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed, tqdm
from transformers import get_cosine_schedule_with_warmup

from dface_hf.data import PairStream, share_of
from dface_hf.models import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.models.dface.quantization_dface import perplexity
from dface_hf.models.dface.ranks_dface import gather_rows, mean_over_ranks

from .accelerator import finish_trackers, new_accelerator, start_trackers, tracked_by
from .averaging import restart_average, weight_average
from .checkpointing import append_json, checkpoints, cut_log, save_checkpoint, write_folder, write_json
from .cost import Meter
from .pretrain_objective import PretrainObjective, teaches_context
from .recipe import PretrainConfig, as_told

KMEANS_BATCHES = 16


def pretrain(
    model_config: DFaceTokenizerConfig,
    stream: PairStream,
    config: PretrainConfig,
    output_dir: str | Path,
    resume: bool = False,
    report_to: str | None = None,
) -> DFaceTokenizerModel:
    """Train a tokenizer and write it to `output_dir` (`model`, `metrics.jsonl`, `cost.json`, `checkpoints`).

    Args:
        model_config: Architecture of the new tokenizer.
        stream: Source of pairs.
        config: Recipe.
        output_dir: Folder of the run.
        resume: Go on from the last checkpoint in `output_dir`, if there is one.
        report_to: Trackers that Accelerate knows, such as "tensorboard" or "trackio" (extra `[trackers]`);
            the numbers are in `metrics.jsonl` in any case.

    Returns:
        The trained model, or with `ema_decay` its average, on the device it was trained on.

    Raises:
        ValueError: If the run in `output_dir` was made with another recipe, or would be overwritten; if the
            tracker is unknown.
        ImportError: If the tracker is not installed.
        FloatingPointError: If the loss is no number.
        OSError: If a checkpoint cannot be written; the last whole one stays.
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


class _Run:
    """The state of one pretraining run: model, optimiser, schedule and where they are written."""

    def __init__(
        self, model_config, stream: PairStream, config: PretrainConfig, folder: Path, report_to: str | None
    ):
        set_seed(config.seed)
        self.config, self.stream, self.folder = config, stream, folder
        self.accelerator = new_accelerator(
            config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            # One step of the schedule for one of the optimiser, however many processes there are.
            step_scheduler_with_optimizer=False,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            **tracked_by(report_to, folder),
        )
        objective = PretrainObjective(model_config, stream.num_actions, config).train()
        optimizer = torch.optim.AdamW(objective.parameter_groups(), betas=(0.9, 0.99))
        schedule = get_cosine_schedule_with_warmup(optimizer, config.lr_warmup_steps, config.steps)
        self.objective, self.optimizer, self.schedule = self.accelerator.prepare(
            objective, optimizer, schedule
        )
        self.average = weight_average(self.tokenizer, config.ema_decay)
        if self.average is not None:
            self.accelerator.register_for_checkpointing(self.average)
        start_trackers(self.accelerator, "dface-pretrain", self._recipe())
        self.metrics: dict[str, float] = {}
        self.revived = 0

    @property
    def tokenizer(self) -> DFaceTokenizerModel:
        return self.accelerator.unwrap_model(self.objective).tokenizer

    def begin(self) -> int:
        """Start a new run; the recipe is written first."""
        if checkpoints(self.folder / "checkpoints"):
            raise ValueError(
                f"{self.folder} holds checkpoints of a run; resume it, or use another output folder"
            )
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "metrics.jsonl").write_text("")
            write_json(self.folder / "recipe.json", self._recipe())
        self.meter = Meter(self.accelerator, self.folder, resumed=False)
        return 0

    def resume(self) -> int:
        """Load the last checkpoint and return its step; begin anew where there is none."""
        saved = checkpoints(self.folder / "checkpoints")
        if not saved:
            return self.begin()
        recipe = as_told(json.loads((self.folder / "recipe.json").read_text()), asdict(PretrainConfig()))
        recipe["model"] = as_told(recipe["model"], DFaceTokenizerConfig().to_dict())
        if recipe != (wanted := json.loads(json.dumps(self._recipe()))):
            changed = [
                f"{key}: {recipe.get(key)} -> {value}"
                for key, value in wanted.items()
                if recipe.get(key) != value
            ]
            raise ValueError(f"{self.folder}: the run was made with another recipe ({'; '.join(changed)}); "
                             "use another output folder, or the same options")  # fmt: skip
        self.accelerator.load_state(str(saved[-1]))
        self._load_progress(saved[-1])
        step = int(saved[-1].name[5:])
        if self.accelerator.is_main_process:
            cut_log(self.folder / "metrics.jsonl", "step", step)
        self.meter = Meter(self.accelerator, self.folder, resumed=True)
        return step

    def step(self, step: int) -> dict[str, str]:
        """Do one optimiser step and return what the progress bar shows."""
        if self.config.first_amplitude:
            self.stream.amplitude = self.config.amplitude_at(step)
        if step == self.config.continuous_steps and self.config.codebook_from_data:
            self._initialise_codebooks(step)
        for quantizer in self.tokenizer.quantizers:
            quantizer.mode = self.config.mode_at(step)
        parts, totals = self.config.gradient_accumulation_steps, {}
        for index in range(step * parts, (step + 1) * parts):
            with self.accelerator.accumulate(self.objective):
                losses, seen = self.objective(**self._inputs(index))
                self._learn(step, losses)
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach() / parts
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.tokenizer)
        if self.config.revives_at(step):
            self._revive(seen)
        if (step + 1) % self.config.log_every == 0 or step + 1 == self.config.steps:
            self._log(step + 1, totals, seen)
        return {name: f"{self.metrics[name]:.3g}" for name in ("loss", "perplexity") if name in self.metrics}

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.folder / "checkpoints", step, self._save_state)
        self.meter.write()

    def finish(self) -> DFaceTokenizerModel:
        """Write the model and return it."""
        model = (self.tokenizer if self.average is None else self.average.module).eval()
        write_folder(self.folder / "model", model.save_pretrained)
        finish_trackers(self.accelerator)
        return model

    def _learn(self, step: int, losses: dict[str, torch.Tensor]) -> None:
        """Backward pass, and the optimiser's step once all parts of the batch had theirs."""
        loss = sum(losses.values())
        value = mean_over_ranks(loss.detach()).item()
        if not torch.isfinite(torch.tensor(value)):
            raise FloatingPointError(f"step {step}: the loss is {value}; lower the learning rate")
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            norm = self.accelerator.clip_grad_norm_(self.tokenizer.parameters(), self.config.grad_clip)
            self.grad_norm = float(norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _recipe(self) -> dict[str, Any]:
        model = self.tokenizer.config.to_dict()  # with the defaults, which may change
        return {**asdict(self.config), "processes": self.accelerator.num_processes, "model": model}

    def _inputs(self, index: int) -> dict[str, torch.Tensor | None]:
        """What the objective takes of a batch of the stream: this process's pairs."""
        ranks, config = self.accelerator.num_processes, self.config
        share = self.accelerator.process_index, ranks
        pairs = share_of(self.stream, ranks * config.batch_size, index, config.twins, *share)
        order = None if pairs.weights is None else self._token_order(index)
        inputs = {"pixel_values": torch.stack([pairs.onset, pairs.apex], dim=1), "token_order": order}
        inputs |= {"weights": pairs.weights, "backward": pairs.backward}
        device = self.accelerator.device
        return {name: None if value is None else value.to(device) for name, value in inputs.items()}

    def _token_order(self, index: int) -> torch.Tensor | None:
        """Which twins of a batch are decoded with each other's tokens."""
        config, ranks, half = self.config, self.accelerator.num_processes, self.config.batch_size // 2
        if not (config.twins and config.swap_share):
            return None
        chance = torch.rand(ranks * half, generator=torch.Generator().manual_seed(index))
        swapped = chance[self.accelerator.process_index :: ranks] < config.swap_share
        own = torch.arange(2 * half)
        return torch.where(swapped.repeat(2), own.roll(half), own)

    @torch.no_grad()
    def _initialise_codebooks(self, step: int) -> None:
        first, tokenizer, found = step * self.config.gradient_accumulation_steps, self.tokenizer, []
        for index in range(first, first + KMEANS_BATCHES):
            inputs = self._inputs(index)
            pixel_values = inputs["pixel_values"]
            vectors = [gather_rows(tokenizer.action_vectors(pixel_values)).flatten(0, 1)]
            if tokenizer.context is not None:
                taught = teaches_context(pixel_values, inputs["weights"])
                vectors.append(_taught(tokenizer.context_vectors(pixel_values), taught))
            found.append(vectors)
        joined = [torch.cat(vectors) for vectors in zip(*found, strict=True)]
        for quantizer, vectors in zip(tokenizer.quantizers, joined, strict=True):
            if not len(vectors):
                raise ValueError("the second codebook needs pairs in which nothing acts, and there are none; "
                                 "give a still_share above 0, or context_codebook_size=0")  # fmt: skip
            quantizer.initialise_codebook(vectors)
        restart_average(self.average)

    def _revive(self, seen: dict[str, torch.Tensor]) -> None:
        """Replace dead codes by vectors of the last batch."""
        vectors = gather_rows(seen["action_vectors"]).flatten(0, 1)
        self.revived += self.tokenizer.quantizer.revive(vectors)
        if self.tokenizer.context is not None:
            vectors = _taught(seen["context_vectors"], seen["context_taught"])
            if len(vectors):
                self.revived += self.tokenizer.context.quantizer.revive(vectors)

    def _save_state(self, folder: str) -> None:
        self.accelerator.save_state(folder)
        stream = self.stream.state_dict() if hasattr(self.stream, "state_dict") else None
        write_json(self._progress(folder), {"revived": self.revived, "stream": stream})

    def _load_progress(self, folder: Path) -> None:
        progress = json.loads(self._progress(folder).read_text())
        self.revived = progress["revived"]
        if progress["stream"] is not None:
            self.stream.load_state_dict(progress["stream"])

    def _progress(self, folder: str | Path) -> Path:
        return Path(folder) / f"progress-{self.accelerator.process_index}.json"

    def _log(self, step: int, losses: dict[str, torch.Tensor], seen: dict[str, torch.Tensor]) -> None:
        ids = gather_rows(seen["action_ids"])
        terms = {f"{name}_loss": mean_over_ranks(value).item() for name, value in losses.items()}
        self.metrics = {"step": step, "loss": sum(terms.values()), **terms}
        used = perplexity(ids, self.tokenizer.config.codebook_size).item()
        null = (ids == 0).float().mean().item()
        self.metrics |= {"perplexity": used, "null_share": null, "revived": self.revived}
        if self.tokenizer.context is not None:
            ids, entries = gather_rows(seen["context_ids"]), self.tokenizer.config.context_codebook_size
            self.metrics["context_perplexity"] = perplexity(ids, entries).item()
        self.metrics |= {"grad_norm": self.grad_norm, "lr": self.schedule.get_last_lr()[0]}
        self.revived = 0
        told = {key: value for key, value in self.metrics.items() if key != "step"}
        self.accelerator.log(told, step=step)
        if self.accelerator.is_main_process:
            append_json(self.folder / "metrics.jsonl", self.metrics)


def _taught(vectors: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """The context vectors (n, code_dim) of the pairs, on all processes, that teach the second codebook."""
    return gather_rows(vectors)[gather_rows(taught)].flatten(0, 1)

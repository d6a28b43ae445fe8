"""Train the classifier and EDCLIP head, on cached tokens or together with the tokenizer, with Accelerate.

By default the tokenizer does not change: every clip is tokenised once and the heads train on cached tokens.
With `train_tokenizer` they train on frames, and the tokenizer goes on learning to redraw them (the paper's
way).
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import DataLoaderConfiguration
from accelerate.utils import DistributedDataParallelKwargs, set_seed, tqdm
from torch.utils.data import DataLoader, Dataset
from transformers import get_cosine_schedule_with_warmup

from dface_hf.data import LabelledClips
from dface_hf.data.pair_clips import resized
from dface_hf.metrics import recognition_scores
from dface_hf.models import DFaceForVideoClassification

from .accelerator import finish_trackers, new_accelerator, start_trackers, tracked_by
from .averaging import weight_average
from .checkpointing import append_json, checkpoints, cut_log, save_checkpoint, write_json
from .cost import Meter
from .fold_ensemble import class_weights


@dataclass(frozen=True)
class TokenSet:
    """Tokenised clips: `action_ids` (n, 16) int64 and `labels` (n,) int64 class ids."""

    action_ids: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainConfig:
    """How the heads are trained. The defaults follow the paper's optimiser; epochs are fixed before looking.

    Attributes:
        epochs: Passes over the clips.
        batch_size: Clips a forward pass and process. Losses are means of these, weighted by class: several
            processes, or passes a step, do not give quite what one does with the same global batch.
        gradient_accumulation_steps: Forward passes that share an optimiser step, to save memory.
        learning_rate: Peak of the cosine schedule.
        weight_decay: Of AdamW.
        grad_clip: Largest norm of the gradient of the heads, and of that of the tokenizer.
        ema_decay: Of the moving average of the weights, which is then what is returned; 0 for none.
        balance_classes: Weight the cross-entropy by inverse class frequency of the training clips.
        train_tokenizer: Train the tokenizer along, by its own optimiser, on `reconstruction_weight` times its
            reconstruction loss; needs the frames of the clips.
        seed: Of weights, order and dropout.
        mixed_precision: `"no"` or `"bf16"`.
    """

    epochs: int = 10
    batch_size: int = 64
    gradient_accumulation_steps: int = 1
    learning_rate: float = 2e-4
    weight_decay: float = 1e-5
    grad_clip: float = 1.0
    ema_decay: float = 0.0
    balance_classes: bool = True
    train_tokenizer: bool = False
    seed: int = 0
    mixed_precision: str = "no"


def train_heads(
    model: DFaceForVideoClassification,
    train: TokenSet | LabelledClips,
    config: TrainConfig,
    output_dir: str | Path,
    resume: bool = False,
    report_to: str | None = None,
) -> DFaceForVideoClassification:
    """Train everything but the tokenizer, or with `config.train_tokenizer` everything.

    Args:
        model: Text anchors must be set for the EDCLIP part to act.
        train: Tokenised training clips, or clips with frames.
        config: Recipe.
        output_dir: Folder of the run: `checkpoints/`, `metrics.jsonl`, `cost.json`.
        resume: Go on from the last checkpoint there.
        report_to: Trackers that Accelerate knows, with commas between them.

    Returns:
        The model, in evaluation mode; with `ema_decay` its average.

    Raises:
        ValueError: If there are no clips, the tokenizer is to be trained on tokens, or the run in
            `output_dir` was made with other clips or another recipe, or would be overwritten.
        FloatingPointError: If the loss is no number.
    """
    if not len(train):
        raise ValueError("there is no clip to train on")
    if config.train_tokenizer and isinstance(train, TokenSet):
        raise ValueError("train_tokenizer needs the frames of the clips, not their tokens")
    set_seed(config.seed)
    if config.balance_classes:
        labels = torch.as_tensor(train.labels)
        model.config.class_weights = tuple(class_weights(labels, model.config.num_labels).tolist())
    run = _Run(model, train, config, Path(output_dir), report_to)
    start = run.start(resume, asdict(config) | {"clips": _fingerprint(train)})
    bar = tqdm(range(start, config.epochs), initial=start, total=config.epochs, desc="train", unit="epoch")
    for epoch in bar:
        bar.set_postfix(loss=f"{run.epoch(epoch):.3g}")
    return run.finish()


class ClipRows(Dataset):
    """What the model takes of a clip: `labels`, and `action_ids` (16,) or `pixel_values` (2, 3, h, w)."""

    def __init__(self, clips: TokenSet | LabelledClips, size: int):
        self.clips, self.size = clips, size

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        label = {"labels": torch.as_tensor(self.clips.labels[index])}
        if isinstance(self.clips, TokenSet):
            return {"action_ids": self.clips.action_ids[index]} | label
        pair = np.stack([self.clips.pairs.onset[index], self.clips.pairs.apex[index]])
        frames = resized(torch.from_numpy(pair).permute(0, 3, 1, 2)[None], self.size)[0]
        return {"pixel_values": frames} | label


class _Run:
    """The state of one training run: model, optimisers, schedules and where they are written."""

    def __init__(self, model, train, config: TrainConfig, folder: Path, report_to: str | None):
        self.config, self.folder = config, folder
        # Both are needed for a resumed run to see the same batches and dropout as an uninterrupted one: the
        # seedable sampler, and a generator of the loader's own.
        self.accelerator = new_accelerator(
            config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            **tracked_by(report_to, folder),
        )
        model.config.train_tokenizer = config.train_tokenizer
        tokenizer = model.dface.tokenizer.requires_grad_(config.train_tokenizer)
        order = torch.Generator().manual_seed(config.seed)
        rows = ClipRows(train, tokenizer.config.image_size)
        loader = DataLoader(rows, config.batch_size, shuffle=True, generator=order)
        within = {id(parameter) for parameter in tokenizer.parameters()}
        heads = [parameter for parameter in model.parameters() if id(parameter) not in within]
        parts = [heads, list(tokenizer.parameters())] if config.train_tokenizer else [heads]
        options = dict(lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.85, 0.98))
        optimizers = [torch.optim.AdamW(part, **options) for part in parts]
        steps = config.epochs * math.ceil(len(loader) / config.gradient_accumulation_steps)
        schedules = [get_cosine_schedule_with_warmup(opt, min(100, steps // 10), steps) for opt in optimizers]
        self.parts, prepare = parts, self.accelerator.prepare
        self.model, self.loader = prepare(model, loader)
        self.optimizers = [prepare(optimizer) for optimizer in optimizers]
        self.schedules = [prepare(schedule) for schedule in schedules]
        self.average = weight_average(model, config.ema_decay)
        if self.average is not None:
            self.accelerator.register_for_checkpointing(self.average)
        start_trackers(self.accelerator, "dface-train", asdict(config))

    def start(self, resume: bool, recipe: dict) -> int:
        """Load the last checkpoint and return its epoch, or write down the recipe of a new run."""
        saved = checkpoints(self.folder / "checkpoints")
        if saved and not resume:
            raise ValueError(
                f"{self.folder} holds checkpoints of a run; resume it, or use another output folder"
            )
        self.accelerator.wait_for_everyone()
        self.meter = Meter(self.accelerator, self.folder, resumed=bool(saved))
        if not saved:
            if self.accelerator.is_main_process:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / "metrics.jsonl").write_text("")
                write_json(self.folder / "recipe.json", recipe)
            return 0
        if json.loads((self.folder / "recipe.json").read_text()) != recipe:
            raise ValueError(
                f"{self.folder}: the run was made with other clips or another recipe; use another folder"
            )
        self.accelerator.load_state(str(saved[-1]))
        epoch = int(saved[-1].name[5:])
        if self.accelerator.is_main_process:
            cut_log(self.folder / "metrics.jsonl", "epoch", epoch)
        return epoch

    def epoch(self, epoch: int) -> float:
        """Do one pass over the clips, write a checkpoint, and return the mean loss."""
        self.loader.set_epoch(epoch)
        self.model.train()
        losses = [self._step(epoch, batch) for batch in self.loader]
        loss = self.accelerator.reduce(torch.stack(losses).mean(), "mean").item()
        if self.accelerator.is_main_process:  # before the checkpoint: a resumed run cuts what is too much
            append_json(self.folder / "metrics.jsonl", {"epoch": epoch + 1, "loss": loss})
        save_checkpoint(self.folder / "checkpoints", epoch + 1, self.accelerator.save_state)
        self.meter.write()
        self.accelerator.log({"loss": loss, "lr": self.schedules[0].get_last_lr()[0]}, step=epoch + 1)
        return loss

    def finish(self) -> DFaceForVideoClassification:
        """Close the trackers and return the model."""
        finish_trackers(self.accelerator)
        model = self.accelerator.unwrap_model(self.model) if self.average is None else self.average.module
        return model.eval()

    def _step(self, epoch: int, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with self.accelerator.accumulate(self.model):
            loss = self.model(**batch).loss
            if not torch.isfinite(loss):
                told = f"epoch {epoch + 1}: the loss is {loss.item()}; lower the learning rate"
                raise FloatingPointError(told)
            self.accelerator.backward(loss)
            whole = self.accelerator.sync_gradients  # all passes of a step are done
            for part, optimizer, schedule in zip(self.parts, self.optimizers, self.schedules, strict=True):
                if whole:
                    self.accelerator.clip_grad_norm_(part, self.config.grad_clip)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        if whole and self.average is not None:
            self.average.update_parameters(self.accelerator.unwrap_model(self.model))
        return loss.detach()


@torch.no_grad()
def evaluate_heads(model: DFaceForVideoClassification, clips: TokenSet, batch_size: int = 512) -> dict:
    """Score the class head, and EDCLIP's nearest description over the described classes.

    Returns:
        `{"classifier": ..., "edclip": ...}`, each as from `recognition_scores`; EDCLIP on the described
        classes only.
    """
    model = model.eval()
    outputs = [model(action_ids=ids.to(model.device)) for ids in clips.action_ids.split(batch_size)]
    truth = clips.labels.numpy()
    predicted = torch.cat([output.logits for output in outputs]).argmax(-1).cpu().numpy()
    names = tuple(label for _, label in sorted(model.config.id2label.items()))
    result = {"classifier": recognition_scores(truth, predicted, names)}
    if model.config.anchor_texts:
        described = model.config.anchor_labels
        rows = np.array([described.index(name) if name in described else -1 for name in names])[truth]
        nearest = torch.cat([output.similarities for output in outputs]).argmax(-1).cpu().numpy()
        result["edclip"] = recognition_scores(rows[rows >= 0], nearest[rows >= 0], described)
    return result


def _fingerprint(clips: TokenSet | LabelledClips) -> str:
    """A short hash of tokens or frames, and labels: other clips must not continue a run."""
    seen = (clips.action_ids,) if isinstance(clips, TokenSet) else (clips.pairs.onset, clips.pairs.apex)
    columns = [np.ascontiguousarray(column) for column in (*seen, clips.labels)]
    digest = hashlib.sha256()
    for column in columns:
        digest.update(column)
    return digest.hexdigest()[:16]

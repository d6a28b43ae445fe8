"""Train the classifier and EDCLIP head on action tokens of a frozen tokenizer, with Accelerate.

The tokenizer does not change, so every clip is tokenised once and the heads train on cached tokens.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed, tqdm
from sklearn.metrics import confusion_matrix, f1_score, recall_score
from torch.utils.data import DataLoader, TensorDataset
from transformers import get_cosine_schedule_with_warmup

from dface_hf.models import DFaceForVideoClassification

from .accelerator import new_accelerator
from .checkpointing import checkpoints, save_checkpoint, write_json


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
        epochs: Passes over the tokens.
        batch_size: Clips a step.
        learning_rate: Peak of the cosine schedule.
        weight_decay: Of AdamW.
        grad_clip: Largest norm of the gradient.
        balance_classes: Weight the cross-entropy by inverse class frequency of the training clips.
        seed: Of weights, order and dropout.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-4
    weight_decay: float = 1e-5
    grad_clip: float = 1.0
    balance_classes: bool = True
    seed: int = 0


def train_heads(
    model: DFaceForVideoClassification,
    train: TokenSet,
    config: TrainConfig,
    output_dir: str | Path,
    resume: bool = False,
) -> DFaceForVideoClassification:
    """Train everything but the tokenizer.

    Args:
        model: Its tokenizer is left as it is; text anchors must be set for the EDCLIP part to act.
        train: Tokenised training clips.
        config: Recipe.
        output_dir: Folder of the run: `checkpoints/`, `metrics.jsonl`.
        resume: Go on from the last checkpoint there.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: If there are no clips, a class of the model has none while classes are balanced, or the
            run in `output_dir` was made with other clips or another recipe, or would be overwritten.
    """
    if not len(train):
        raise ValueError("there is no clip to train on")
    set_seed(config.seed)
    if config.balance_classes:
        model.config.class_weights = class_weights(train.labels, model.config.id2label)
    # Both are needed for a resumed run to see the same batches and dropout as an uninterrupted one.
    accelerator = new_accelerator(dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
    model.dface.tokenizer.requires_grad_(False)
    data = TensorDataset(train.action_ids, train.labels)
    order = torch.Generator().manual_seed(config.seed)
    loader = DataLoader(data, config.batch_size, shuffle=True, generator=order)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.85, 0.98)
    )
    steps = config.epochs * len(loader)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(100, steps // 10), steps)
    prepared, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
    folder = Path(output_dir)
    start = _start(accelerator, folder, asdict(config) | {"clips": _fingerprint(train)}, resume)
    for epoch in tqdm(
        range(start, config.epochs), initial=start, total=config.epochs, desc="train", unit="epoch"
    ):
        loader.set_epoch(epoch)
        loss = _epoch(accelerator, prepared, optimizer, loader, schedule, config.grad_clip)
        save_checkpoint(folder / "checkpoints", epoch + 1, accelerator.save_state)
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"epoch": epoch + 1, "loss": round(loss, 5)}) + "\n")
    return accelerator.unwrap_model(prepared).eval()


def class_weights(labels: torch.Tensor, id2label: dict[int, str]) -> tuple[float, ...]:
    """Return inverse class frequencies with mean 1 over the clips.

    Raises:
        ValueError: If a class has no clip.
    """
    counts = torch.bincount(labels, minlength=len(id2label)).tolist()
    empty = [id2label[index] for index, count in enumerate(counts) if not count]
    if empty:
        raise ValueError(
            f"no training clip of class {', '.join(empty)}; drop the class or turn balancing off"
        )
    return tuple(len(labels) / (len(counts) * count) for count in counts)


def score(truth: np.ndarray, predicted: np.ndarray, labels: tuple[str, ...]) -> dict:
    """Return accuracy, UF1 (mean of the classes' F1), UAR (mean recall) and the confusion matrix (truth in
    rows)."""
    ids = list(range(len(labels)))
    return {
        "uf1": float(f1_score(truth, predicted, labels=ids, average="macro", zero_division=0)),
        "uar": float(recall_score(truth, predicted, labels=ids, average="macro", zero_division=0)),
        "accuracy": float((truth == predicted).mean()),
        "n": len(truth),
        "confusion": confusion_matrix(truth, predicted, labels=ids).tolist(),
    }


@torch.no_grad()
def evaluate_heads(model: DFaceForVideoClassification, clips: TokenSet, batch_size: int = 512) -> dict:
    """Score the class head, and EDCLIP's nearest description over the described classes.

    Returns:
        `{"classifier": ..., "edclip": ...}`, each as from `score`; EDCLIP on the described classes only.
    """
    model = model.eval()
    outputs = [model(action_ids=ids.to(model.device)) for ids in clips.action_ids.split(batch_size)]
    truth = clips.labels.numpy()
    predicted = torch.cat([output.logits for output in outputs]).argmax(-1).cpu().numpy()
    names = tuple(label for _, label in sorted(model.config.id2label.items()))
    result = {"classifier": score(truth, predicted, names)}
    if model.config.anchor_texts:
        described = model.config.anchor_labels
        rows = np.array([described.index(name) if name in described else -1 for name in names])[truth]
        nearest = torch.cat([output.similarities for output in outputs]).argmax(-1).cpu().numpy()
        result["edclip"] = score(rows[rows >= 0], nearest[rows >= 0], described)
    return result


def _epoch(accelerator, model, optimizer, loader, schedule, grad_clip: float) -> float:
    """One pass over the tokens; returns the mean loss."""
    model.train()
    total = 0.0
    for action_ids, labels in loader:
        loss = model(action_ids=action_ids, labels=labels).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
    return total / len(loader)


def _start(accelerator: Accelerator, folder: Path, recipe: dict, resume: bool) -> int:
    """Load the last checkpoint and return its epoch, or write down the recipe of a new run."""
    saved = checkpoints(folder / "checkpoints")
    if saved and not resume:
        raise ValueError(f"{folder} holds checkpoints of a run; resume it, or use another output folder")
    if not saved:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "recipe.json", recipe)
        return 0
    if json.loads((folder / "recipe.json").read_text()) != recipe:
        raise ValueError(f"{folder}: the run was made with other clips or another recipe; use another folder")
    accelerator.load_state(str(saved[-1]))
    return int(saved[-1].name[5:])


def _fingerprint(clips: TokenSet) -> str:
    """A short hash of tokens and labels: other tokens must not continue a run."""
    content = clips.action_ids.numpy().tobytes() + clips.labels.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]

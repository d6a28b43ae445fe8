"""Accelerate loops: pretrain the tokenizer, train the heads."""

from .pretrain import PretrainConfig, pretrain
from .train import TokenSet, TrainConfig, evaluate_heads, score, train_heads

__all__ = [
    "PretrainConfig",
    "TokenSet",
    "TrainConfig",
    "evaluate_heads",
    "pretrain",
    "score",
    "train_heads",
]

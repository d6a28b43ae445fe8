"""Accelerate loops: pretrain the tokenizer, train the heads."""

from .pretrain import pretrain
from .recipe import PretrainConfig
from .train import TokenSet, TrainConfig, evaluate_heads, train_heads

__all__ = [
    "PretrainConfig",
    "TokenSet",
    "TrainConfig",
    "evaluate_heads",
    "pretrain",
    "train_heads",
]

"""Tokenizer and training-only readers as one module, from pairs to the weighted terms of the loss.

One module, so that a distributed wrapper sees what the loss really uses: in the continuous and hard parts of
a run some weights rest.
"""

import torch
from torch import nn

from dface_hf.models import DFaceTokenizerConfig, DFaceTokenizerModel, DFaceTokenizerOutput
from dface_hf.models.dface.ranks_dface import mean_over_ranks

from .adversary import FaceCritic
from .objectives import ActionReader, agreement_loss, flow_loss, quiet_loss, still_loss, usage_loss
from .recipe import PretrainConfig


class PretrainObjective(nn.Module):
    """What pretraining minimises.

    Args:
        model_config: Architecture of the new tokenizer.
        num_actions: Action fields of the stream; 0 where nothing is known of its pairs.
        config: Recipe: the weights of the terms.
    """

    def __init__(self, model_config: DFaceTokenizerConfig, num_actions: int, config: PretrainConfig):
        super().__init__()
        self.config = config
        self.tokenizer = DFaceTokenizerModel(model_config)
        features = model_config.num_action_tokens * model_config.code_dim
        self.reader = ActionReader(features, num_actions) if num_actions else None
        self.critic = FaceCritic(features) if config.adversary_weight else None

    def parameter_groups(self) -> list[dict]:
        """Of the optimiser: codebooks, which follow the encoder, learn faster and do not decay."""
        config, books = self.config, [one.codebook for one in self.tokenizer.quantizers]
        rest = [parameter for parameter in self.parameters() if not any(parameter is one for one in books)]
        return [
            {"params": rest, "lr": config.learning_rate, "weight_decay": config.weight_decay},
            {"params": books, "lr": config.codebook_rate * config.learning_rate, "weight_decay": 0.0},
        ]

    def forward(
        self,
        pixel_values: torch.Tensor,
        token_order: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        backward: torch.Tensor | None = None,
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Judge pairs.

        Args:
            pixel_values: (batch, 2, 3, height, width) in [0, 1].
            token_order: (batch,) whose tokens each pair is decoded with.
            weights: (batch, actions), zero where nothing acts; None for real pairs.
            backward: (batch, 2, height, width) true motion in px of the crop, coarser is enough.

        Returns:
            The weighted terms of the loss, and for codebooks and log `action_ids` and `action_vectors`; with
            a second codebook also `context_ids`, `context_vectors` and `context_taught`.
        """
        taught = teaches_context(pixel_values, weights)
        contexts = {"context_shown": self._shows_context(taught), "context_taught": taught}
        output = self.tokenizer(pixel_values, token_order=token_order, **contexts)
        with torch.autocast(pixel_values.device.type, enabled=False):
            losses = self._of_vectors(output, taught) | self._of_truth(output, weights, backward)
            if self.critic is not None and weights is not None and self.tokenizer.quantizer.mode != "hard":
                losses["adversary"] = self._adversary(output.action_vectors, pixel_values[:, 0])
        seen = {"action_ids": output.action_ids, "action_vectors": output.action_vectors.detach()}
        if output.context_ids is not None:
            seen |= {"context_ids": output.context_ids, "context_taught": taught}
            seen["context_vectors"] = output.context_vectors.detach()
        return losses, seen

    def _shows_context(self, taught: torch.Tensor) -> torch.Tensor:
        """Every twin with its context, the other without: the tokens alone must do, too. Before there is a
        codebook, the context of a pair that acts would not be coarse."""
        first = torch.arange(len(taught), device=taught.device) < len(taught) // 2
        return first & taught if self.tokenizer.quantizer.mode == "continuous" else first

    def _adversary(self, vectors: torch.Tensor, onset: torch.Tensor) -> torch.Tensor:
        """In the continuous steps the critic learns alone: what it does not know yet is no guide."""
        strength = 0.0 if self.tokenizer.quantizer.mode == "continuous" else 1.0
        return self.config.adversary_weight * self.critic(vectors, onset, strength)

    def _of_vectors(self, output: DFaceTokenizerOutput, taught: torch.Tensor) -> dict[str, torch.Tensor]:
        """Terms that need the frames alone."""
        config, mode = self.config, self.tokenizer.quantizer.mode
        losses = {"image": config.image_weight * output.loss}
        if mode == "straight":
            codes = output.action_codes.detach()
            if config.codebook_weight:
                hard = self.tokenizer.quantizer.codes()[output.action_ids]
                error = (hard - output.action_vectors.detach()).pow(2).mean()
                losses["codebook"] = config.codebook_weight * error
            losses["commitment"] = config.commitment_weight * (output.action_vectors - codes).pow(2).mean()
            if output.context_ids is not None:
                losses["context"] = self._of_context(output, taught)
        if mode in ("noise", "straight") and config.usage_weight:
            codes = self.tokenizer.quantizer.codes().detach()
            losses["usage"] = config.usage_weight * usage_loss(output.action_vectors, codes)
        return losses

    def _of_context(self, output: DFaceTokenizerOutput, taught: torch.Tensor) -> torch.Tensor:
        """Codebook and commitment terms of the second codebook, over the pairs that it learns from."""
        config, vectors = self.config, output.context_vectors
        codes = self.tokenizer.context.quantizer.codes()[output.context_ids]
        error = config.codebook_weight * (codes - vectors.detach()).pow(2)
        error = error + config.commitment_weight * (vectors - codes.detach()).pow(2)
        share = mean_over_ranks(taught.float().mean()).clamp_min(1e-6)
        return (error.mean(dim=(1, 2)) * taught).mean() / share

    def _of_truth(
        self, output: DFaceTokenizerOutput, weights: torch.Tensor | None, backward: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Terms that need to know what acts."""
        config, mode, losses = self.config, self.tokenizer.quantizer.mode, {}
        if weights is None:
            return losses
        if output.flow is not None and config.flow_weight:
            # The true motion is the action's: it does not judge pictures that the context moves, too.
            rows = slice(0 if output.context_ids is None else len(weights) // 2, None)
            losses["flow"] = config.flow_weight * flow_loss(output.flow[rows], backward[rows])
        if self.reader is not None and config.unit_weight:
            losses["units"] = config.unit_weight * self.reader(output.action_codes, weights)
        # The encoder rests while codewords are hard: what concerns its vectors alone is left out.
        if mode != "hard" and config.still_weight:
            # Nuisances alone must look like nothing: without this noise reaches the length of small motions.
            still = (weights == 0).all(dim=1)
            losses["still"] = config.still_weight * still_loss(output.action_vectors, still)
        if mode != "hard" and config.quiet_weight:
            floor = config.quiet_floor * output.reconstruction.shape[-1] / 128
            losses["quiet"] = config.quiet_weight * quiet_loss(output.action_vectors, backward, floor)
        if mode in ("noise", "straight") and config.twins and config.agreement_weight:
            losses["agreement"] = config.agreement_weight * agreement_loss(output.action_vectors)
        return losses


def teaches_context(pixel_values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """The pairs (batch,) that a second codebook learns from: those in which nothing acts, and real ones
    without truth, in which most of the motion is speech and head."""
    if weights is None:
        return torch.ones(len(pixel_values), dtype=torch.bool, device=pixel_values.device)
    return (weights == 0).all(dim=1)

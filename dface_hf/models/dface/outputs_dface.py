"""What the D-FACE models return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class DFaceTokenizerOutput(ModelOutput):
    """Output of [`DFaceTokenizerModel`].

    Args:
        loss (`torch.FloatTensor`, scalar): Reconstruction loss against the apex frame.
        reconstruction (`torch.FloatTensor`, (batch, 3, height, width)): The apex as decoded from onset and
            tokens.
        action_ids (`torch.LongTensor`, (batch, 16)): Code of each cell of the 4x4 token grid, in raster
            order.
        perplexity (`torch.FloatTensor`, scalar): exp(entropy) of the codes used in this batch.
        action_vectors (`torch.FloatTensor`, (batch, 16, code_dim)): The scaled vectors before quantisation.
        action_codes (`torch.FloatTensor`, (batch, 16, code_dim)): What was decoded: codewords, or in training
            the vectors with the noise that stands for quantisation.
        flow (`torch.FloatTensor`, (batch, 2, height, width)): Backward flow in pixels, with the warp head
            only.
        context_ids (`torch.LongTensor`, (batch, num_context_tokens)): Codes of the second codebook, with
            `context_codebook_size` only, as the two that follow.
        context_vectors, context_codes (`torch.FloatTensor`, (batch, num_context_tokens, code_dim)): As
            `action_vectors` and `action_codes`.
    """

    loss: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    action_ids: torch.LongTensor | None = None
    perplexity: torch.FloatTensor | None = None
    action_vectors: torch.FloatTensor | None = None
    action_codes: torch.FloatTensor | None = None
    flow: torch.FloatTensor | None = None
    context_ids: torch.LongTensor | None = None
    context_vectors: torch.FloatTensor | None = None
    context_codes: torch.FloatTensor | None = None


@dataclass
class DFaceDecoderOutput(ModelOutput):
    """What `decode` returns: `reconstruction` (batch, 3, height, width), and `flow` in pixels with the warp
    head."""

    reconstruction: torch.FloatTensor | None = None
    flow: torch.FloatTensor | None = None


@dataclass
class DFaceModelOutput(ModelOutput):
    """Output of [`DFaceModel`].

    Args:
        pooler_output (`torch.FloatTensor`, (batch, hidden_size)): The attention-pooled tokens.
        pooling_attention (`torch.FloatTensor`, (batch, 16)): Pooling weights of the tokens; each row sums to
            1.
        action_embeds (`torch.FloatTensor`, (batch, projection_dim)): Unit vectors in the text encoder's
            space.
        action_ids (`torch.LongTensor`, (batch, 16)): The tokens that were read.
        last_hidden_state (`torch.FloatTensor`, (batch, 16, hidden_size)): Token states before pooling.
        tokenizer_loss (`torch.FloatTensor`, scalar): Reconstruction loss, with `train_tokenizer` in training
            only.
    """

    pooler_output: torch.FloatTensor | None = None
    pooling_attention: torch.FloatTensor | None = None
    action_embeds: torch.FloatTensor | None = None
    action_ids: torch.LongTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    tokenizer_loss: torch.FloatTensor | None = None


@dataclass
class DFaceClassifierOutput(ModelOutput):
    """Output of [`DFaceForVideoClassification`]: `loss`, `logits` (batch, num_labels), `similarities`
    (batch, num_anchors), the cosine to each described class, and the fields of [`DFaceModelOutput`]."""

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    similarities: torch.FloatTensor | None = None
    pooling_attention: torch.FloatTensor | None = None
    action_embeds: torch.FloatTensor | None = None
    action_ids: torch.LongTensor | None = None


@dataclass
class DFaceEDCLIPOutput(ModelOutput):
    """Output of [`DFaceEDCLIPModel`]: `loss`, `logits_per_action` (batch, texts), which is cosine /
    temperature, `similarities` (batch, texts), `action_embeds` and `pooling_attention`."""

    loss: torch.FloatTensor | None = None
    logits_per_action: torch.FloatTensor | None = None
    similarities: torch.FloatTensor | None = None
    action_embeds: torch.FloatTensor | None = None
    action_ids: torch.LongTensor | None = None
    pooling_attention: torch.FloatTensor | None = None


__all__ = [
    "DFaceClassifierOutput",
    "DFaceDecoderOutput",
    "DFaceEDCLIPOutput",
    "DFaceModelOutput",
    "DFaceTokenizerOutput",
]

import pytest
import torch

from dface_hf import DFaceConfig, DFaceForVideoClassification, DFaceTokenizerConfig, DFaceTokenizerModel

TINY = dict(
    image_size=32,
    patch_size=4,
    hidden_size=32,
    num_spatial_layers=1,
    num_temporal_layers=1,
    num_attention_heads=2,
    head_dim=16,
    code_dim=8,
)


@pytest.fixture(params=["warp", "pixels"])
def tokenizer(request):
    torch.manual_seed(0)
    return DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, decoder_head=request.param)).eval()


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    config = DFaceConfig(
        tokenizer_config=TINY,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=2,
        projection_dim=12,
        id2label={0: "negative", 1: "positive", 2: "surprise", 3: "others"},
        others_label="others",
    )
    model = DFaceForVideoClassification(config).eval()
    texts = {"negative": "a frown", "positive": "a smile", "surprise": "brows up"}
    model.dface.set_text_anchors(torch.randn(3, 12), texts, "random")
    return model


@pytest.fixture
def pixel_values():
    return torch.rand(5, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

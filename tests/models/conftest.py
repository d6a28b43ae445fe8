import pytest
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel

from ..conftest import TINY, tiny_classifier


@pytest.fixture(params=["warp", "pixels"])
def tokenizer(request):
    torch.manual_seed(0)
    return DFaceTokenizerModel(DFaceTokenizerConfig(**TINY, decoder_head=request.param)).eval()


@pytest.fixture
def classifier():
    return tiny_classifier()


@pytest.fixture
def pixel_values():
    return torch.rand(5, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

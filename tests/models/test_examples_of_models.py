"""The examples in the docstrings of models and processors run as they stand."""

import doctest
import importlib

import pytest

from dface_hf import models

DOCUMENTED = sorted(name for name in models.__all__ if ">>> " in (getattr(models, name).__doc__ or ""))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_example_runs(name):
    documented = getattr(models, name)
    module = importlib.import_module(documented.__module__)
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder(recurse=False).find(documented, name, module):
        runner.run(example, out=told.append)
    assert runner.tries and not runner.failures, "".join(told)

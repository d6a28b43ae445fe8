import numpy as np
import pytest

from dface_hf.training.estimators import ESTIMATORS, make_estimator


@pytest.mark.parametrize("name", ESTIMATORS)
def test_learns_what_can_be_learned_and_starts_anew(name):
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = generator.normal(size=(120, 10)) + 3 * np.eye(3)[labels] @ generator.normal(size=(3, 10))
    estimator = make_estimator(name).fit(features[:90], labels[:90])
    assert (estimator.predict(features[90:]) == labels[90:]).mean() > 0.9
    assert make_estimator(name) is not make_estimator(name)


def test_the_scaler_is_fitted_with_the_estimator():
    """Large units of one feature do not hide the others; what is predicted is scaled, too."""
    labels = np.arange(60) % 2
    features = np.random.default_rng(1).normal(size=(60, 2)) + np.outer(labels, [4, 0])
    features[:, 1] *= 1e6
    assert (make_estimator("svm").fit(features, labels).predict(features) == labels).mean() > 0.95


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown estimator 'forest'; known: svm,"):
        make_estimator("forest")

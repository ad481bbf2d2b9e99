"""The blowflies: the constants and the lag that the fit finds, and the cycles against SciPy."""

import numpy as np
import pytest

from examples import blowflies as example
from tests.solvers.test_delayed import by_steps


@pytest.fixture(scope="module")
def found():
    return example.fit(starts=4)


def test_the_counts_are_those_of_the_equation():
    model = example.flies()
    births, crowding, deaths, lag = example.TRUTH.values()

    def f(s, n, past):
        return [births * past[0][0] * np.exp(-past[0][0] / crowding) - deaths * n[0]]

    exact = by_steps(f, (lag,), lambda s: np.array([0.5]), [0.5], 168.0, lag)(example.DAYS)[:, 0]
    noise = example.NOISE * np.random.default_rng(0).standard_normal(len(example.DAYS))
    np.testing.assert_allclose(example.counts(model)["adults"], exact * np.exp(noise), rtol=5e-5)


def test_the_lag_is_learned(found):
    for name, value in example.TRUTH.items():
        assert abs(found.estimates[name] - value) < 2.5 * found.stderr[name]
    assert found.stderr["lag"] < 0.3


def test_it_draws(found, tmp_path):
    assert example.draw(found, tmp_path).read_bytes().startswith(b"\x89PNG")

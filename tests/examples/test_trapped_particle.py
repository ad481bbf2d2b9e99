"""The trapped particle: its tracks, both fits against the truth and each other, and the picture."""

import numpy as np
import pytest

from examples import trapped_particle as example


@pytest.fixture(scope="module")
def result() -> example.Result:
    return example.fit()


def test_the_tracks_have_the_moments_of_the_process(result):
    rate, place, noise = example.TRUTH.values()
    decay = np.exp(-rate * example.TIMES)
    exact = np.concatenate([place * (1 - decay), noise**2 * (1 - decay**2) / (2 * rate)])
    found, errors = example.of_data(result.tracks)
    assert (np.abs(found - exact) < 4 * errors).all()


def test_both_fits_find_the_constants(result):
    assert result.loss < 1
    for name, truth in example.TRUTH.items():
        (value, error), (best, least) = result.by_moments[name], result.by_likelihood[name]
        assert abs(value - truth) < 2.5 * error
        assert abs(best - truth) < 2.5 * least
        assert least < error < 0.1 * truth
        assert abs(value - best) < 2.5 * error


def test_the_standard_errors_of_the_likelihood_are_those_of_other_tracks(result):
    """Over sets of tracks that are drawn anew."""
    again = np.array([example._likeliest(example.observed(seed)) for seed in range(1, 61)])
    for name, spread in zip(example.TRUTH, again.std(axis=0, ddof=1), strict=True):
        assert result.by_likelihood[name][1] == pytest.approx(spread, rel=0.35)


def test_it_draws(result, tmp_path):
    assert example.draw(result, tmp_path).read_bytes().startswith(b"\x89PNG")

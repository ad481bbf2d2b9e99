"""The gene at rest: its closed form, and the constants that the fit finds."""

import jax.numpy as jnp
import numpy as np
import pytest

from examples import gene_induction as example


@pytest.fixture(scope="module")
def result() -> example.Result:
    return example.fit()


def closed_form(doses, k_off, strength, half, leak):
    free = k_off / (k_off + doses)  # k_on = 1, and one repressor in all
    return 4.0 / 0.7 * strength / 5.0 * (leak + 1 / (1 + (free / half) ** 2))


def test_the_response_is_its_closed_form(result):
    doses, constants = jnp.geomspace(0.1, 1e4, len(example.DOSES)), jnp.array(list(example.TRUTH.values()))
    found, slopes = example.logarithms(result.layer, jnp.log(constants), doses)
    expected = closed_form(np.asarray(doses), **example.TRUTH)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-8)
    for i, name in enumerate(example.TRUTH):
        step = 1e-5 * example.TRUTH[name]
        up, down = (
            closed_form(np.asarray(doses), **{**example.TRUTH, name: example.TRUTH[name] + s}) for s in (step, -step)
        )
        relative = (up - down) / (2e-5 * expected)
        np.testing.assert_allclose(slopes[:, i], relative, rtol=1e-4, atol=1e-8)


def test_the_constants_are_found(result):
    for name, value in example.TRUTH.items():
        assert abs(result.estimates[name] - value) < 2.5 * result.errors[name]
    assert result.errors["strength"] / result.estimates["strength"] < 0.05


def test_it_draws(result, tmp_path):
    assert example.draw(result, tmp_path).read_bytes().startswith(b"\x89PNG")

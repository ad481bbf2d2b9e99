"""The universal differential equation of hare and lynx: against data that a known term made, and the published fit."""

import contextlib
import io

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from examples import missing_term as example

# Posterior mean and standard deviation of beta (Carpenter, Predator-prey dynamics, Stan case study, 2018).
BETA, DEVIATION = 0.028, 0.004


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What `main` returns, what it prints, and where it draws."""
    output = tmp_path_factory.mktemp("output") / "new"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = example.main(output, penalties=())
    return found, printed.getvalue(), output / "missing_term.png"


@pytest.fixture(scope="module")
def found(run):
    return run[0]


def test_from_data_without_noise_the_product_is_found():
    simulated = example.simulated()
    by_scipy = scipy.integrate.solve_ivp(
        lambda t, y: [0.54 - example.BETA * np.exp(y[1]), -0.80 + 0.87 * example.BETA * np.exp(y[0])],
        (0, 20), np.log([34.6, 5.84]), t_eval=example.YEARS, rtol=1e-10, atol=1e-12,
    ).y.T  # fmt: skip
    np.testing.assert_allclose(simulated, by_scipy, atol=2e-5)
    found = example.find(example.network_model(), simulated, penalty=1e-5)
    np.testing.assert_allclose(found.exponents(), 1.0, atol=0.01)
    np.testing.assert_allclose(found.factors(), example.BETA, rtol=0.05)
    assert float(found.model["gain"]) == pytest.approx(0.87, rel=0.02)


def test_from_the_pelts_it_is_found_to_about_a_quarter(found):
    errors = found.layer(found.start) - example.read()
    assert np.sqrt(np.mean(errors**2)) < 0.2  # Lotka and Volterra's own: 0.24
    np.testing.assert_allclose(found.exponents(), 1.0, atol=0.25)
    mean = np.exp(np.mean(np.log(found.factors())))
    assert abs(mean - BETA) < DEVIATION


def test_the_learned_term_is_what_the_network_says(found):
    sol = found.at([3.0, 7.5])
    net = found.model["net"]
    logs = jnp.stack([sol["log_hare"], sol["log_lynx"]], axis=1)
    np.testing.assert_allclose(sol["eaten"], sol["hare"] * jnp.exp(eqx.filter_vmap(net)(logs)[:, 0]), rtol=1e-12)


def test_years_without_data_are_left_out_and_the_product_has_the_published_rate():
    values = example.read()
    values[4] = np.nan
    product = example.model_with(example.Product(jnp.log(jnp.array([0.02]))))
    found = example.find(product, values, penalty=0.0)
    assert np.ptp(found.factors()) < 1e-12
    assert abs(found.factors()[0] - BETA) < DEVIATION


def test_the_script_prints_and_draws(run):
    _, printed, figure = run
    assert "learned      hare^0.8" in printed
    assert "learned      hare^1.00 lynx^1.00" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(figure.read_bytes()) > 20_000

"""Random networks: reproducible, closed, non-negative, stiff, and the same in symdeq, JAX and NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import symdeq as sd

from .mass_action import REACTIONS_PER_SPECIES, mass_action, network

SIZES = pytest.mark.parametrize("n", [12, 50])


@SIZES
def test_the_same_size_and_seed_make_the_same_network(n):
    again = network.__wrapped__(n, 0)
    for name in ("mass", "reactants", "products", "rates", "start"):
        np.testing.assert_array_equal(getattr(network(n, 0), name), getattr(again, name))
    assert not np.array_equal(network(n, 1).reactants, again.reactants)
    assert len(again.rates) == REACTIONS_PER_SPECIES * n
    assert np.ptp(np.log10(again.rates)) > 5
    np.testing.assert_array_equal(again.mass @ network(n, 0).stoichiometry, 0.0)


@SIZES
def test_all_spellings_agree(n):
    problem, y = mass_action(n), np.random.default_rng(1).uniform(0.0, 1.0, n)
    rhs, jac = problem.numpy_rhs(0.0, y, problem.params), problem.numpy_jac(0.0, y, problem.params)
    field = jax.jit(lambda y: problem.field(0.0, y, jnp.asarray(problem.params)))
    close = {"rtol": 1e-12, "atol": 1e-12 * np.abs(rhs).max()}
    np.testing.assert_allclose(field(jnp.asarray(y)), rhs, **close)
    np.testing.assert_allclose(jax.jacfwd(field)(jnp.asarray(y)), jac, **close)
    np.testing.assert_allclose(network(n, 0).mass @ rhs, 0.0, atol=1e-11 * np.abs(rhs).max())


def test_the_model_agrees():
    problem = mass_action(12)
    model, y = sd.compile(problem.build()), np.random.default_rng(1).uniform(0.0, 1.0, 12)
    assert tuple(s.name for s in model.states) == problem.states
    assert tuple(p.name for p in model.parameters) == problem.parameters
    np.testing.assert_allclose(model.rhs(0.0, y), problem.numpy_rhs(0.0, y, problem.params), rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(model.jac(0.0, y), problem.numpy_jac(0.0, y, problem.params), rtol=1e-11, atol=1e-10)


@SIZES
def test_solutions_are_stiff_not_negative_and_keep_the_mass(n):
    problem = mass_action(n)
    solution = scipy.integrate.solve_ivp(
        problem.numpy_rhs, (0.0, problem.t1), problem.y0, "BDF", problem.ts,
        jac=problem.numpy_jac_sparse, args=(problem.params,), rtol=1e-8, atol=1e-11,
    )  # fmt: skip
    assert solution.success
    mass = network(n, 0).mass
    np.testing.assert_allclose(mass @ solution.y, mass @ np.array(problem.y0), rtol=1e-6)
    assert solution.y.min() > -1e-9
    # The fastest time scale is far shorter than the interval.
    slopes = np.linalg.eigvals(problem.numpy_jac(0.0, solution.y[:, -1], problem.params))
    assert np.abs(slopes).max() * problem.t1 > 1e4
    assert slopes.real.max() < 1e-6 * np.abs(slopes).max()

"""Pseudo-transient continuation by itself: optimistix, PyTrees, mass matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import symdeq as sd
from symdeq.solvers import DenseLinearisation, PseudoTransient


def test_the_root_that_a_start_flows_to():
    found = optx.root_find(lambda y, a: a * y - y**3, PseudoTransient(), jnp.array([0.1, -0.1]), jnp.array(2.0))
    np.testing.assert_allclose(found.value, [np.sqrt(2), -np.sqrt(2)], rtol=1e-6)
    assert found.result == optx.RESULTS.successful
    assert int(found.stats["nfe"]) > int(found.stats["num_steps"])


def test_what_cannot_change_is_kept():
    """Three boxes that exchange: the sum stays, and the ratios are those of the rates."""
    rates = jnp.array([[-1.0, 2.0, 0.0], [1.0, -2.5, 1.0], [0.0, 0.5, -1.0]])
    start = {"a": jnp.array([3.0]), "b": jnp.array([0.0, 1.0])}

    def flow(y, _):
        r = rates @ jnp.concatenate([y["a"], y["b"]])
        return {"a": r[:1], "b": r[1:]}

    found = optx.root_find(flow, PseudoTransient(), start)
    np.testing.assert_allclose(jnp.concatenate([found.value["a"], found.value["b"]]), np.array([4, 2, 1]) * 4 / 7, 1e-6)


def test_a_mass_matrix_with_an_algebraic_equation():
    """x' = -x z with z³ + z = x + 2: at rest x = 0 and z = 1."""

    def flow(y, _):
        return jnp.array([-y[0] * y[1], y[1] ** 3 + y[1] - y[0] - 2])

    def linearise(y, _):
        return DenseLinearisation(
            y=y, jacobian=jax.jacfwd(flow)(y, None), dfdt=None, mass_matrix=jnp.diag(jnp.array([1.0, 0.0]))
        )

    found = optx.root_find(flow, PseudoTransient(), jnp.array([1.0, 0.0]), options={"linearise": linearise})
    np.testing.assert_allclose(found.value, [0.0, 1.0], atol=1e-8)


def test_a_negative_amount_is_not_passed_on_the_way():
    """Newton's method from here goes to the negative root of y' = 1 - y²; the amount stays positive."""
    found = optx.root_find(lambda y, _: 1e-3 + y - 10 * y**2, PseudoTransient(), jnp.array(0.0))
    np.testing.assert_allclose(found.value, np.roots([-10, 1, 1e-3]).max(), rtol=1e-6)


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_no_root_is_no_success(start):
    found = optx.root_find(lambda y, _: y**2 + 1, PseudoTransient(), jnp.array(start), throw=False, max_steps=200)
    assert found.result != optx.RESULTS.successful


def test_not_finite_at_the_start():
    found = optx.root_find(lambda y, _: jnp.log(y), PseudoTransient(), jnp.array(-1.0), throw=False)
    assert found.result == optx.RESULTS.nonfinite


def test_settings():
    with pytest.raises(sd.ModelError, match="rtol"):
        PseudoTransient(rtol=-1.0)

"""Automatic linearisation: Jacobian, time derivative, mass matrix, direction of time, registration."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from diffrax._term import WrapTerm

from symdeq.solvers import MassTerm, linearise

from .problems import SparseTerm, driven, rober, stacked

Y = (jnp.asarray(0.4), jnp.asarray(0.9))


def test_jacobian_norm_and_solve():
    local: Any = linearise(dfx.ODETerm(driven), 0.3, Y, None)
    jacobian = np.asarray(jax.jacfwd(lambda v: stacked(driven)(0.3, v, None))(jnp.stack(Y)))
    np.testing.assert_allclose(local.jacobian, jacobian)
    np.testing.assert_allclose(local.norm(), np.abs(jacobian).sum(axis=1).max())
    assert not local.has_mass
    assert local.mass(Y) is Y
    assert local.correction(jnp.asarray(2.0), Y, Y) is None
    x = local.factorise(jnp.asarray(2.0))(Y)
    np.testing.assert_allclose((2.0 * np.eye(2) - jacobian) @ np.stack(x), np.stack(Y), rtol=1e-12)


def test_the_time_derivative_is_left_out_where_there_is_none():
    by_hand: Any = linearise(dfx.ODETerm(driven), 0.3, Y, None)
    np.testing.assert_allclose(
        np.stack(by_hand.dfdt),
        jax.jacfwd(lambda t: stacked(driven)(t, jnp.stack(Y), None))(0.3),
    )
    k = (0.04, 3e7, 1e4)
    assert linearise(dfx.ODETerm(rober), 0.3, (*Y, Y[0]), k).dfdt is None
    assert linearise(dfx.ODETerm(jax.jit(stacked(rober))), 0.3, jnp.ones(3), k).dfdt is None
    through_jit: Any = linearise(dfx.ODETerm(jax.jit(stacked(driven))), 0.3, jnp.stack(Y), None)
    np.testing.assert_allclose(through_jit.dfdt, np.stack(by_hand.dfdt))
    through_loop: Any = linearise(
        dfx.ODETerm(lambda t, y, a: jax.lax.fori_loop(0, 3, lambda i, v: v * t, y)), 2.0, Y[0], None
    )
    np.testing.assert_allclose(through_loop.dfdt, 3 * 4.0 * 0.4)


def test_a_wrapped_term_is_linearised_in_its_own_time():
    local: Any = linearise(WrapTerm(dfx.ODETerm(driven), jnp.asarray(-1)), -0.3, Y, None)
    forwards: Any = linearise(dfx.ODETerm(driven), 0.3, Y, None)
    np.testing.assert_allclose(local.jacobian, forwards.jacobian)
    np.testing.assert_allclose(np.stack(local.dfdt), np.stack(forwards.dfdt))


def test_mass_matrix():
    m = np.array([[1.0, 2.0], [0.0, 0.0]])
    local: Any = linearise(MassTerm(driven, m), 0.3, Y, None)
    jacobian = np.asarray(local.jacobian)
    assert local.has_mass
    np.testing.assert_allclose(np.stack(local.mass(Y)), m @ np.stack(Y))
    x = local.factorise(jnp.asarray(3.0))(Y)
    np.testing.assert_allclose((3.0 * m - jacobian) @ np.stack(x), np.stack(Y), rtol=1e-12)


def test_a_registered_term_is_used_as_it_is():
    y = tuple(jnp.asarray(v) for v in (0.9, 1e-5, 0.1))
    k = (0.04, 3e7, 1e4)
    sparse: Any = linearise(SparseTerm(), 0.0, y, k)
    dense: Any = linearise(dfx.ODETerm(rober), 0.0, y, k)
    np.testing.assert_allclose(np.array(sparse.jacobian, float), dense.jacobian)
    shift = jnp.asarray(100.0)
    x = sparse.factorise(shift)(y)
    np.testing.assert_allclose(np.stack(x), np.stack(dense.factorise(shift)(y)), rtol=1e-12)
    assert max(sparse.correction(shift, x, y)) < 1e-14 * max(x)
    wrong = (1.01 * x[0], x[1], x[2])
    np.testing.assert_allclose(sparse.correction(shift, wrong, y)[0], 0.01 * x[0], rtol=1e-6)

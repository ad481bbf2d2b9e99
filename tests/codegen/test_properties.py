"""Random expressions and random systems: generated code against mpmath, Jacobians against JAX's own derivatives."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symdeq.codegen import emit, functions, load, lower, verify
from symdeq.model import State, parameters, states, t
from symdeq.model.symbols import ModelSymbol
from tests.codegen import models
from tests.codegen.support import reference, substituted

X = states(x0=0.7, x1=1.3, x2=0.4)
P = parameters(k0=0.9, k1=1.7)
OBSERVED = (State("u0"), State("u1"))
_UNARY = (
    *(sp.sin, sp.cos, sp.tanh, sp.atan, sp.exp, sp.Abs),
    lambda e: sp.log(2 + e**2),
    lambda e: sp.sqrt(1 + e**2),
    lambda e: e**2,
    lambda e: e**3,
    lambda e: 1 / (1 + e**2),
    lambda e: -e,
)
_BINARY = (
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (2 + sp.sin(b)),
    lambda a, b: sp.Max(a, b),
    lambda a, b: sp.Min(a, 2 * b),
    lambda a, b: (1 + a**2) ** sp.tanh(b),
    lambda a, b: sp.Piecewise((sp.sqrt(a), a > 0), (b, True)),
    lambda a, b: sp.Piecewise((a, b > 1), (sp.log(1 - b), b < 0), (a * b, True)),
)


def expressions(symbols: tuple[ModelSymbol, ...]) -> st.SearchStrategy[sp.Expr]:
    numbers = st.sampled_from([sp.Integer(2), sp.Rational(1, 3), sp.Float(0.7), sp.Integer(-1), sp.pi])
    leaves = st.one_of(st.sampled_from(symbols), st.sampled_from(symbols), numbers)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda f, e: f(e), st.sampled_from(_UNARY), inner),
            st.builds(lambda f, a, b: f(a, b), st.sampled_from(_BINARY), inner, inner),
        ),
        max_leaves=6,
    )


@st.composite
def systems(draw):
    observed: dict = {OBSERVED[0]: draw(expressions((*X, *P))), OBSERVED[1]: draw(expressions((*X, *P, OBSERVED[0])))}
    rates = {x: draw(expressions((*X, *P, *OBSERVED, t))) for x in X}
    return models.analysed(rates, observed=observed, params=P)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(systems(), st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6))
def test_random_systems(system, numbers: list[float]) -> None:
    # Kept off zero, and off points where a branch begins.
    time, *values = (round(v, 3) + math.copysign(0.3 + 0.0137 * i, v) for i, v in enumerate(numbers))
    y, p = values[:3], values[3:]
    programs = lower(system)
    for program in programs.functions:
        verify(program)
    text = emit(programs)
    assert text == emit(lower(system))
    model = functions(load(text))
    point = (jnp.float64(time), jnp.array(y), jnp.array(p))
    wanted = reference(system, substituted(system), time, y, p)
    if not np.all(np.isfinite(wanted)) or np.max(np.abs(wanted)) > 1e8:
        return
    with jax.disable_jit():
        got = np.array(model.rhs(*point))
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-11)

        def plain(t, y, p):
            return jnp.stack([jnp.asarray(value, jnp.float64) for value in model.generated.rhs(t, y, p)])

        by_time, by_state, by_params = jax.jacrev(plain, (0, 1, 2))(*point)
        close = partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-9)
        close(model.jacobian_dense(*point), by_state)
        close(model.dense_params(model.jac_params(*point)), by_params)
        dfdt = model.dfdt(*point)
        close(np.zeros(3) if dfdt is None else dfdt, by_time)
        v = jnp.array([0.3, -1.1, 0.7])
        close(model.matvec(model.jac(*point), v), by_state @ v)
        if model.has_sparse_lu:
            shift = 10 + 2 * np.abs(by_state).sum()
            j = model.jac(*point)
            x = model.solve(model.factors(j, shift), j, shift, v)
            np.testing.assert_allclose(x, np.linalg.solve(shift * np.eye(3) - by_state, v), rtol=1e-9, atol=1e-14)

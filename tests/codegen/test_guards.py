"""Derivatives of branches that are singular where they are not taken."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from symdeq.codegen import Assignment, Program, emit_program, functions, load, load_program, lower
from symdeq.codegen import emit as emit_module
from symdeq.codegen.cse import share
from symdeq.codegen.guards import guard
from symdeq.model import State, parameters, states
from tests.codegen.models import analysed

x, y = sp.symbols("x y", real=True)


def _generated(expression: Any):
    target = sp.Symbol("f(x)", real=True)
    body, _ = guard([Assignment(target, expression)])
    program = share(Program(name="f", summary="A test.", inputs=(("x", x),), body=body, outputs=(target,)))
    function = load_program(emit_program(program), "f")
    return lambda value: function(value)[0]


@pytest.mark.parametrize(
    ("expression", "slopes"),
    [
        (sp.Piecewise((sp.sqrt(x), x > 0), (0, True)), {-1.0: 0.0, 0.0: 0.0, 4.0: 0.25}),
        (sp.Piecewise((sp.log(x), x > 1), (x - 1, True)), {-1.0: 1.0, 0.0: 1.0, 1.0: 1.0, 2.0: 0.5}),
        (sp.Piecewise((sp.sin(x) / x, sp.Ne(x, 0)), (1, True)), {0.0: 0.0, 1.0: np.cos(1.0) - np.sin(1.0)}),
        (sp.Piecewise((x - 1, x < 1), (sp.log(x), True)), {-1.0: 1.0, 0.0: 1.0, 2.0: 0.5}),
        (
            sp.Piecewise((0, x <= 0), (sp.sqrt(x), x < 4), (2, True)),
            {-1.0: 0.0, 0.0: 0.0, 1.0: 0.5, 4.0: 0.0, 9.0: 0.0},
        ),
        (sp.Piecewise((sp.exp(x), x < 0), (1, True)), {-1.0: np.exp(-1.0), 1000.0: 0.0}),
        (sp.Piecewise((sp.log(x - 5), x > 5), (0, True)), {0.0: 0.0, 5.0: 0.0, 7.0: 0.5}),
        (sp.Piecewise((1 / (x - 1), sp.Ne(x, 1)), (0, True)), {1.0: 0.0, 3.0: -0.25}),
        (sp.Piecewise((sp.acos(x), sp.Abs(x) < 1), (0, True)), {1.0: 0.0, -2.0: 0.0, 0.0: -1.0}),
        (
            sp.Piecewise((sp.Piecewise((sp.sqrt(x - 1), x > 1), (sp.sqrt(1 - x), True)), x > 0), (x, True)),
            {-1.0: 1.0, 0.0: 1.0, 0.75: -1.0, 1.25: 1.0, 2.0: 0.5},
        ),
        (
            sp.Piecewise((x * sp.Piecewise((sp.log(x), x > 1), (0, True)), x > 0), (0, True)),
            {-1.0: 0.0, 0.5: 0.0, sp.E.evalf(): 2.0},
        ),
        (
            1 + 3 * sp.Piecewise((x ** sp.Rational(3, 2), x > 0), (-((-x) ** sp.Rational(3, 2)), True)),
            {-4.0: 9.0, 0.0: 0.0, 4.0: 9.0},
        ),
    ],
    ids=str,
)
def test_reverse_derivative_is_right_on_both_sides(expression: Any, slopes: dict) -> None:
    function = _generated(expression)
    for value, slope in slopes.items():
        value = float(value)
        assert float(function(jnp.float64(value))) == pytest.approx(
            float(expression.subs(x, sp.Float(value))), rel=1e-12
        )
        assert float(jax.grad(function)(value)) == pytest.approx(slope, rel=1e-12), value
        assert float(jax.jacfwd(function)(jnp.float64(value))) == pytest.approx(slope, rel=1e-12), value


def test_condition_without_a_real_value_at_a_trial_point() -> None:
    """Looking for harmless numbers must not fail where the condition itself is singular."""
    function = _generated(
        sp.Piecewise((sp.sqrt(x), sp.Piecewise((sp.log(1 - x), x < 0), (x - 1, True)) > 0), (x, True))
    )
    for value, slope in {0.0: 1.0, 0.5: 1.0, 4.0: 0.25}.items():
        assert float(jax.grad(function)(value)) == pytest.approx(slope, rel=1e-12)


def test_nothing_is_guarded_without_need() -> None:
    body, sources = guard([Assignment(y, sp.Piecewise((x**2, x > 0), (sp.sin(x) - x, True)))])
    assert len(body) == 1
    assert not sources


def test_missing_default_is_nan_and_nan_stays_nan() -> None:
    open_ended = _generated(sp.Piecewise((sp.sqrt(x), x > 0)))
    assert np.isnan(open_ended(jnp.float64(-1.0)))
    assert float(open_ended(jnp.float64(4.0))) == 2.0
    last_guarded = _generated(sp.Piecewise((x - 1, x < 1), (sp.log(x), True)))
    assert np.isnan(last_guarded(jnp.float64(np.nan)))


def test_singular_observed_quantity_in_a_branch_is_guarded_through() -> None:
    """The branch itself is harmless; what it uses is not."""
    (u,), inverse = states(u=0.0), State("inverse")
    (k,) = parameters(k=2.0)
    system = analysed({u: sp.Piecewise((k * inverse * u**2, u > 0), (k * u, True))}, observed={inverse: 1 / u})
    model = functions(load(emit_module(lower(system))))
    for value in (0.0, -1.0, 3.0):
        point = (0.0, jnp.array([value]), jnp.array([2.0]))
        assert float(model.jacobian_dense(*point)[0, 0]) == pytest.approx(2.0)
        plain = jax.jacrev(lambda v: jnp.stack(model.generated.rhs(0.0, v, (2.0,))))(jnp.array([value]))
        assert float(plain[0, 0]) == pytest.approx(2.0)
        hessian = jax.jacrev(lambda v: model.jacobian_dense(0.0, v, jnp.array([2.0])))(jnp.array([value]))
        assert float(hessian[0, 0, 0]) == pytest.approx(0.0)


def test_two_inputs_get_different_harmless_numbers() -> None:
    a, b, f = sp.symbols("a b f", real=True)
    body, _ = guard([Assignment(f, sp.Piecewise((1 / (a - b), sp.Ne(a, b)), (0, True)))])
    program = Program(name="f", summary="A test.", inputs=(("a", a), ("b", b)), body=body, outputs=(f,))
    function = load_program(emit_program(program), "f")
    slopes = jax.grad(lambda *v: function(*v)[0], argnums=(0, 1))(1.0, 1.0)
    assert [float(s) for s in slopes] == [0.0, 0.0]

"""`compile` and `Model`: values, names, functions, reports."""

import difflib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from tests import models


def test_replace_by_symbol_by_name_and_by_keyword():
    model = models.lotka_volterra()
    a, x = model.parameters[0], model.states[0]
    changed = model.replace({a: 2.0, "x": 0.5}, y=0.25)
    assert float(changed["a"]) == 2.0
    np.testing.assert_array_equal(changed.initial_state(), [0.5, 0.25])
    assert float(model[a]) == 1.5
    assert float(changed[x]) == 0.5


def test_replace_keeps_initial_values_that_follow_from_parameters():
    k, x0 = sd.parameters(k=1.0, x0=3.0)
    x, y = sd.states(x=x0, y=2 * x0)
    model = sd.compile(sd.System([Eq(D(x), -k * x), Eq(D(y), -k * y)]))
    np.testing.assert_array_equal(model.replace(x0=4.0).initial_state(), [4.0, 8.0])
    np.testing.assert_array_equal(model.replace(x0=4.0, y=1.0).initial_state(), [4.0, 1.0])
    gradient = jax.grad(lambda v: model.replace(x0=v).initial_state().sum())(1.0)
    assert float(gradient) == 3.0


def test_replace_of_a_derivative():
    model = models.oscillator()
    (x, _) = model.states
    np.testing.assert_array_equal(model.replace({D(x): 2.0}).initial_state(), [1.0, 2.0])
    with pytest.raises(sd.ModelError, match="follows from the equations"):
        model.replace({D(x, 2): 1.0})


def test_functions_at_a_point():
    model = models.lotka_volterra()
    y, p = jnp.array([2.0, 3.0]), jnp.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(model.rhs(0.0, y, p), [2 - 12, -9 + 24])
    np.testing.assert_allclose(model.jac(0.0, y, p), [[1 - 6, -4], [12, -3 + 8]])
    np.testing.assert_allclose(model.jac(0.0, y), jax.jacfwd(lambda v: model.rhs(0.0, v))(y))
    np.testing.assert_allclose(jax.jacrev(lambda v: model.rhs(0.0, y, v))(p), [[2, -6, 0, 0], [0, 0, -3, 6]])


def test_source_stands_on_its_own(tmp_path):
    model = models.lotka_volterra()
    names: dict = {}
    exec(compile(model.source, "source", "exec"), names)
    np.testing.assert_allclose(names["rhs"](0.0, (2.0, 3.0), (1.0, 2.0, 3.0, 4.0)), [-10, 15])
    assert "D(x) = a*x - b*x*y" in model.source or "D(x) = x*(a - b*y)" in model.source


def test_report():
    text = str(models.rober())
    for part in (
        "Model `rober`: ordinary differential equations",
        "states      y1, y2, y3",
        "constant    y1 + y2 + y3",
        "7 of 9 entries are non-zero; sparse LU",
        "operations",
        "stiffness",
        "float64",
        "XLA",
    ):
        assert part in text
    assert "algebraic   z" in str(models.algebraic())


def test_trace_shows_every_pass(capsys):
    x = sd.state("x", 1.0)
    sd.compile(sd.System([Eq(D(x), -x)]), trace=True)
    shown = capsys.readouterr().out
    for name in (
        "flatten",
        "split_noise",
        "lower_delays",
        "lower_events",
        "reduce_index",
        "tear",
        "simplify",
        "analyse",
    ):
        assert f"--- after {name}" in shown


def test_simplify_may_be_switched_off():
    x, a, b = sd.state("x", 1.0), sd.parameter("a", 1.0), sd.parameter("b", 1.0)
    system = sd.System([Eq(D(x), a * x + b * x)])
    assert sd.compile(system, simplify=False).system.equations[0].rhs == a * x + b * x
    assert sp.count_ops(sd.compile(system).system.equations[0].rhs) == 2


def test_equal_systems_compile_once_and_share_programs():
    def build():
        x, a = sd.state("x", 1.0), sd.parameter("a", 1.0)
        return sd.System([Eq(D(x), -a * x)], name="twice")

    first, second = sd.compile(build()), sd.compile(build())
    assert first.functions is second.functions
    assert jax.tree.structure(first) == jax.tree.structure(second)


def test_contradicting_initial_value_of_an_eliminated_state():
    x, y = sd.states(x=1.0, y=5.0)
    with pytest.raises(sd.ModelError, match="declared as 5, but the equations make it 2") as caught:
        sd.compile(sd.System([Eq(D(x), -x), Eq(y, 2 * x)]))
    assert "test_compiled.py" in str(caught.value)
    y = sd.state("y", sd.guess(5.0))
    assert float(sd.solve(sd.compile(sd.System([Eq(D(x), -x), Eq(y, 2 * x)])), t1=1.0)[y][0]) == 2.0


def test_misspelt_name_gets_a_suggestion():
    x, rate = sd.state("x", 1.0), sd.parameter("rate", 1.0)
    model = sd.compile(sd.System([Eq(D(x), -rate * x)]))
    with pytest.raises(sd.ModelError, match="did you mean `rate`"):
        model.replace(raet=2.0)
    assert difflib.get_close_matches("raet", ["rate"])


def test_model_is_a_pytree_of_its_values():
    model = models.lotka_volterra()
    assert [leaf.shape for leaf in jax.tree.leaves(model)] == [(4,), (2,)]
    doubled = jax.tree.map(lambda v: 2 * v, model)
    assert float(doubled["b"]) == 2.0

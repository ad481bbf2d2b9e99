"""The module as text: names, lines, comments, constants."""

import ast
import keyword

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError
from symdeq.codegen import emit, emit_program, load, load_program, lower, lower_expressions
from symdeq.codegen.names import identifier, unique_names
from symdeq.model import D, State, parameter, parameters, state, states, t
from tests.codegen import models


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("x", "x"),
        ("a.x", "a_x"),
        ("D(x)", "dx_dt"),
        ("D(a.x)", "da_x_dt"),
        ("D(x, 2)", "d2x_dt2"),
        ("J(a.x,y)", "J_a_x_y"),
        ("d(u)/d(x)", "d_u_d_x"),
        ("δ", "δ"),
        ("2x", "v_2x"),
        ("_", "v"),
    ],
)
def test_identifiers(name: str, wanted: str) -> None:
    assert identifier(name) == wanted


def test_names_are_unique_and_not_reserved() -> None:
    symbols = [sp.Symbol(n) for n in ("a.x", "a_x", "a.x ", "lambda", "jnp", "rhs", "sum", "ﬁ", "fi")]
    names = unique_names(symbols, {}, {"rhs"})
    assert len(set(names.values())) == len(symbols)
    for name in names.values():
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert name not in ("jnp", "rhs", "sum")


@pytest.mark.parametrize("name", ["lotka_volterra", "rober", "driven", "awkward"])
def test_lines_are_short_and_text_is_valid(name: str) -> None:
    text = emit(lower(getattr(models, name)()))
    assert max(map(len, text.splitlines())) <= 120
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    ast.parse(text)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_awkward_names_compute_the_right_values() -> None:
    system = models.awkward()
    generated = load(emit(lower(system)))
    y = np.linspace(0.5, 1.5, len(system.states))
    values = generated.rhs(0.0, y, (2.0, 0.1))  # j, lam
    np.testing.assert_allclose(values[0], np.sin(y[0]) - y[1:].sum(), rtol=1e-14)
    np.testing.assert_allclose(values[1:], -0.1 * y[1:] + y[0] * y[1:] ** 2 / 3, rtol=1e-14)
    assert generated.observed_names == ("if", "D(y)")
    np.testing.assert_allclose(generated.observed(0.0, y, (2.0, 0.1)), (y[0] + 1, 3 * y[0]))


def test_long_expressions_are_broken_and_keep_their_value() -> None:
    x = [state(f"quantity_{i}", 1.0) for i in range(30)]
    k = [parameter(f"coefficient_{i}", 1.0 + i / 10) for i in range(30)]
    nested = sp.Piecewise(
        (sp.exp(sp.Add(*(c * s for c, s in zip(k, x, strict=True))) / 100), x[0] > 0),
        (sp.log(sp.Add(*(c * s**2 for c, s in zip(k, x, strict=True)))), True),
    )
    rates = {s: c * x[i - 1] * x[i - 2] for i, (s, c) in enumerate(zip(x, k, strict=True))}
    rates[x[0]] = sp.Add(*(c * s * (1 + s) ** 2 / (2 + s) for c, s in zip(k, x, strict=True))) * nested
    rates[x[1]] = sp.Mul(*(1 + s for s in x)) / sp.Add(*x)
    rates[x[2]] = sp.Piecewise((1, sp.And(*(s > i for i, s in enumerate(x)))), (2, True))
    system = models.analysed(rates, params=k)
    text = emit(lower(system))
    assert max(map(len, text.splitlines())) <= 120
    y, p = np.linspace(0.9, 1.1, 30), np.linspace(1.0, 3.9, 30)
    function = sp.lambdify([*x, *k], list(rates.values()), modules="numpy")
    np.testing.assert_allclose(np.array(load(text).rhs(0.0, y, p)), function(*y, *p), rtol=1e-12)


def test_each_equation_is_a_comment_with_its_place() -> None:
    text = emit(lower(models.rober()))
    assert "    # D(y3) = k2*y2**2    [rober.py:12]\n    dy3_dt = " in text
    assert "/some/folder" not in text


def test_text_cannot_break_out_of_strings_and_comments() -> None:
    name = 'x"""\nimport os\\'
    x = State(name)
    text = emit(lower(models.analysed({x: -x}, name='m"""\nraise SystemExit\n"""')))
    module = ast.parse(text)
    assert not [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise)]
    assert load(text).rhs(0.0, (2.0,), ()) == (-2.0,)


def test_no_parameters_and_one_state() -> None:
    (x,) = states(x=1.0)
    generated = load(emit(lower(models.analysed({x: -(x**2)}))))
    assert generated.rhs(0.0, (3.0,), ()) == (-9.0,)
    assert generated.jac_params is not None
    assert generated.jac_params(0.0, (3.0,), ()) == ()
    assert generated.parameters == ()


def test_constants_describe_the_system() -> None:
    generated = load(emit(lower(models.driven())))
    assert generated.name == "driven"
    assert generated.states == ("level", "total")
    assert generated.mass == (1, 1)
    assert generated.sparsity == ((0, 0), (1, 0))
    assert generated.parameter_sparsity == ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2))
    assert generated.initial_kinds == ("given", "given")
    assert generated.initial((0.2, 0.3, 0.5)) == (1, 0.25)


def test_initial_values_by_kind() -> None:
    from symdeq.model import guess

    (a,) = parameters(a=4.0)
    x, y, z = states(x=sp.sqrt(a), y=guess(0.5), z=None)
    generated = load(emit(lower(models.analysed({x: -x, y: -y + a, z: -z}))))
    assert generated.initial_kinds == ("given", "guess", "missing")
    np.testing.assert_allclose(generated.initial((4.0,)), (2.0, 0.5, 0.0))


def test_expressions_of_a_model() -> None:
    system = models.driven()
    level, total = system.states
    inflow, k, _ = system.params
    flow = system.observed[0].lhs
    program = lower_expressions(
        system, [level + 2 * total, flow * k, D(level), sp.sqrt(t) * inflow, sp.Integer(3)], "pick"
    )
    pick = jax.jit(load_program(emit_program(program), "pick"))
    point = (4.0, jnp.array([1.5, 0.2]), jnp.array([0.2, 0.3, 0.5]))
    rates = load(emit(lower(system))).rhs(*point)
    np.testing.assert_allclose(pick(*point), (1.9, 0.09, rates[0], 0.4, 3), rtol=1e-14)
    with pytest.raises(ModelError, match="`other` in `other`"):
        lower_expressions(system, [State("other")])

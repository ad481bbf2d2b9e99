"""Each function of the table against mpmath: value, derivative, and the value in single precision."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.functions.special.error_functions import expint
from sympy.logic.boolalg import And, Not, Or, Xor

from symdeq.codegen.derivatives import INTERNAL, Differentiator
from symdeq.codegen.printer import TEMPLATES, JaxSource
from symdeq.model.functions import SUPPORTED
from tests.codegen.support import scalar_function

x, y = sp.symbols("x y", real=True)

_ANYWHERE = (
    sp.sin,
    sp.cos,
    sp.tan,
    sp.cot,
    sp.sec,
    sp.csc,
    sp.sinc,
    sp.atan,
    sp.acot,
    sp.sinh,
    sp.cosh,
    sp.tanh,
    sp.coth,
)
_ANYWHERE += (
    sp.sech,
    sp.csch,
    sp.asinh,
    sp.acsch,
    sp.erf,
    sp.erfc,
    sp.exp,
    sp.Si,
    sp.fresnels,
    sp.fresnelc,
    sp.Abs,
    sp.sign,
)
_ANYWHERE += (sp.floor, sp.ceiling, sp.frac, sp.gamma, sp.Heaviside)
CASES = [(function(x), (0.3, -0.7, 1.9)) for function in _ANYWHERE]
CASES += [(function(x), (0.3, -0.7)) for function in (sp.asin, sp.acos, sp.atanh, sp.erfinv)]
CASES += [
    (function(x), (1.3, 3.7)) for function in (sp.acosh, sp.log, sp.sqrt, sp.Ci, sp.loggamma, sp.Ei, sp.factorial)
]
CASES += [(function(x), (1.3, -3.7)) for function in (sp.asec, sp.acsc, sp.acoth)]
CASES += [
    (sp.asech(x), (0.3, 0.7)),
    (sp.Ei(x), (-0.4, -2.0)),
    (sp.zeta(x), (1.5, 3.2)),
    (sp.zeta(3, x), (0.5, 2.2)),
    (sp.zeta(x, 2), (3.3,)),
    *((expint(n, x), (0.01, 0.2, 1.0, 5.0)) for n in (1, 2, 3)),
    *((sp.polygamma(n, x), (0.3, 2.5)) for n in (0, 1, 2)),
    (sp.beta(x, sp.Float(1.7)), (0.3, 2.0)),
    (sp.beta(sp.Float(2.5), x), (0.3, 2.0)),
    (sp.lowergamma(sp.Float(1.7), x), (0.3, 2.0)),
    (sp.lowergamma(x, sp.Float(1.3)), (0.4, 2.1)),
    (sp.uppergamma(sp.Float(1.7), x), (0.3, 2.0)),
    (sp.uppergamma(x, sp.Float(1.3)), (0.4, 2.1)),
    (sp.besseli(0, x), (0.1, -2.0, 5.0)),
    (sp.besseli(1, x), (1e-4, 2e-3, 0.1, -2.0, 5.0)),
    (sp.Mod(x, sp.Float(1.5)), (0.2, 4.1, -2.2)),
    (sp.Mod(x, sp.Float(-1.5)), (0.2, 4.1)),
    (sp.Mod(sp.Float(4.3), x), (0.7, -1.1)),
    (sp.atan2(x, sp.Float(-0.4)), (0.3, -2.0)),
    (sp.atan2(sp.Float(1.1), x), (0.3, -2.0)),
    (sp.sinc(x), (1e-3, 0.01, 0.49, 0.51)),
    (x ** sp.Float(2.5), (0.3,)),
    (x ** sp.Float(3.0), (-0.3,)),
    (x**x, (0.3,)),
    (sp.Float(2.5) ** x, (0.3,)),
    (x**-3, (0.3, -0.7)),
    (1 / sp.sqrt(x), (0.3,)),
    (x ** sp.Rational(1, 3), (0.3,)),
    (sp.Max(x, 1, x**2 - 1), (0.3, 1.2, 3.0)),
    (sp.Min(x, 1, x**2 - 1), (0.3, 1.2, 3.0)),
    (sp.Piecewise((x**2, x > 1), (sp.exp(x), True)), (0.3, 1.2)),
    (sp.Piecewise((x, (x > 0) & (x < 1)), (2 * x, (x < -1) | Not(sp.Eq(x, 5))), (0, True)), (0.3, -2.0, 3.0)),
    (sp.pi * x + sp.E + sp.EulerGamma + sp.Rational(2, 7) * x - sp.Rational(3, 4) / x, (0.3,)),
    (10**30 * x / 7**25, (0.3,)),
    ((x + 1) / (x - 2) / (3 - x) ** 2 * -5, (0.3,)),
    (-((x + 1) ** -2) - 3 * (-x) ** 3, (0.3,)),
    (2 ** (-x), (0.3,)),
    ((1 - x) ** (-sp.Rational(3, 2)), (0.3,)),
]


def _expected(expression: Any, value: float) -> tuple[float, float]:
    """Value and derivative by mpmath; the point is exact in both."""
    with mpmath.workdps(40):
        if isinstance(expression, sp.zeta):
            s = expression.args[0]
            q = expression.args[1] if len(expression.args) == 2 else sp.Integer(1)
            f = lambda v: mpmath.zeta(_at(s, v), _at(q, v))  # noqa: E731
        elif isinstance(expression, sp.Heaviside | sp.sign | sp.frac):
            return float(sp.Float(expression.xreplace({x: sp.Float(value, 40)}))), 1.0 if isinstance(
                expression, sp.frac
            ) else 0.0
        else:
            f = sp.lambdify(x, expression, modules="mpmath")
        point = mpmath.mpf(value)
        return float(mpmath.re(f(point))), float(mpmath.re(mpmath.diff(f, point, h=mpmath.mpf(10) ** -15)))


def _at(argument: Any, value: Any) -> Any:
    return value if argument == x else mpmath.mpf(float(argument))


@pytest.mark.parametrize(("expression", "values"), CASES, ids=lambda c: str(c) if isinstance(c, sp.Basic) else "")
def test_value_and_derivative(expression: sp.Expr, values: tuple[float, ...]) -> None:
    """Compiled and batched, with the generated derivative and with that of JAX, and in single precision."""
    function = scalar_function(expression, x)
    derivative = scalar_function(Differentiator(lambda symbol: sp.Integer(1))(expression), x)
    wanted, slope = np.array([_expected(expression, value) for value in values]).T
    compiled = jax.jit(jax.vmap(lambda v: (function(v), derivative(v), jax.grad(function)(v))))
    got, generated, automatic = compiled(jnp.array(values, jnp.float64))
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(generated, slope, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(automatic, slope, rtol=1e-6, atol=1e-8)
    single = function(jnp.array(values, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, wanted, rtol=2e-4, atol=1e-5)


def test_every_supported_function_has_a_form() -> None:
    methods = {
        kind for kind in SUPPORTED | INTERNAL for base in kind.__mro__ if f"_print_{base.__name__}" in vars(JaxSource)
    }
    pairs = {ExprCondPair}  # printed with its Piecewise
    assert (SUPPORTED | INTERNAL) - set(TEMPLATES) - methods - pairs == set()


def test_tested_functions_are_the_supported_ones() -> None:
    tested = {type(node) for expression, _ in CASES for node in sp.preorder_traversal(expression)}
    elsewhere = {sp.Ge, sp.Le, sp.Ne, Xor, sp.ITE, Not, sp.Eq}
    assert SUPPORTED - tested - elsewhere == set()


def test_conditions() -> None:
    z = sp.Symbol("z", real=True)
    for condition in (
        sp.Ge(x, y),
        sp.Le(x, 1) & sp.Ne(y, 2),
        Xor(x > 0, y > 0),
        sp.ITE(x > 0, y > 1, y < 0),
        Not(And(x > 0, Or(y > 0, z > 0))),
        sp.Eq(x, y) | (z < 0),
    ):
        function = scalar_function(sp.Piecewise((1, condition), (2, True)), x, y, z)
        for point in np.random.default_rng(0).integers(-2, 3, (30, 3)).astype(float):
            wanted = 1.0 if condition.subs(dict(zip((x, y, z), point, strict=True))) == sp.true else 2.0
            assert float(function(*point)) == wanted


def test_heaviside_is_one_half_at_zero() -> None:
    assert float(scalar_function(sp.Heaviside(x), x)(0.0)) == 0.5


def test_values_at_removable_singularities() -> None:
    derivative = Differentiator(lambda symbol: sp.Integer(1))
    assert float(scalar_function(sp.sinc(x), x)(0.0)) == 1.0
    assert float(scalar_function(derivative(sp.sinc(x)), x)(0.0)) == 0.0
    assert float(scalar_function(derivative(sp.besseli(1, x)), x)(0.0)) == 0.5
    assert float(scalar_function(sp.acot(x), x)(0.0)) == pytest.approx(np.pi / 2)
    for expression in (sp.sinc(x), derivative(sp.sinc(x)), derivative(sp.besseli(1, x)), sp.acot(x)):
        assert np.isfinite(jax.grad(scalar_function(expression, x))(0.0))


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.5])
def test_power_law_is_differentiable_at_zero(exponent: float) -> None:
    n = sp.Symbol("n", real=True)
    hill = x**n / (y**n + x**n)
    for variable in (x, n):
        derivative = Differentiator(lambda s, v=variable: sp.Integer(int(s == v)))(hill)
        value = scalar_function(derivative, x, y, n)(0.0, 0.5, exponent)
        assert float(value) == pytest.approx(2.0 if variable == x and exponent == 1.0 else 0.0)


def test_whole_number_exponents_are_written_as_such() -> None:
    printer = JaxSource({x: "x", y: "y"})
    assert printer.doprint(x ** sp.Float(2.0)) == "x**2"
    assert printer.doprint(-x / (2 * y)) == "-0.5 * x / y"
    assert printer.doprint(x / 3 - y) == "(1 / 3) * x - y"
    assert printer.doprint(-(x**2) * y) == "-(x**2) * y"
    assert printer.doprint(sp.Float(0.1) * x) == "0.1 * x"
    assert printer.doprint(sp.sqrt(x) / y**2) == "jnp.sqrt(x) / y**2"

"""Expressions come back from data equal part by part: every function of the table, and random ones."""

from typing import Any

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.logic.boolalg import Not, Xor

import symdeq as sd
from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Component, Network, NetworkValue, Numbers
from symdeq.model.functions import BLOCKS, SUPPORTED
from symdeq.saving import expressions
from symdeq.saving.expressions import Tables
from symdeq.saving.limits import DEEPEST, LONGEST
from symdeq.saving.nodes import CONSTANTS, OPERATIONS
from tests.codegen.test_printer import CASES
from tests.saving.support import same, through_json, written_and_read

X, Y, Z = SYMBOLS = sd.states(x=1.0, y=2.0, z=3.0)
TABLES = Tables(symbols=SYMBOLS)
_OF_MODELS = {sp.Symbol(name, real=True): symbol for name, symbol in zip("xyz", SYMBOLS, strict=True)}

CONDITIONS = [
    sp.Ge(X, Y),
    sp.Le(X, 1) & sp.Ne(Y, 2),
    Xor(X > 0, Y > 0, Z < 1),
    sp.ITE(X > 0, Y > 1, Y < 0),
    Not(X > 0, evaluate=False),
    sp.Not((X > 0) & ((Y > 0) | (Z > 0)), evaluate=False),
    sp.Eq(X, Y) | (Z < 0),
    sp.true,
    sp.false,
]
NUMBERS = [
    *(sp.Integer(n) for n in (0, 1, -1, 7, 2**53, -(2**53), 10**300)),
    *(sp.Rational(1, 2), sp.Rational(-22, 7), sp.Rational(3, 10**40)),
    *(sp.Float(v) for v in (0.0, 0.1, -1.5, 1e308, 5e-324, 2.0**-1074, 1 / 3, 1e22)),
    *(sp.Float("0.1", 50), sp.Float("1e-4000", 30), sp.Float(0, 40), sp.Float("0.5", 3), -sp.Float("1e4000", 100)),
    *CONSTANTS.values(),
]
UNEVALUATED = [
    sp.Add(X, X, evaluate=False),
    sp.Add(Y, sp.Integer(0), X, evaluate=False),
    sp.Mul(2, sp.Add(X, Y), evaluate=False),
    sp.Mul(Y, sp.Integer(1), X, evaluate=False),
    sp.Pow(sp.Pow(X, 2, evaluate=False), sp.Rational(1, 2), evaluate=False),
    sp.Pow(X, 1, evaluate=False),
    sp.sin(0, evaluate=False),
    sp.exp(sp.log(X, evaluate=False), evaluate=False),
    sp.Max(1, X, sp.Max(X, Y, evaluate=False), evaluate=False),
    sp.Piecewise((X, X > 0), (Y, sp.Eq(sp.Integer(1), 1, evaluate=False)), (Z, True), evaluate=False),
    sp.Abs(sp.Integer(-3), evaluate=False),
    sd.delay(X * sp.sin(Z), Y + sp.Float(0.1)),
]


def _of_models(expression: sp.Basic) -> sp.Basic:
    return expression.xreplace({s: _OF_MODELS[s] for s in expression.free_symbols})  # pyright: ignore


@pytest.mark.parametrize("expression", [c[0] for c in CASES], ids=str)
def test_functions(expression: sp.Basic) -> None:
    expression = _of_models(expression)
    assert same(written_and_read(expression, SYMBOLS), expression)


@pytest.mark.parametrize("expression", [*CONDITIONS, *NUMBERS, *UNEVALUATED], ids=str)
def test_conditions_numbers_and_what_is_not_evaluated(expression: sp.Basic) -> None:
    assert same(written_and_read(expression, SYMBOLS), expression)


def test_every_supported_function_is_tested() -> None:
    tested = [_of_models(c[0]) for c in CASES] + CONDITIONS + UNEVALUATED + [_networks()]
    found = {type(node) for expression in tested for node in sp.preorder_traversal(expression)}
    assert (SUPPORTED | BLOCKS) - found == set()
    assert {operation.kind for operation in OPERATIONS.values()} == SUPPORTED | BLOCKS | {sp.Tuple}


def _networks() -> Any:
    h, net = sd.state("h", 0.0, shape=(3,)), Network("net", 2)
    whole, derivative = NetworkValue(net, -1, (), X, h), NetworkValue(net, 1, (0, 1), X, X + Y)
    return whole * Component(h, 2) + derivative * Numbers(sp.Float(0.5), sp.Float(2))


def test_networks_and_vectors() -> None:
    expression = _networks()
    symbols = (X, Y, sd.state("h", 0.0, shape=(3,)))
    data = expressions.to_data(expression, symbols.index, [Network("net", 2)].index)
    read = expressions.from_data(through_json(data), Tables(symbols=symbols, networks=[Network("net", 2)]))
    assert read == expression
    assert str(read) == str(expression)


@pytest.mark.parametrize(
    "data",
    [
        ["Component", ["symbol", 3], 3],
        ["Component", ["symbol", 3], -1],
        ["Component", ["Component", ["symbol", 3], 0], 0],
        ["NetworkValue", ["network", 0], -2, ["Tuple"], 1],
        ["NetworkValue", ["network", 0], 0, ["Tuple", 1], 1],
        ["NetworkValue", ["network", 0], 0, ["Tuple", ["symbol", 0]], 1],
    ],
    ids=str,
)
def test_positions_that_are_none(data: object) -> None:
    symbols = (*SYMBOLS, sd.state("h", 0.0, shape=(3,)))
    with pytest.raises(ModelError, match="has no"):
        expressions.from_data(data, Tables(symbols=symbols, networks=[Network("net", 2)]))


def test_floats_keep_every_bit() -> None:
    for value in (0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.3):
        read = written_and_read(sp.Float(value), SYMBOLS)
        assert float(read).hex() == value.hex()
        assert read._prec == 53
    many = sp.Float(sp.pi, 200)
    assert written_and_read(many, SYMBOLS)._mpf_ == many._mpf_


# Real and finite everywhere, so that SymPy can build whatever comes of them.
_UNARY = (
    *(sp.sin, sp.tanh, sp.Abs, sp.floor, sp.erf, lambda e: -e, lambda e: e**3, lambda e: 1 / (1 + e**2)),
    *(lambda e: sp.sqrt(1 + e**2), lambda e: sp.log(2 + sp.cos(e), evaluate=False)),
    *(lambda e: sp.Pow(2 + sp.cos(e), sp.Rational(-1, 3), evaluate=False), lambda e: sp.exp(-(e**2))),
)
_BINARY = (
    *(sp.Max, sp.Min, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (2 + sp.sin(b))),
    *(lambda a, b: sp.Add(a, b, evaluate=False), lambda a, b: sp.Mul(a, b, evaluate=False)),
    *(
        lambda a, b: (1 + a**2) ** sp.tanh(b),
        lambda a, b: sp.Heaviside(a, sp.cos(b)),  # pyright: ignore
        lambda a, b: sp.Mod(1 + a**2, 2 + sp.sin(b)),
    ),
    lambda a, b: sp.Piecewise((a, b > 1), (sp.cos(b), (a < 0) | (b < -1)), (a * b, True)),
)


def _expressions() -> st.SearchStrategy[sp.Expr]:
    numbers = st.one_of(
        st.integers(-9, 9).map(sp.Integer),
        st.fractions(-4, 4, max_denominator=50).map(lambda f: sp.Rational(f.numerator, f.denominator)),
        st.floats(-9, 9).map(sp.Float),
        st.sampled_from([sp.pi, sp.E]),
    )
    return st.recursive(
        st.one_of(st.sampled_from(SYMBOLS), numbers),
        lambda inner: st.one_of(
            st.builds(lambda f, e: f(e), st.sampled_from(_UNARY), inner),
            st.builds(lambda f, a, b: f(a, b), st.sampled_from(_BINARY), inner, inner),
        ),
        max_leaves=8,
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_expressions())
def test_random_expressions(expression: sp.Expr) -> None:
    assert same(written_and_read(expression, SYMBOLS), expression)


@pytest.mark.parametrize("expression", [sp.Function("f")(X), sp.I * X, sp.oo, sp.Symbol("q"), sp.zoo, sp.nan], ids=str)
def test_what_cannot_be_saved(expression: sp.Expr) -> None:
    with pytest.raises(UnsupportedError, match="cannot be saved"):
        written_and_read(expression, SYMBOLS)


@pytest.mark.parametrize(
    "data",
    [
        *(None, 1.5, "tau", "", [], {}, [[]], ["sin"], ["sin", 1, 2], ["Add", 1], ["os.system", "ls"], ["symbol", 3]),
        *(["symbol", -1], ["symbol", True], ["symbol", "x"], ["symbol"], ["network", 0], ["Float", 1, 2], ["Float", 1]),
        *(["Float", 3, 0, 1], ["Float", 1, 10**9, 53], ["Float", 1, 0, 10**9], ["Rational", 1, 0], ["Rational", 1, -2]),
        *(["Rational", "x", 2], ["Rational", 1.5, 2], ["sin", True], ["Add", 1, True], ["And", 1, 2], ["Piecewise", 1]),
        *(
            ["Piecewise", ["ExprCondPair", 1, 2]],
            ["ExprCondPair", 1],
            ["Component", ["symbol", 0], 0],
            ["Numbers", ["symbol", 0]],
        ),
        *(["NetworkValue", ["symbol", 0], 0, ["Tuple"], 1], ["StrictGreaterThan", True, 1], ["ITE", True, True]),
        *(["Tuple", 1], True, ["__class__", 1], ["Lambda", ["symbol", 0], 1], ["Not", True, True]),
    ],
    ids=str,
)
def test_data_that_is_no_expression(data: object) -> None:
    with pytest.raises(ModelError, match="remedy"):
        expressions.from_data(data, TABLES)


def _nested(levels: int) -> list:
    data: list = ["sin", ["symbol", 0]]
    for _ in range(levels - 1):
        data = ["sin", data]
    return data


def test_depth_is_bounded() -> None:
    expressions.from_data(_nested(DEEPEST), TABLES)
    with pytest.raises(ModelError, match="levels deep"):
        expressions.from_data(_nested(DEEPEST + 1), TABLES)
    with pytest.raises(ModelError, match="levels deep"):
        expressions.from_data(_nested(100_000), TABLES)
    deep = X
    for _ in range(DEEPEST + 1):
        deep = sp.sin(deep, evaluate=False)
    with pytest.raises(UnsupportedError, match="nested 301 levels deep"):
        written_and_read(deep, SYMBOLS)


_HUGE = 10**9
BOMBS = [
    ["Pow", 9, ["Pow", 9, ["Pow", 9, 9]]],
    ["Pow", 2, _HUGE],
    ["Pow", ["Rational", 1, 3], -_HUGE],
    ["Pow", ["Pow", ["Pow", 2, 1000], 1000], 1000],
    ["Pow", ["Mul", 2, ["symbol", 0]], _HUGE],
    ["Pow", 2, ["Rational", 10**15, 7]],
    ["Pow", 2, ["Mul", 10**8, 10**8]],
    ["factorial", _HUGE],
    ["gamma", ["Rational", 2 * _HUGE + 1, 2]],
    ["zeta", _HUGE],
    ["polygamma", _HUGE, 1],
    ["sin", ["Add", 1, ["Pow", 7, _HUGE]]],
    hex(2 ** (LONGEST + 1)),
    ["Rational", 1, hex(2 ** (LONGEST + 1))],
]


@pytest.mark.parametrize("data", BOMBS, ids=lambda d: str(d)[:40])
def test_numbers_too_large_to_compute_are_refused(data: object) -> None:
    with pytest.raises(ModelError, match=r"too large|binary digits"):
        expressions.from_data(data, TABLES)


def test_large_exponents_of_symbols_are_none() -> None:
    power = X ** sp.Integer(10**12) + 3 * sp.Float(0.5) * Y**-1000
    assert same(written_and_read(power, SYMBOLS), power)

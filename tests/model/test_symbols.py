"""States, parameters and derivatives."""

import copy
import pickle
import subprocess
import sys

import pytest
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import (
    D,
    Eq,
    Guess,
    Parameter,
    State,
    System,
    TimeDerivative,
    guess,
    parameter,
    parameters,
    state,
    states,
    t,
)


def test_equal_declarations_are_one_symbol() -> None:
    assert state("x", 1.0, unit="mol/L") is state("x", 1, unit="mol/L")
    assert parameter("k", 1.0, bounds=(0, 2), scale="log") is parameter("k", 1, bounds=[0.0, 2.0], scale="log")
    assert D(state("x", 1.0)) is D(state("x", 1.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: state("x", 1.0), lambda: state("x", 2.0)),
        (lambda: state("x", 0.1), lambda: state("x", 0.1 + 2**-55)),
        (lambda: state("x", 1.0), lambda: state("x", guess(1.0))),
        (lambda: state("x"), lambda: state("x", 0.0)),
        (lambda: state("x", 1.0), lambda: state("x", 1.0, unit="m")),
        (lambda: state("x"), lambda: parameter("x")),
        (lambda: state("x"), lambda: sp.Symbol("x", real=True)),
        (lambda: parameter("k", 1.0), lambda: parameter("k", 1.0, scale="log")),
        (lambda: state("x", parameter("k", 1.0)), lambda: state("x", parameter("k", 2.0))),
        (lambda: D(state("x", 1.0)), lambda: D(state("x", 2.0))),
        (lambda: D(state("x")), lambda: D(state("x"), 2)),
    ],
)
def test_different_declarations_are_different_symbols(one, other) -> None:
    assert one() != other()
    assert one() - other() != 0
    assert len({one(), other()}) == 2


def test_order_is_that_of_the_last_declaration_whatever_sympy_has_cached() -> None:
    x, y = states(x=1.0, y=1.0)
    first = System([Eq(D(x), x * y + 1), Eq(D(y), x * y + 2)])
    y, x = states(y=1.0, x=1.0)
    second = System([Eq(D(x), x * y + 1), Eq(D(y), x * y + 2)])
    assert [s.name for s in first.states] == ["x", "y"]
    assert [s.name for s in second.states] == ["y", "x"]


def test_copies_and_pickles_are_the_same_symbols() -> None:
    k = parameter("k", 2.0, unit="1/s", bounds=(None, 3.0))
    x = state("x", guess(2 * k), description="what there is")
    for symbol in (k, x, D(x), D(x, 2), t):
        assert copy.deepcopy(symbol) is symbol
        assert pickle.loads(pickle.dumps(symbol)) is symbol
        assert copy.copy(symbol) is symbol


def test_symbols_pickled_elsewhere_are_equal_here() -> None:
    program = (
        "import pickle, sys; from symdeq.model import *; k = parameter('k', 2.0); x = state('x', k, unit='m');"
        "sys.stdout.buffer.write(pickle.dumps((D(x) + k*x, k)))"
    )
    text = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    k = parameter("k", 2.0)
    x = state("x", k, unit="m")
    assert pickle.loads(text) == (D(x) + k * x, k)


def test_symbols_that_nobody_holds_are_forgotten() -> None:
    from symdeq.model.symbols import _DECLARED

    before = len(_DECLARED)
    for i in range(100):
        State.__new__(State, f"forgotten_{i}")
    assert len(_DECLARED) < before + 50


def test_symbols_are_real_and_sympy_accepts_them() -> None:
    (x,) = states(x=1.0)
    (k,) = parameters(k=1.0)
    assert sp.sqrt(x**2) == sp.Abs(x)
    assert sp.diff(k * x**2, x) == 2 * k * x
    assert sp.solve(k * x - 1, x) == [1 / k]


def test_facts() -> None:
    k = parameter("k", 2, bounds=(None, 5), unit="1/s", description="rate")
    assert (k.value, k.bounds, k.scale, k.unit, k.description) == (2.0, (-float("inf"), 5.0), "linear", "1/s", "rate")
    assert str(parameter("q").value) == "nan"
    assert state("z", guess(k)).initial == Guess(k)
    assert isinstance(states(x=None)[0], State)
    assert [type(s) for s in parameters(a=1.0, b=None)] == [Parameter, Parameter]


def test_prefix_goes_through_initial_values_and_derivatives() -> None:
    k = parameter("k", 2.0)
    x = state("x", 3 * k)
    assert x.prefixed("a.") is state_like("a.x", 3 * k.prefixed("a."))
    assert D(x).prefixed("a.b.") is D(x.prefixed("a.b."))  # pyright: ignore[reportAttributeAccessIssue]
    assert x.prefixed("b.").prefixed("a.") is x.prefixed("a.b.")


def state_like(name: str, initial: sp.Expr) -> State:
    return State(name, initial=initial)


def test_derivatives() -> None:
    x, y = states(x=1.0, y=1.0)
    (k,) = parameters(k=1.0)
    assert D(D(x)) is D(x, 2)
    assert D(x, 3) is D(D(D(x)))
    assert D(k) == 0
    assert D(t) == 1
    assert D(5) == 0
    assert D(k * x * y) == k * D(x) * y + k * x * D(y)
    assert D(sp.sin(x) * t) == sp.sin(x) + t * sp.cos(x) * D(x)
    assert D(x**2, 2) == 2 * D(x) ** 2 + 2 * x * D(x, 2)
    assert D(x + y) == D(x) + D(y)
    assert isinstance(D(x), TimeDerivative)
    assert str(D(x, 2)) == "D(x, 2)"
    with pytest.raises(ModelError, match="`q` is not declared"):
        D(sp.Symbol("q") * x)
    for order in (0, -1, 1.5, True):
        with pytest.raises(ModelError, match="order of a derivative"):
            D(x, order)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["", "2x", "a b", "a.b", "lambda", "x\n", 3, None, "D(x)"])
def test_bad_names_are_refused(name) -> None:
    with pytest.raises(ModelError, match="cannot be the name"):
        state(name)
    with pytest.raises(ModelError, match="cannot be the name"):
        parameter(name)


def test_names_in_other_scripts_are_fine() -> None:
    assert state("α_1").name == "α_1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 3.0, "bounds": (0, 2)}, "outside its bounds"),
        ({"value": 1.0, "bounds": (2, 0)}, "are empty"),
        ({"value": 1.0, "bounds": (1, 1)}, "are empty"),
        ({"value": 1.0, "bounds": 3}, "must be a pair"),
        ({"value": 1.0, "bounds": "ab"}, "must be a pair"),
        ({"value": 1.0, "bounds": (0, 1, 2)}, "must be a pair"),
        ({"value": 1.0, "bounds": ("a", 2)}, "must be a number"),
        ({"value": 1.0, "bounds": (float("nan"), 2)}, "must be finite"),
        ({"value": 0.0, "scale": "log"}, "logarithmic"),
        ({"value": 1.0, "scale": "log", "bounds": (-1, 2)}, "logarithmic"),
        ({"value": 1.0, "scale": "square"}, 'must be "linear" or "log"'),
        ({"value": 1.0, "unit": 5}, "must be text"),
        ({"value": 1.0, "unit": "furlongs"}, "is not a unit"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parameter("k", **arguments)


def test_log_scale_may_reach_zero_or_be_open() -> None:
    assert parameter("k", 1.0, scale="log", bounds=(0, None)).scale == "log"
    assert parameter("k", 1.0, scale="log", bounds=(None, 2)).scale == "log"
    assert parameter("k", scale="log").scale == "log"


def test_initial_values_hold_parameters_only() -> None:
    (x,) = states(x=1.0)
    k = parameter("k", 1.0)
    assert state("y", sp.exp(-k)).initial == sp.exp(-k)
    for bad in (x, t, D(x), sp.Symbol("q")):
        with pytest.raises(ModelError, match="is not a parameter"):
            state("y", bad)
        with pytest.raises(ModelError, match="is not a parameter"):
            state("y", guess(bad))
    with pytest.raises(UnsupportedError, match="besselj"):
        state("y", sp.besselj(0, k))
    with pytest.raises(UnsupportedError, match="imaginary"):
        state("y", sp.I * k)


def test_states_and_networks_pass_through_sympy_like_other_symbols():
    from symdeq.model import Neural

    x, h = state("x", 1.0), state("h", 0.0, shape=2)
    value = Neural("net", lambda v: v, outputs=2)(x)[0]
    for thing in (x, value, h[0]):
        assert sp.Mod(thing, 1 + thing**2).free_symbols == thing.free_symbols
        assert sp.gcd(thing, 2 * thing) == thing
        assert not hasattr(thing, "__iter__")
    first, second = h
    assert (first, second) == (h[0], h[1])
    u, v = Neural("net", lambda v: v, outputs=2)(x)
    assert (u.index, v.index) == (0, 1)

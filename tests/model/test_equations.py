"""Equations: never evaluated, and they know where they were written."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import D, Eq, Equation, Origin, parameters, states


def test_nothing_is_evaluated() -> None:
    (x,) = states(x=1.0)
    equation = Eq(x, x)
    assert (equation.lhs, equation.rhs) == (x, x)
    assert str(Eq(D(x), -2 * x)) == "D(x) = -2*x"


def test_origin_is_the_line_of_the_call() -> None:
    (x,) = states(x=1.0)
    here = inspect.currentframe().f_lineno  # pyright: ignore[reportOptionalMemberAccess]
    equation = Eq(D(x), -x)
    assert equation.origins == (Origin(__file__, here + 1, "Eq(D(x), -x)"),)
    assert equation.located == f"D(x) = -x    ({Path(__file__).relative_to(Path.cwd())}:{here + 1})"


def test_origin_of_a_call_across_lines_holds_all_of_them() -> None:
    (x,) = states(x=1.0)
    here = inspect.currentframe().f_lineno  # pyright: ignore[reportOptionalMemberAccess]
    # fmt: off
    equation = Eq(
        D(x),
        -x
        + 1,
    )
    # fmt: on
    (origin,) = equation.origins
    assert (origin.line, origin.text) == (here + 2, "Eq(D(x), -x + 1, )")


def test_each_call_on_a_line_has_its_own_text() -> None:
    (x, ä) = states(x=1.0, ä=1.0)
    one, other = Eq(D(ä), ä), Eq(D(x), x - ä)
    assert one.origins[0].text == "Eq(D(ä), ä)"
    assert other.origins[0].text == "Eq(D(x), x - ä)"


def test_equations_made_in_a_loop_share_the_line() -> None:
    xs = states(x=1.0, y=1.0)
    lines = {Eq(D(s), -s).origins for s in xs}
    assert len(lines) == 1


def test_numbers_of_every_kind() -> None:
    (x,) = states(x=1.0)
    assert Eq(D(x), np.float64(0.5)).rhs == sp.Float(0.5)
    assert Eq(0, x).lhs == sp.Integer(0)
    for bad in ("x", None, [x], sp.Eq(x, 1), Eq(x, 1), np.ones(2), True, float("nan")):
        with pytest.raises(
            ModelError, match=r"The right side of Eq(.|\n)*where:  Eq at .*test_equations\.py:\d+: Eq\(x, bad\)"
        ):
            Eq(x, bad)


def test_an_equation_has_no_truth_value() -> None:
    (x,) = states(x=1.0)
    with pytest.raises(ModelError, match="no truth value"):
        assert Eq(x, 1)


def test_replacement_is_exact_and_keeps_the_origin() -> None:
    x, y = states(x=1.0, y=1.0)
    equation = Eq(D(x), x + y).subs({x: y, D(x): sp.Integer(3)})
    assert (equation.lhs, equation.rhs) == (3, 2 * y)
    assert equation.origins


def test_symbols_and_what_of_them_occurs() -> None:
    x, y = states(x=1.0, y=1.0)
    (a,) = parameters(a=1.0)
    equation = Equation(x + y, a * (y + 1) - a * y + y)
    assert equation.symbols == {x, y, a}
    assert equation.occurring == {x, a}
    assert equation.residual == x - a
    plain = Equation(D(x), a * (x + y))
    assert plain.occurring == plain.symbols == {D(x), x, y, a}
    assert plain.residual == D(x) - a * (x + y)

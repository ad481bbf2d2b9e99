"""Units: read, combined and checked."""

import pytest
import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import D, Eq, System, parameter, state, t
from symdeq.model.units import ONE, parse_unit


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("mol/L", "M"),
        ("mol / L", "mol/L"),
        ("mM", "mol/m**3"),
        ("1/s", "Hz"),
        ("kg*m**2/s^2", "J"),
        ("N*m", "J"),
        ("s**-1", "1/s"),
        ("min", "minute"),
        ("h", "hour"),
        ("uM", "umol/L"),
        ("rad", "1"),
        ("V*A", "W"),
    ],
)
def test_equal_units(text: str, same: str) -> None:
    assert parse_unit(text).fits(parse_unit(same))


@pytest.mark.parametrize(("text", "other"), [("mol/L", "mmol/L"), ("s", "min"), ("m", "s"), ("g", "kg"), ("M", "mol")])
def test_different_units(text: str, other: str) -> None:
    assert not parse_unit(text).fits(parse_unit(other))


@pytest.mark.parametrize("text", ["", "mol/", "2*m", "m m", "m**0.5", "(mol/L)", "furlong", "convert_to", "m/-s", "m*"])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be read|is not a unit"):
        parse_unit(text, "x")


def test_products_and_powers() -> None:
    metre = parse_unit("m")
    assert (metre * metre ** sp.Integer(-1)).fits(ONE)
    assert (metre ** sp.Rational(1, 2) * metre ** sp.Rational(1, 2)).fits(metre)


def check(equation, *, time_unit: str | None = "s") -> None:
    """One equation among others that make it a system."""
    System([equation], time_unit=time_unit)


x = state("x", 1.0, unit="m")
v = state("v", 1.0, unit="m/s")
c = state("c", 1.0, unit="mol/L")
k = parameter("k", 1.0, unit="1/s")
free = parameter("free", 1.0)


@pytest.mark.parametrize(
    "equation",
    [
        Eq(D(x), v),
        Eq(D(x), -k * x),
        Eq(D(x, 2), -(k**2) * x),
        Eq(v**2, (k * x) ** 2.0),
        Eq(v, sp.sqrt(k**2 * x**2)),
        Eq(D(x), v + 0),
        Eq(0, v - k * x),
        Eq(D(x), free * c),
        Eq(D(x), free + v),
        Eq(x, v * t),
        Eq(x, x * sp.exp(-k * t)),
        Eq(v, sp.Max(v, k * x)),
        Eq(v, sp.Piecewise((v, x > k * 0 + x / 2), (0, True))),
        Eq(v, sp.sign(x) * v),
        Eq(D(x), v * sp.atan2(x, v / k)),
    ],
    ids=str,
)
def test_right_units_pass(equation) -> None:
    check(equation)


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        (Eq(D(x), x), "sides of an equation have different units: m\\*.*and m"),
        (Eq(D(x), v + x), "Different units meet in"),
        (Eq(D(x), v + 1), "Different units meet in"),
        (Eq(v, v * sp.exp(x)), "Different units meet in"),
        (Eq(v, v * sp.sin(t)), "Different units meet in"),
        (Eq(v, sp.Max(v, x)), "Different units meet in"),
        (Eq(v, sp.Piecewise((v, x > v), (0, True))), "Different units meet in"),
        (Eq(v, x**free), "Different units meet in"),
        (Eq(0, v - x), "Different units meet in"),
    ],
)
def test_wrong_units_are_refused(equation, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check(equation)


def test_without_a_unit_of_time_derivatives_are_not_checked() -> None:
    check(Eq(D(x), x), time_unit=None)


def test_observed_quantities_are_checked() -> None:
    with pytest.raises(ModelError, match="Different units meet in"):
        System([Eq(D(x), v), Eq(D(v), -(k**2) * x)], observed={"e": x + v}, time_unit="s")


@pytest.mark.parametrize("unit", ["furlong", 3])
def test_a_bad_unit_of_time_is_refused(unit) -> None:
    with pytest.raises(ModelError, match=r"`t` is not a unit|unit of time must be text"):
        System([Eq(D(x), v), Eq(D(v), 0 * v)], time_unit=unit)

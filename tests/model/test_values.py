"""Numbers of every kind at the door."""

import decimal
import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import Eq, guess, parameter, state
from symdeq.model.values import finite, number_or_expression


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        np.float64(0.1),
        np.array(0.1),
        jnp.asarray(0.1),
        sp.Float(0.1),
        fractions.Fraction(0.1),
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_kind_of_number_gives_the_same_symbol(value: object) -> None:
    assert parameter("a", value) is parameter("a", 0.1)
    assert float(state("x", value).initial) == 0.1  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [2, 2.0, np.int32(2), np.float32(2), jnp.asarray(2), np.array(2), sp.Integer(2)])
def test_whole_numbers_are_exact(value: object) -> None:
    assert state("x", value) is state("x", 2)
    assert parameter("a", value).value == 2.0


def test_a_float_keeps_all_its_digits() -> None:
    value = 0.1 + 2**-56
    assert value != 0.1
    assert float(number_or_expression(value, "it")) == value
    assert state("x", value) is not state("x", 0.1)


def test_large_whole_numbers_are_not_rounded() -> None:
    assert number_or_expression(2**70 + 1, "it") == sp.Integer(2**70 + 1)


def test_constants_of_sympy_are_numbers() -> None:
    assert parameter("a", sp.pi).value == float(sp.pi)
    assert guess(sp.sqrt(2)).value == sp.sqrt(2)


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), "1", None, 1j, np.array(1j), np.array([1.0]), [1.0], sp.I, sp.Symbol("q"), object, decimal],
    ids=str,
)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ModelError, match="must be a number"):
        finite(value, "it")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, sp.oo, sp.nan, sp.zoo, 10**400])
def test_what_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(ModelError):
        finite(value, "it")
    with pytest.raises(ModelError):
        Eq(state("x"), value) if not isinstance(value, int) else finite(value, "it")


def test_a_traced_value_is_refused() -> None:
    with pytest.raises(ModelError, match="must be a number"):
        jax.jit(lambda v: parameter("a", v) and v)(1.0)

"""Values at the door: numbers of every kind become exact SymPy numbers, expressions pass, anything else is refused."""

from __future__ import annotations

import math
import numbers
from typing import Any

import sympy as sp

from symdeq._errors import ModelError


def number_or_expression(value: Any, role: str) -> sp.Expr:
    """A value as a SymPy expression; `role` names it in the error for anything but an expression or a finite number."""
    if isinstance(value, sp.Expr):
        if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
            raise ModelError(f"{_sentence(role)} is not finite: {value}.", remedy="give finite numbers")
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return sp.Integer(int(value))
    number = finite(value, role, "a number or an expression of symbols")
    return sp.Integer(int(number)) if number.is_integer() and abs(number) < 2**53 else sp.Float(number)


def finite(value: Any, role: str, wanted: str = "a number") -> float:
    """A finite real number from a Python, NumPy, JAX or SymPy number."""
    try:
        number = _as_float(value)
    except OverflowError:
        raise ModelError(f"{_sentence(role)} is too large for a floating-point number.") from None
    except (TypeError, ValueError):
        raise ModelError(f"{_sentence(role)} must be {wanted}, not {value!r}.", remedy=_instead(value)) from None
    if not math.isfinite(number):
        raise ModelError(f"{_sentence(role)} must be finite, not {number}.", remedy="give a finite number")
    return number


def _instead(value: Any) -> str:
    if isinstance(value, str):
        return "write it without quotes"
    if getattr(value, "ndim", 0) > 0 or isinstance(value, list | tuple):
        return "give one number: a vector is written as a symbol for each element"
    if hasattr(value, "aval"):
        return "declare the model outside of jax.jit and jax.grad, and give traced values by model.replace"
    return "give a finite real number"


def _as_float(value: Any) -> float:
    if isinstance(value, sp.Expr):
        if not value.is_number or value.is_real is False:
            raise TypeError
    elif isinstance(value, bool) or not (isinstance(value, numbers.Real) or _is_scalar_array(value)):
        raise TypeError
    return float(value)


def _is_scalar_array(value: Any) -> bool:
    """Whether a value is an array without dimensions that holds a real number, no truth value and no text."""
    return getattr(value, "ndim", None) == 0 and getattr(getattr(value, "dtype", None), "kind", "") in set("iufV")


def _sentence(role: str) -> str:
    return role[0].upper() + role[1:]

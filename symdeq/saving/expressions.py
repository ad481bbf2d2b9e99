"""Expressions as nested lists, and back to equal ones.

    a*x**2 - 0.1     ["Add", ["Float", -3602879701896397, -55, 53], ["Mul", ["symbol", 0], ["Pow", ["symbol", 1], 2]]]

An operation is its name and its arguments. A whole number is itself, a rational one `["Rational", p, q]`, a
floating-point one `["Float", mantissa, exponent, bits]`; true and false are themselves, constants are their names;
symbols and networks are positions in tables. Whole numbers that other readers of JSON would round are hexadecimal text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from symdeq._errors import UnsupportedError
from symdeq.model import ModelSymbol, Network
from symdeq.saving.fields import checked, damaged, position
from symdeq.saving.limits import DEEPEST, LONGEST, Size, size_of
from symdeq.saving.nodes import CONSTANTS, OPERATIONS

_EXACT = 2**53
_NAMES = {constant: name for name, constant in CONSTANTS.items()}


def to_data(expression: sp.Basic, symbol: Callable[[Any], int], network: Callable[[Any], int]) -> Any:
    """An expression as data.

    Arguments:

    - `expression`: of what equations may contain.
    - `symbol`, `network`: the positions of a symbol and of a network in their tables.

    Raises `UnsupportedError` for anything else, and for an expression that is nested too deeply.
    """
    done: dict[int, tuple[Any, int]] = {}  # by identity: floating-point numbers of any precision may be equal
    stack = [expression]
    while stack:
        node = stack[-1]
        atom = _atom_to_data(node, symbol, network)
        if atom is None:
            if missing := [part for part in node.args if id(part) not in done]:
                stack += missing
                continue
            if OPERATIONS.get(type(node).__name__) is None or OPERATIONS[type(node).__name__].kind is not type(node):
                raise UnsupportedError(
                    f"An expression contains `{type(node).__name__}`, which cannot be saved.",
                    where=str(expression),
                    remedy="rewrite it by functions of symdeq.model.functions.SUPPORTED",
                )
            parts = [done[id(part)] for part in node.args]
            done[id(node)] = (
                [type(node).__name__, *(data for data, _ in parts)],
                1 + max((d for _, d in parts), default=0),
            )
        else:
            done[id(node)] = atom, 0
        stack.pop()
    data, depth = done[id(expression)]
    if depth > DEEPEST:
        raise UnsupportedError(
            f"An expression is nested {depth} levels deep, and cannot be saved beyond {DEEPEST}.",
            remedy="name parts of it by observed quantities",
        )
    return data


def _atom_to_data(node: sp.Basic, symbol: Callable[[Any], int], network: Callable[[Any], int]) -> Any:
    if isinstance(node, ModelSymbol):
        return ["symbol", symbol(node)]
    if isinstance(node, Network):
        return ["network", network(node)]
    if isinstance(node, sp.Integer):
        return _whole_to_data(int(node.p))
    if isinstance(node, sp.Rational) and node.q != 0:
        return ["Rational", _whole_to_data(int(node.p)), _whole_to_data(int(node.q))]
    if isinstance(node, sp.Float):
        sign, mantissa, exponent, _ = node._mpf_  # pyright: ignore[reportAttributeAccessIssue]
        signed = -int(mantissa) if sign else int(mantissa)
        return ["Float", _whole_to_data(signed), int(exponent), int(node._prec)]  # pyright: ignore
    if node in (sp.true, sp.false):
        return node is sp.true
    return _NAMES.get(node) if isinstance(node, sp.NumberSymbol) else None


def _whole_to_data(value: int) -> int | str:
    return value if abs(value) < _EXACT else hex(value)


@dataclass(frozen=True)
class Tables:
    """What the positions in expressions mean."""

    symbols: Sequence[ModelSymbol] = ()
    networks: Sequence[Network] = ()


def from_data(data: Any, tables: Tables, kind: Any = sp.Expr) -> Any:
    """The expression of `to_data`, equal to what was saved; nothing is evaluated.

    Arguments:

    - `data`: from a file.
    - `tables`: the symbols and networks.
    - `kind`: what the whole must be; default an expression.

    Raises `ModelError` for data that `to_data` does not give, and for numbers that are too large.
    """
    todo: list[tuple[Any, int, bool]] = [(data, 0, False)]
    done: list[tuple[sp.Basic, Size]] = []
    while todo:
        item, depth, complete = todo.pop()
        if complete:
            first = len(done) - (len(item) - 1)
            parts = done[first:]
            node = OPERATIONS[item[0]]([part for part, _ in parts])
            done[first:] = [(node, size_of(node, [size for _, size in parts]))]
            continue
        atom = _atom_from_data(item, tables)
        if atom is not None:
            done.append((atom, size_of(atom, ())))
            continue
        if item[0] not in OPERATIONS:
            raise damaged(f"an expression contains the operation {str(item[0])[:40]!r}, which is not known")
        if depth == DEEPEST:
            raise damaged(f"an expression is nested more than {DEEPEST} levels deep")
        todo.append((item, depth, True))
        todo += [(part, depth + 1, False) for part in reversed(item[1:])]
    [(result, _)] = done
    if not isinstance(result, kind):
        raise damaged(f"a `{type(result).__name__}` stands where an expression should")
    return result


def _atom_from_data(data: Any, tables: Tables) -> sp.Basic | None:
    """A node without arguments, or `None` for an operation."""
    if isinstance(data, bool):
        return sp.true if data else sp.false
    if isinstance(data, int | str):
        return CONSTANTS[data] if data in CONSTANTS else sp.Integer(_whole(data))
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise damaged(f"{str(data)[:40]!r} stands where an expression should")
    if (data[0], len(data)) == ("symbol", 2):
        return tables.symbols[position(data[1], len(tables.symbols), "a symbol")]
    if (data[0], len(data)) == ("network", 2):
        return tables.networks[position(data[1], len(tables.networks), "a network")]
    if (data[0], len(data)) == ("Rational", 3):
        return _rational(_whole(data[1]), _whole(data[2]))
    if (data[0], len(data)) == ("Float", 4):
        return _float(_whole(data[1]), _whole(data[2]), _whole(data[3]))
    return None


def _whole(data: Any) -> int:
    value = checked(data, (int, str), "a whole number")
    if isinstance(value, str):
        try:
            value = int(value, 16)
        except ValueError:
            raise damaged(f"{value[:40]!r} is not a whole number") from None
    if value.bit_length() > LONGEST:
        raise damaged(f"a whole number has {value.bit_length()} binary digits, and may have {LONGEST}")
    return value


def _rational(p: int, q: int) -> sp.Rational:
    if q < 1:
        raise damaged("a fraction has a denominator below 1")
    return sp.Rational(p, q)  # pyright: ignore[reportReturnType]


def _float(mantissa: int, exponent: int, bits: int) -> sp.Float:
    if not 1 <= bits <= LONGEST or mantissa.bit_length() > bits or abs(exponent) > 2**20:
        raise damaged("a floating-point number has an impossible precision or exponent")
    if mantissa == 0:
        return sp.Float(0, precision=bits)  # by its parts it would be the whole number
    sign = int(mantissa < 0)
    return sp.Float((sign, abs(mantissa), exponent, mantissa.bit_length()), precision=bits)

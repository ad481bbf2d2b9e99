"""How large the exact numbers of an expression may become.

SymPy computes with whole numbers of any length. A small text can name one that fills the memory, 9**(9**(9**9)), so an
expression from a file is measured before anything can evaluate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from symdeq._errors import ModelError

# How deeply operations may be nested. SymPy, which recurses, ends not far above.
DEEPEST = 300
# Bits of a whole number that is written out; floating-point numbers end at 1024.
LONGEST = 4096
# Bits of a whole number that evaluation may lead to.
_LARGEST = 2**17
# The largest argument at which functions of whole numbers are multiplied out.
_LARGEST_ARGUMENT = 1024
# Functions that SymPy knows exactly at whole numbers, at a cost that grows with the number.
_AT_WHOLE_NUMBERS: tuple[type, ...] = (
    *(sp.factorial, sp.gamma, sp.loggamma, sp.polygamma, sp.beta, sp.lowergamma, sp.uppergamma, sp.zeta),
    *(sp.expint, sp.besseli),
)


@dataclass(frozen=True)
class Size:
    """Bounds for one expression.

    - `bits`: of the whole numbers that arise when it is evaluated.
    - `number`: whether it contains no symbol.
    """

    bits: int = 0
    number: bool = True


def size_of(node: sp.Basic, parts: Sequence[Size]) -> Size:
    """The bounds of an operation from those of its arguments.

    Raises `ModelError` where a number becomes too large to be computed.
    """
    if isinstance(node, sp.Rational):
        return Size(bits=int(node.p).bit_length() + int(node.q).bit_length() - 1)
    if not parts:
        return Size(number=not isinstance(node, sp.Symbol))
    exact = sum(part.bits for part in parts if part.number)
    bits = max(exact, *(part.bits for part in parts if not part.number), 0)
    if isinstance(node, sp.Pow) and parts[0].bits:
        bits = _power(node, parts)
    elif isinstance(node, _AT_WHOLE_NUMBERS):
        for argument, part in zip(node.args, parts, strict=False):
            large = abs(argument) > _LARGEST_ARGUMENT if isinstance(argument, sp.Rational) else part.bits > 64
            if part.number and large:
                raise _too_large(node)
    if bits > _LARGEST:
        raise _too_large(node)
    return Size(bits=bits, number=all(part.number for part in parts))


def _power(node: sp.Pow, parts: Sequence[Size]) -> int:
    base, exponent = parts
    if isinstance(node.exp, sp.Rational):
        return base.bits * max(1, -(-abs(int(node.exp.p)) // int(node.exp.q)))
    return base.bits * 2 ** min(exponent.bits, 64) if exponent.number else base.bits + exponent.bits


def _too_large(node: sp.Basic) -> ModelError:
    return ModelError(
        f"An exact number is too large to be computed, in an operation `{type(node).__name__}`.",
        remedy="write it as a floating-point number",
    )

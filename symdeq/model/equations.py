"""Equations as the user wrote them, with the place where that was."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model.algebra import multiplied_out
from symdeq.model.values import number_or_expression


@dataclass(frozen=True)
class Origin:
    """A line of the user's source."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        try:  # a path below the working folder is shown from there
            shown = Path(self.file).relative_to(Path.cwd())
        except (ValueError, OSError):
            shown = self.file
        return f"{shown}:{self.line}"


def shown(expression: sp.Basic) -> str:
    """An expression as text, without the zeros that SymPy writes after a number that stands alone."""
    return sp.sstr(expression, full_prec=False)


@dataclass(frozen=True)
class Equation:
    """`lhs = rhs`, never evaluated, with the source lines that it came from; made by `Eq`."""

    lhs: sp.Expr
    rhs: sp.Expr
    origins: tuple[Origin, ...] = ()

    def __str__(self) -> str:
        return f"{shown(self.lhs)} = {shown(self.rhs)}"

    def __repr__(self) -> str:
        return f"Eq({shown(self.lhs)}, {shown(self.rhs)})"

    def __bool__(self) -> bool:
        raise ModelError(
            f"An equation has no truth value: {self}.", remedy="use Eq(a, b) in a System; compare with == or sp.Eq"
        )

    @property
    def located(self) -> str:
        """The equation with file and line, as errors show it."""
        place = ", ".join(dict.fromkeys(str(origin) for origin in self.origins))
        return f"{self}    ({place})" if place else str(self)

    @cached_property
    def symbols(self) -> frozenset[sp.Symbol]:
        """Everything that the equation names."""
        return frozenset(self.lhs.free_symbols | self.rhs.free_symbols)  # pyright: ignore[reportReturnType]

    @cached_property
    def residual(self) -> sp.Expr:
        """`lhs - rhs`, multiplied out if a symbol cancels by that."""
        difference = self.lhs - self.rhs
        found = self.rhs.free_symbols
        # Expanding the right side alone is quicker, and SymPy remembers it for those who ask again.
        if isinstance(self.lhs, sp.Symbol) and self.lhs not in found and multiplied_out(self.rhs).free_symbols == found:
            return difference
        expanded = multiplied_out(difference)
        return expanded if expanded.free_symbols != difference.free_symbols else difference

    @cached_property
    def occurring(self) -> frozenset[sp.Symbol]:
        """The symbols that do not cancel."""
        return frozenset(self.residual.free_symbols)  # pyright: ignore[reportReturnType]

    def subs(self, replacements: Mapping[sp.Basic, sp.Basic]) -> Equation:
        """Exact replacement on both sides; the origins stay."""
        if not self.symbols & replacements.keys():
            return self
        return replace(self, lhs=self.lhs.xreplace(replacements), rhs=self.rhs.xreplace(replacements))


def Eq(lhs: Any, rhs: Any) -> Equation:
    """An equation between two expressions; either side may be anything, and nothing is evaluated.

    Arguments:

    - `lhs`, `rhs`: expressions of states, parameters, derivatives `D(x)` and `t`, or numbers.

    Returns an `Equation` that remembers the file and line of the call. (SymPy's `Eq(a, a)` would collapse to `True`.)
    Raises `ModelError` if a side is neither an expression nor a finite number.
    """
    origin = _origin(sys._getframe(1))
    try:
        return Equation(
            number_or_expression(lhs, "the left side of Eq"),
            number_or_expression(rhs, "the right side of Eq"),
            (origin,),
        )
    except ModelError as error:
        raise ModelError(error.what, where=f"Eq at {origin}: {origin.text}", remedy=error.remedy) from None


def _origin(frame: FrameType) -> Origin:
    """Where the call that `frame` is in stands, however many lines it takes."""
    file = frame.f_code.co_filename
    first, last, begin, end = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    if first is None or last is None:
        return Origin(file=file, line=frame.f_lineno, text=linecache.getline(file, frame.f_lineno).strip())
    lines = [linecache.getline(file, number) for number in range(first, last + 1)]
    if begin is not None and end is not None:  # columns count bytes of UTF-8
        lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
        lines[0] = lines[0].encode()[begin:].decode(errors="ignore")
    return Origin(file=file, line=first, text=" ".join(" ".join(lines).split()).replace("( ", "("))

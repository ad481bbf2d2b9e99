"""Systems as text that a person reads and pastes into a report, and as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from sympy.printing.latex import LatexPrinter

from symdeq.model.equations import Equation
from symdeq.model.symbols import TimeDerivative, Guess

if TYPE_CHECKING:
    from symdeq.model.system import System


def to_text(system: System) -> str:
    """Equations, observed quantities, initial values and parameters, a line each; stable from run to run."""
    lines = [f"System `{system.name}` ({system.stage.name.lower()})", "  equations"]
    lines += [f"    {equation}" for equation in system.equations]
    if system.subsystems:
        lines += ["  subsystems", *(f"    {part.name}: {len(part.equations)} equations" for part in system.subsystems)]
    if system.observed:
        lines += ["  observed", *(f"    {equation}" for equation in system.observed)]
    lines += ["  states", *(f"    {line}" for line in _states(system))]
    if system.params:
        lines += ["  parameters"]
        for symbol in system.params:
            low, high = symbol.bounds
            extras = [symbol.unit or "", f"in [{low:g}, {high:g}]" if symbol.fact("bounds") else "", symbol.description]
            lines.append(f"    {symbol.name} = {symbol.value!r} {' '.join(e for e in extras if e)}".rstrip())
    if system.structure is not None:
        structure = system.structure
        lines += [
            "  structure",
            f"    kind {structure.kind}, {len(structure.sparsity)} non-zeros in the Jacobian, "
            f"{'autonomous' if structure.autonomous else 'depends on t'}",
            *(f"    constant: {invariant.expression}" for invariant in structure.invariants),
        ]
    return "\n".join(lines)


def _states(system: System) -> list[str]:
    given = dict(system.initial)
    lines = []
    for symbol in system.states:
        value = given.get(symbol, symbol.initial)
        if isinstance(value, Guess):
            text = f"{symbol.name}(t0) ~ {value.value}"
        else:
            text = f"{symbol.name}" if value is None else f"{symbol.name}(t0) = {value}"
        lines.append(" ".join(part for part in (text, symbol.unit or "", symbol.description) if part))
    lines += [f"{s.name}(t0) = {v}" for s, v in system.initial if isinstance(s, TimeDerivative) and s not in system.states]
    return lines


class _Latex(LatexPrinter):
    def _print_TimeDerivative(self, expr, **kwargs) -> str:
        state = self.doprint(expr.state)
        power = "" if expr.order == 1 else f"^{{{expr.order}}}"
        return rf"\frac{{\mathrm{{d}}{power} {state}}}{{\mathrm{{d}} t{power}}}"

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        if "." in expr.name:  # a.b.x reads x with the path as index
            *path, last = expr.name.split(".")
            return rf"{{{super()._print_Symbol(sp.Symbol(last))}}}_{{\mathrm{{{'.'.join(path)}}}}}"
        return super()._print_Symbol(expr, style)  # pyright: ignore[reportCallIssue]

    _print_State = _print_Parameter = _print_Time = _print_Symbol


def to_latex(system: System) -> str:
    """The equations, then the observed quantities, aligned at the equals signs."""
    printer = _Latex()

    def row(equation: Equation) -> str:
        return rf"{printer.doprint(equation.lhs)} &= {printer.doprint(equation.rhs)}"

    return r"\begin{aligned}" + r" \\ ".join(map(row, (*system.equations, *system.observed))) + r"\end{aligned}"

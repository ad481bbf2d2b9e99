"""Systems as text that a person reads and pastes into a report, and as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from sympy.printing.latex import LatexPrinter

from symdeq.model.equations import shown
from symdeq.model.symbols import Guess, TimeDerivative

if TYPE_CHECKING:
    from symdeq.model.system import System


def to_text(system: System) -> str:
    """Equations, observed quantities, initial values and parameters, a line each; stable from run to run."""
    lines = [f"System `{system.name}` ({system.stage.name.lower()})", "  equations"]
    lines += [f"    {equation}" for equation in system.equations]
    for part in system.subsystems:
        lines += [f"  subsystem {part.name}", *(f"  {line}" for line in to_text(part).splitlines()[1:])]
    if system.observed:
        lines += ["  observed", *(f"    {equation}" for equation in system.observed)]
    if system.history:
        lines += ["  history", *(f"    {e.lhs} = {shown(e.rhs)} before t0" for e in system.history)]
    lines += ["  states", *(f"    {line}" for line in _states(system))]
    if system.params:
        lines += ["  parameters"]
        for symbol in system.params:
            low, high = symbol.bounds
            extras = [symbol.unit or "", f"in [{low:g}, {high:g}]" if symbol.fact("bounds") else "", symbol.description]
            lines.append(f"    {symbol.name} = {symbol.value!r} {' '.join(e for e in extras if e)}".rstrip())
    if system.jumps:
        lines += ["  jumps"]
        for jump in system.jumps:
            lines += [f"    {jump.process} at the rate {shown(jump.rate)}"]
            lines += [f"      {state} += {shown(value)}" for state, value in jump.entries]
    if system.networks:
        lines += ["  networks", *(f"    {network.name}" for network in system.networks)]
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
        start = _start(symbol, given.get(symbol, symbol.initial))
        lines.append(" ".join(part for part in (start, symbol.unit or "", symbol.description) if part))
    own = set(system.states)
    return lines + [_start(symbol, value) for symbol, value in system.initial if symbol not in own]


def _start(symbol: sp.Symbol, value: sp.Expr | Guess | None) -> str:
    if value is None:
        return symbol.name
    guessed = isinstance(value, Guess)
    return f"{symbol.name}(t0) {'~' if guessed else '='} {shown(value.value if guessed else value)}"


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

    def _print_Pow(self, expr: sp.Pow) -> str:
        # A fraction with a power at its top would read like a derivative of higher order.
        if isinstance(expr.base, TimeDerivative) and expr.exp.is_Integer and expr.exp.is_positive:
            return rf"\left({self.doprint(expr.base)}\right)^{{{expr.exp}}}"
        return super()._print_Pow(expr)  # pyright: ignore[reportAttributeAccessIssue]

    _print_State = _print_Parameter = _print_Time = _print_Symbol


def to_latex(system: System) -> str:
    """Equations and observed quantities, then those of each subsystem, aligned at the equals signs."""
    return r"\begin{aligned}" + r" \\ ".join(_rows(system)) + r"\end{aligned}"


def _rows(system: System) -> list[str]:
    printer = _Latex()
    rows = [f"{printer.doprint(e.lhs)} &= {printer.doprint(e.rhs)}" for e in (*system.equations, *system.observed)]
    for part in system.subsystems:
        rows += [rf"&\text{{{part.name}:}}".replace("_", r"\_"), *_rows(part)]
    return rows

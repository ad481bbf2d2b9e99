"""Explicit form: `D(x) = f` for what is integrated, explicit algebra into `observed`, and what is left as `0 = g`.

The equations are matched to unknowns so that as many as possible can be solved by hand, put into an order in which each block needs only
earlier ones (block lower triangular form), and solved block by block: a single linear unknown by division, a small linear block by
elimination, and anything else by tearing (Elmqvist & Otter, Methods for tearing systems of equations, 1994): some unknowns of the block stay as
algebraic states, the others follow from them explicitly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import Equation, Guess, ModelSymbol, Parameter, Stage, State, System, TimeDerivative
from symdeq.passes.matching import cheapest_matching, incidence, ordered_blocks, unknowns

# Linear blocks up to this size are eliminated symbolically; larger ones are torn.
_LARGEST_ELIMINATED = 4


def tear(system: System) -> System:
    """Bring a system of index at most 1 into explicit form; aliases are replaced by what they stand for."""
    if system.stage >= Stage.TORN:
        return system
    equations = (*system.equations, *system.observed)
    columns = (*unknowns(system), *(e.lhs for e in system.observed))
    rows = incidence(equations, columns)
    match = cheapest_matching(rows, lambda i, j: _cost(equations[i], columns[j]))
    solver = {column: row for row, column in enumerate(match)}
    work = _Work(system)
    for block in ordered_blocks([[solver[j] for j in row if solver[j] != i] for i, row in enumerate(rows)]):
        work.solve([equations[i] for i in block], [columns[match[i]] for i in block])
    return work.result()


def _coefficient(equation: Equation, symbol: sp.Symbol) -> sp.Expr | None:
    """The factor of `symbol` in `lhs - rhs` if it occurs linearly, else `None`."""
    residual = equation.lhs - equation.rhs
    if equation.lhs == symbol and symbol not in equation.rhs.free_symbols:
        return sp.Integer(1)
    factor = sp.expand_mul(sp.diff(residual, symbol))
    return None if symbol in factor.free_symbols or factor == 0 or factor.has(sp.Derivative, sp.Subs) else factor


def _may_divide(factor: sp.Expr, symbol: sp.Symbol) -> bool:
    """Whether a division by `factor` is safe: a number, a parameter, or, for a derivative, whatever the user multiplied it by."""
    return isinstance(symbol, TimeDerivative) or all(isinstance(s, Parameter) for s in factor.free_symbols)


def _cost(equation: Equation, symbol: sp.Symbol) -> float:
    if symbol == equation.lhs and symbol not in equation.rhs.free_symbols:
        return 1.0
    factor = _coefficient(equation, symbol)
    if factor is None:
        return 100.0
    if factor.is_number:
        return 2.0
    return 4.0 if _may_divide(factor, symbol) else 50.0


@dataclass
class _Work:
    """The explicit form as it grows, block by block."""

    system: System
    explicit: dict[sp.Symbol, Equation] = field(default_factory=dict)  # solved, in order of evaluation
    implicit: dict[State, Equation] = field(default_factory=dict)  # algebraic states that stay, with their residuals
    slopes: dict[TimeDerivative, sp.Symbol] = field(default_factory=dict)  # derivatives that other equations use, by new name
    new_initial: dict[State, Guess] = field(default_factory=dict)

    def solve(self, equations: list[Equation], symbols: list[sp.Symbol]) -> None:
        solutions = _solve_linear(equations, symbols)
        if solutions is not None:
            for symbol, value, equation in solutions:
                self.explicit[symbol] = Equation(symbol, value, equation.origins)
            return
        # Tearing: whatever one equation gives explicitly is taken; when none does, the unknown in most equations becomes known.
        left, unknown = list(equations), list(symbols)
        while left:
            step = _next_explicit(left, unknown)
            if step is not None:
                equation, symbol, value = step
                self.explicit[symbol] = Equation(symbol, value, equation.origins)
                left.remove(equation)
                unknown.remove(symbol)
                continue
            if not unknown:  # what is left determines the torn unknowns
                self._residuals(left, [s for s in symbols if s not in self.explicit])
                return
            torn = max(unknown, key=lambda s: sum(s in e.symbols for e in left))
            unknown.remove(torn)

    def _residuals(self, equations: list[Equation], torn: list[sp.Symbol]) -> None:
        for equation, symbol in zip(equations, torn, strict=True):
            state = symbol
            if isinstance(symbol, TimeDerivative):  # D(x) as an algebraic unknown of its own
                state = self._name_slope(symbol)
                self.explicit[symbol] = Equation(symbol, state, equation.origins)
                self.new_initial[state] = Guess(sp.Integer(0))
            residual = _residual(equation)
            self.implicit[state] = Equation(sp.Integer(0), residual, equation.origins)  # pyright: ignore[reportArgumentType]

    def _name_slope(self, derivative: TimeDerivative) -> State:
        taken = {s.name for s in (*self.system.states, *self.system.params, *(e.lhs for e in self.system.observed))}  # pyright: ignore[reportAttributeAccessIssue]
        taken |= {s.name for s in self.slopes.values()}
        name = f"{derivative.state.name}_t"
        while name in taken:
            name += "_"
        state = State(name, description=f"the first derivative of {derivative.state.name}")
        self.slopes[derivative] = state
        return state

    def result(self) -> System:
        used = {s for e in (*self.explicit.values(), *self.implicit.values()) for s in e.rhs.free_symbols}
        for derivative in [d for d in self.explicit if isinstance(d, TimeDerivative) and d in used]:
            if derivative not in self.slopes:
                self._name_slope(derivative)
        rename: dict[sp.Basic, sp.Basic] = dict(self.slopes)
        wanted = {e.lhs for e in self.system.observed}
        observed: list[Equation] = []
        integrated: dict[State, Equation] = {}
        for symbol, equation in self.explicit.items():
            value = equation.rhs.xreplace(rename)
            if isinstance(symbol, TimeDerivative):
                if symbol in self.slopes and self.slopes[symbol] not in self.implicit:
                    observed.append(Equation(self.slopes[symbol], value, equation.origins))
                    value = self.slopes[symbol]
                integrated[symbol.state] = Equation(symbol, value, equation.origins)
                continue
            observed.append(Equation(symbol, value, equation.origins))
            if _is_alias(value) and symbol not in wanted:
                rename[symbol] = value
        implicit = {s: e.subs(rename) for s, e in self.implicit.items()}
        return self._assembled(integrated, implicit, observed)

    def _assembled(self, integrated: dict, implicit: dict, observed: list[Equation]) -> System:
        system = self.system
        states = tuple(s for s in system.states if s in integrated or s in implicit) + tuple(
            s for s in self.new_initial if s not in system.states
        )
        given: dict[ModelSymbol, sp.Expr | Guess | None] = {**dict(system.initial), **self.new_initial}
        return system.replace(
            equations=tuple(integrated[s] if s in integrated else implicit[s] for s in states),
            observed=tuple(observed),
            states=states,
            initial=tuple((s, given[s]) for s in states),
            stage=Stage.TORN,
        )


def _is_alias(value: sp.Expr) -> bool:
    return isinstance(value, sp.Symbol) or value.is_number


def _residual(equation: Equation) -> sp.Expr:
    if equation.lhs == 0:
        return equation.rhs
    return equation.lhs if equation.rhs == 0 else equation.lhs - equation.rhs


def _next_explicit(left: list[Equation], unknown: list[sp.Symbol]) -> tuple[Equation, sp.Symbol, sp.Expr] | None:
    for equation in left:
        inside = [s for s in unknown if s in equation.symbols]
        if len(inside) != 1:
            continue
        value = _explicit(equation, inside[0])
        if value is not None:
            return equation, inside[0], value
    return None


def _explicit(equation: Equation, symbol: sp.Symbol) -> sp.Expr | None:
    """The equation solved for a symbol that it contains linearly with a safe factor, else `None`."""
    if equation.lhs == symbol and symbol not in equation.rhs.free_symbols:
        return equation.rhs
    factor = _coefficient(equation, symbol)
    if factor is None or not _may_divide(factor, symbol):
        return None
    rest = (equation.lhs - equation.rhs).xreplace({symbol: sp.Integer(0)})
    return -rest / factor if factor not in (1, -1) else -factor * rest


def _solve_linear(
    equations: list[Equation], symbols: list[sp.Symbol]
) -> list[tuple[sp.Symbol, sp.Expr, Equation]] | None:
    """Values of all symbols of a block that is linear in them together with safe factors, else `None`."""
    if len(symbols) == 1:
        value = _explicit(equations[0], symbols[0])
        return None if value is None else [(symbols[0], value, equations[0])]
    if len(symbols) > _LARGEST_ELIMINATED:
        return None
    rows = []
    for equation in equations:
        row = [_coefficient(equation, s) if s in equation.symbols else sp.Integer(0) for s in symbols]
        if any(factor is None or set(symbols) & factor.free_symbols for factor in row):
            return None
        rows.append(row)
    matrix = sp.Matrix(rows)
    derivatives = all(isinstance(s, TimeDerivative) for s in symbols)
    if not derivatives and not all(isinstance(s, Parameter) for s in matrix.free_symbols):
        return None
    determinant = sp.simplify(matrix.det())
    if determinant == 0:
        raise ModelError(
            f"The equations determine {', '.join(f'`{s}`' for s in symbols)} only up to a combination of them: they are dependent.",
            where="\n".join(e.located for e in equations),
            remedy="replace one of the equations by an independent one",
        )
    zero = dict.fromkeys(symbols, sp.Integer(0))
    constants = sp.Matrix([-(e.lhs - e.rhs).xreplace(zero) for e in equations])  # pyright: ignore[reportArgumentType]
    values = matrix.LUsolve(constants)
    return [(s, v, e) for s, v, e in zip(symbols, values, equations, strict=True)]  # pyright: ignore[reportReturnType]

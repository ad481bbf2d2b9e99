"""Explicit form: `D(x) = f` for what is integrated, explicit algebra into `observed`, and what is left as `0 = g`.

The equations are matched to unknowns so that as many as possible can be solved by hand, put into an order in which each
block needs only earlier ones (block lower triangular form), and solved block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from symdeq.model import Equation, Guess, ModelSymbol, Parameter, Stage, State, System, TimeDerivative
from symdeq.model.algebra import linear_parts
from symdeq.model.symbols import like
from symdeq.passes.blocks import solve_block
from symdeq.passes.earlier import without_eliminated
from symdeq.passes.matching import cheapest_matching, incidence, ordered_blocks, unknowns

_Initial = dict[ModelSymbol, sp.Expr | Guess | None]


def tear(system: System) -> System:
    """Bring a system of index at most 1 into explicit form; aliases are replaced by what they stand for."""
    if system.stage >= Stage.TORN:
        return system
    equations = (*system.equations, *system.observed)
    columns = (*unknowns(system), *system.observed_symbols)
    rows = incidence(equations, columns)
    match = cheapest_matching(rows, lambda i, j: _cost(equations[i], columns[j]))
    solver = {column: row for row, column in enumerate(match)}
    work = _Work(system)
    for block in ordered_blocks([[solver[j] for j in row if solver[j] != i] for i, row in enumerate(rows)]):
        work.add([equations[i] for i in block], [columns[match[i]] for i in block])
    return work.result()


def _cost(equation: Equation, symbol: sp.Symbol) -> float:
    """How little an equation is suited to be solved for a symbol."""
    if symbol == equation.lhs and symbol not in equation.rhs.free_symbols:
        return 1.0
    parts = linear_parts(equation.lhs - equation.rhs, symbol)
    if parts is None or parts[0] == 0:
        return 100.0
    if parts[0].is_number:
        return 2.0
    safe = isinstance(symbol, TimeDerivative) or all(isinstance(s, Parameter) for s in parts[0].free_symbols)
    return 4.0 if safe else 50.0


@dataclass
class _Work:
    """The explicit form as it grows, block by block."""

    system: System
    explicit: dict[sp.Symbol, Equation] = field(default_factory=dict)  # solved, in order of evaluation
    implicit: dict[State, Equation] = field(default_factory=dict)  # algebraic states that stay, with their residuals
    slopes: dict[TimeDerivative, State] = field(default_factory=dict)  # names for derivatives that other equations use
    new_initial: dict[State, sp.Expr | Guess | None] = field(default_factory=dict)

    def add(self, equations: list[Equation], symbols: list[sp.Symbol]) -> None:
        solved = solve_block(equations, symbols)
        for symbol, residual in solved.torn:
            state = symbol
            if isinstance(symbol, TimeDerivative):  # D(x) as an algebraic unknown of its own
                state = self._name_slope(symbol)
                self.explicit[symbol] = Equation(symbol, state, residual.origins)
                self.new_initial[state] = dict(self.system.initial).get(symbol, Guess(sp.Integer(0)))
            self.implicit[state] = residual  # pyright: ignore[reportArgumentType]
        self.explicit.update((equation.lhs, equation) for equation in solved.explicit)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def _name_slope(self, derivative: TimeDerivative) -> State:
        system = self.system
        taken = {s.name for s in (*system.states, *system.params, *system.observed_symbols)}
        taken |= {s.name for s in self.slopes.values()}
        name = derivative.state.name
        name += "t" if name.endswith(("_t", "_tt")) else "_t"  # x, x_t, x_tt
        while name in taken:
            name += "_"
        state = like(derivative.state, name, f"the first derivative of {derivative.state.name}")
        self.slopes[derivative] = state
        return state

    def result(self) -> System:
        used = {s for e in (*self.explicit.values(), *self.implicit.values()) for s in e.rhs.free_symbols}
        rename: dict[sp.Basic, sp.Basic] = {**self.slopes}
        wanted = set(self.system.observed_symbols)
        observed: list[Equation] = []
        integrated: dict[State, Equation] = {}
        for symbol, equation in self.explicit.items():
            value = equation.subs(rename).rhs
            if isinstance(symbol, TimeDerivative):
                if symbol in used and symbol not in self.slopes:
                    if not _is_alias(value):
                        observed.append(Equation(self._name_slope(symbol), value, equation.origins))
                        value = self.slopes[symbol]
                    rename[symbol] = value
                integrated[symbol.state] = Equation(symbol, value, equation.origins)
                continue
            observed.append(Equation(symbol, value, equation.origins))
            if _is_alias(value) and symbol not in wanted:
                rename[symbol] = value
        implicit = {s: e.subs(rename) for s, e in self.implicit.items()}
        return without_eliminated(self._assembled(integrated, implicit, observed), rename)

    def _assembled(self, integrated: dict, implicit: dict, observed: list[Equation]) -> System:
        system = self.system
        states = tuple(s for s in system.states if s in integrated or s in implicit)
        states += tuple(
            s for s in implicit if s not in set(states)
        )  # derivatives and observed quantities that were torn
        given: _Initial = {s: s.initial for s in states} | dict(system.initial) | self.new_initial
        for equation in observed:
            found = _handed_back(equation, given)
            if found is not None and found[0] in states:
                given[found[0]] = found[1]
        return system.replace(
            equations=tuple(integrated[s] if s in integrated else implicit[s] for s in states),
            observed=tuple(observed),
            states=states,
            initial=tuple((s, given[s]) for s in states),
            stage=Stage.TORN,
        )


def _is_alias(value: sp.Expr) -> bool:
    return isinstance(value, sp.Symbol) or value.is_number


def _handed_back(equation: Equation, given: _Initial) -> tuple[State, sp.Expr | Guess] | None:
    """A start for a state that has none, from that of an eliminated unknown which is linear in it alone."""
    value = getattr(equation.lhs, "initial", None) if equation.lhs not in given else given[equation.lhs]  # pyright: ignore[reportArgumentType]
    if value is None:
        return None
    moving = [s for s in equation.rhs.free_symbols if not isinstance(s, Parameter)]
    if len(moving) != 1 or not isinstance(state := moving[0], State) or state not in given:
        return None
    is_guess = isinstance(value, Guess)
    if given[state] is not None and (is_guess or not isinstance(given[state], Guess)):
        return None
    parts = linear_parts(equation.rhs, state)
    if parts is None or parts[0] == 0:
        return None
    start = ((value.value if is_guess else value) - parts[1]) / parts[0]
    return state, Guess(start) if is_guess else start

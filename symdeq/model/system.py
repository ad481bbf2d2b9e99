"""`System`: the one intermediate form of a model, from the equations as written to what code is generated from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import Network, Numbers, networks_in, shape_of
from symdeq.model.checks import check_declared
from symdeq.model.declare import check_name, initial_value
from symdeq.model.delays import Lag, LagKind, histories
from symdeq.model.equations import Equation
from symdeq.model.noise import Calculus, Noise, NoiseKind
from symdeq.model.poisson import Jump, Pulses
from symdeq.model.symbols import Guess, ModelSymbol, Parameter, State, TimeDerivative, symbols_in
from symdeq.model.values import number_or_expression


class Stage(IntEnum):
    """How far the passes have taken a system; it only advances."""

    DECLARED = 0
    FLAT = 1
    NOISE_SPLIT = 2
    DELAYS_LOWERED = 3
    EVENTS_LOWERED = 4
    INDEX_REDUCED = 5
    TORN = 6
    SIMPLIFIED = 7
    ANALYSED = 8


@dataclass(frozen=True)
class Invariant:
    """A linear combination of the states that never changes: `coefficients @ y`, all numbers exact."""

    coefficients: tuple[sp.Rational, ...]
    expression: sp.Expr


@dataclass(frozen=True)
class Structure:
    """What `analyse` found; indices are positions in the state vector."""

    kind: Literal["ode", "dae"]
    mass: tuple[int, ...]  # the diagonal of the mass matrix: 1 differential, 0 algebraic
    sparsity: tuple[tuple[int, int], ...]  # non-zeros of the Jacobian, by row, through the observed
    linear: frozenset[tuple[int, int]]  # those that are constant in the states and in time
    autonomous: bool
    invariants: tuple[Invariant, ...]
    noise: NoiseKind
    blocks: tuple[tuple[int, ...], ...]  # strongly connected components of the Jacobian, in an order to solve them
    lags: tuple[LagKind, ...] = ()  # what each of the system's delays depends on


@dataclass(frozen=True)
class System:
    """A model: equations and everything declared about them.

    Arguments:

    - `equations`: a sequence of `Eq(lhs, rhs)`; either side may be anything.
    - `name`: its name, and its prefix when it is a subsystem; default `"system"`.
    - `subsystems`: systems that this one is composed of; their symbols are reached as `part.x` and named `part.x`.
    - `observed`: quantities by name, `{"total": x + y}`: not solved for, computed from the solution.
    - `initial`: initial values by symbol, over those declared with the states: numbers, expressions in parameters,
        `sd.guess(v)`; the way to give one for a derivative: `{D(x): 0.0}`.
    - `history`: what delayed states were before the start, by symbol: numbers, expressions of `t` and of parameters, or
        data as a pair `(times, values)` of arrays; default the initial value, as a constant.
    - `calculus`: what `D(W)` of a Brownian motion means, `"ito"` (default) or `"stratonovich"`.
    - `time_unit`: the unit of `t`, which makes units of derivatives checkable; default `None`.

    States and parameters are collected from the equations and put in the order in which they were declared; that of the
    states is the order of the state vector.

    Raises `ModelError` naming symbol, equation, file and line: two symbols of one name, a symbol that is not declared,
    an equation that is trivially true or stands twice, an unsupported function, units that do not agree.
    """

    equations: tuple[Equation, ...]
    name: str = "system"
    subsystems: tuple[System, ...] = ()
    observed: tuple[Equation, ...] = ()
    initial: tuple[tuple[ModelSymbol, sp.Expr | Guess | None], ...] = ()
    time_unit: str | None = None
    states: tuple[State, ...] = ()
    params: tuple[Parameter, ...] = ()
    networks: tuple[Network, ...] = ()
    calculus: Calculus = "ito"
    noise: tuple[Noise, ...] = ()
    jumps: tuple[Jump, ...] = ()
    history: tuple[Equation, ...] = ()
    delays: tuple[Lag, ...] = ()
    events: tuple[Any, ...] = ()
    stage: Stage = Stage.DECLARED
    structure: Structure | None = None

    if TYPE_CHECKING:  # what a user may hand over; the fields hold what was made of it

        def __init__(
            self,
            equations: Iterable[Equation],
            name: str = "system",
            subsystems: Iterable[System] = (),
            observed: Mapping[str, Any] | Iterable[Equation] = (),
            initial: Mapping[Any, Any] | tuple[tuple[ModelSymbol, Any], ...] = (),
            time_unit: str | None = None,
            states: tuple[State, ...] = (),
            params: tuple[Parameter, ...] = (),
            networks: tuple[Network, ...] = (),
            calculus: Calculus = "ito",
            noise: tuple[Noise, ...] = (),
            jumps: tuple[Jump, ...] = (),
            history: Mapping[Any, Any] | tuple[Equation, ...] = (),
            delays: tuple[Lag, ...] = (),
            events: tuple[Any, ...] = (),
            stage: Stage = Stage.DECLARED,
            structure: Structure | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.stage is not Stage.DECLARED:
            return
        declare = partial(object.__setattr__, self)
        declare("equations", _checked_tuple(self.equations, Equation, "equations", "Eq(lhs, rhs)"))
        declare("subsystems", _checked_tuple(self.subsystems, System, "subsystems", "sd.System"))
        declare("observed", _observed(self.observed))
        declare("initial", _initial(self.initial))
        if self.jumps:
            raise ModelError("Jumps are written into the equations.", remedy='N = sd.poisson("N", rate); ... + c*D(N)')
        if self.noise:
            raise ModelError("Noise is written into the equations.", remedy='W = sd.brownian("W"); ... + s*D(W)')
        if self.delays:
            raise ModelError("Delays are written into the equations.", remedy="sd.delay(x, tau)")
        if self.events:
            raise UnsupportedError("System(..., events=...) is not available in this version of symdeq.")
        declare("history", histories(self.history))
        if self.calculus not in ("ito", "stratonovich"):
            raise ModelError(f'calculus must be "ito" or "stratonovich", not {self.calculus!r}.')
        states, params = _collect(self)
        declare("states", states)
        declare("params", params)
        declare("networks", networks_of(self.equations, self.observed, self.history))
        check_declared(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __getitem__(self, name: str) -> Any:
        """A symbol or a subsystem by name, named as it is seen from the outside: `part["x"]` is `part.x`."""
        symbols = {s.name: s for s in (*self.observed_symbols, *self.params, *self.states)}
        if name in symbols:
            return self._outside(symbols[name])
        for part in self.subsystems:
            if part.name == name:
                return replace(part, name=f"{self.name}.{name}")
        names = [*symbols, *(part.name for part in self.subsystems)]
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = (
            f"did you mean `{close[0]}`?"
            if close
            else f"it has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        )
        raise KeyError(f"System `{self.name}` has no symbol or subsystem `{name}`; {hint}")

    @property
    def observed_symbols(self) -> tuple[State, ...]:
        """The names of the observed quantities, as symbols."""
        return tuple(equation.lhs for equation in self.observed)  # pyright: ignore[reportReturnType]

    def _outside(self, symbol: ModelSymbol) -> ModelSymbol:
        return symbol.prefixed(f"{self.name}.")

    def __str__(self) -> str:
        from symdeq.model.printing import to_text

        return to_text(self)

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def latex(self) -> str:
        """The equations as LaTeX, aligned at the equals signs."""
        from symdeq.model.printing import to_latex

        return to_latex(self)

    def replace(self, **changes: Any) -> System:
        """A copy with some fields changed, checked like a new system if it is declared; the stage may only advance."""
        if changes.get("stage", self.stage) < self.stage:
            raise ValueError(f"The stage of a system only advances: {self.stage.name} to {changes['stage'].name}.")
        return replace(self, **changes)


def _checked_tuple(values: Any, kind: type, role: str, written: str) -> tuple:
    if isinstance(values, kind) or not isinstance(values, Iterable):
        raise ModelError(
            f"The {role} of a System must be a list of {written}, not {values!r}.",
            remedy="put it in a list: [...]" if isinstance(values, kind) else None,
        )
    values = tuple(values)
    for value in values:
        if not isinstance(value, kind):
            raise ModelError(
                f"The {role} of a System must be a list of {written}; {value!r} is not one.",
                remedy="use `from symdeq import Eq`, not SymPy's Eq, which evaluates" if kind is Equation else None,
            )
    return values


def _observed(observed: Any) -> tuple[Equation, ...]:
    if not isinstance(observed, Mapping):
        return _checked_tuple(observed, Equation, "observed", '{"name": expression}')
    result = []
    for name, value in observed.items():
        check_name(name)
        expression = number_or_expression(value, f"the observed quantity `{name}`")
        shape = shape_of(expression)
        symbol = State(name, shape=shape) if any(shape) else State(name)
        result.append(Equation(symbol, expression))
    return tuple(result)


def _initial(initial: Any) -> tuple[tuple[ModelSymbol, sp.Expr | Guess | None], ...]:
    if not isinstance(initial, Mapping):
        if not isinstance(initial, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in initial):
            raise ModelError(f"`initial` of a System must be a dictionary {{symbol: value}}, not {initial!r}.")
        initial = dict(initial)  # as a system that is replaced holds it
    result: list[tuple[ModelSymbol, sp.Expr | Guess | None]] = []
    for symbol, value in initial.items():
        if not isinstance(symbol, State | TimeDerivative):
            raise ModelError(
                f"`initial` has the key {symbol!r}, which is neither a state nor a derivative of one.",
                remedy="use the symbols as keys: {x: 1.0, D(x): 0.0}",
            )
        if not isinstance(value, Guess) and not (symbol.shape and isinstance(value, Numbers)):
            value = initial_value(value, f"the initial value of `{symbol}`", symbol.shape)
        result.append((symbol, value))
    return tuple(result)


def _collect(system: System) -> tuple[tuple[State, ...], tuple[Parameter, ...]]:
    """The symbols of a newly written system, without those of its subsystems; a replaced one keeps the order it had."""
    states, params = collect(system.equations, system.observed, system.initial, system.history)
    prefixes = tuple(f"{part.name}." for part in system.subsystems)

    def own(found: tuple, before: tuple) -> tuple:
        known = set(found)
        kept = [s for s in before if s in known]
        return tuple(s for s in dict.fromkeys((*kept, *found)) if not (prefixes and s.name.startswith(prefixes)))

    return own(states, system.states), own(params, system.params)


def networks_of(*groups: tuple[Equation, ...]) -> tuple[Network, ...]:
    """The networks that equations call, by name."""
    return networks_in(*(side for group in groups for e in group for side in (e.lhs, e.rhs)))


def collect(
    equations: tuple[Equation, ...],
    observed: tuple[Equation, ...],
    initial: tuple[tuple[ModelSymbol, sp.Expr | Guess | None], ...],
    history: tuple[Equation, ...] = (),
) -> tuple[tuple[State, ...], tuple[Parameter, ...]]:
    """The unknowns and the parameters that anything refers to, each in the order of declaration."""
    symbols: set[sp.Basic] = set()
    for equation in equations:
        symbols |= equation.symbols
    for equation in (*observed, *history):
        symbols |= equation.rhs.free_symbols
    for symbol, value in initial:
        symbols |= {symbol} | symbols_in(value)
    names = {equation.lhs for equation in observed}
    found = {s.state if isinstance(s, TimeDerivative) else s for s in symbols}
    unknowns = sorted((s for s in found if isinstance(s, State) and s not in names), key=lambda s: s.serial)
    for state in unknowns:
        symbols |= symbols_in(state.initial)
    for pulses in [s for s in symbols if isinstance(s, Pulses)]:
        symbols |= pulses.process.rate.free_symbols
    params = sorted((s for s in symbols if isinstance(s, Parameter)), key=lambda s: s.serial)
    return tuple(unknowns), tuple(params)

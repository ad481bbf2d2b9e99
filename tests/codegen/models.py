"""Systems at `Stage.ANALYSED`, put together by hand: no pass runs, so that these tests see code generation only."""

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from symdeq.model import (
    D,
    Equation,
    Origin,
    Parameter,
    Stage,
    State,
    Structure,
    System,
    parameters,
    state,
    states,
    t,
)


def analysed(
    rates: Mapping[Any, Any],
    observed: Mapping[Any, Any] | None = None,
    initial: Mapping[Any, Any] | None = None,
    name: str = "model",
    algebraic: Sequence[State] = (),
    params: Sequence[Parameter] | None = None,
) -> System:
    """A system from `{state: right-hand side}`; for a state of `algebraic` the right-hand side is a residual."""
    observed = observed or {}
    lines = [
        Equation(sp.Integer(0) if s in algebraic else D(s), sp.sympify(f), _origin(name, i))
        for i, (s, f) in enumerate(rates.items())
    ]
    extra = [Equation(s, sp.sympify(f), _origin(name, len(lines) + i)) for i, (s, f) in enumerate(observed.items())]
    ordered = tuple(rates)
    through: dict[sp.Basic, set[sp.Basic]] = {symbol: {symbol} for symbol in (*ordered, t)}
    for equation in extra:
        through[equation.lhs] = set().union(*(through.get(s, set()) for s in equation.rhs.free_symbols))
    needs = [set().union(*(through.get(s, set()) for s in e.rhs.free_symbols)) for e in lines]
    if params is None:
        found = {s for e in (*lines, *extra) for s in e.symbols if isinstance(s, Parameter)}
        params = sorted(found, key=lambda s: s.name)
    mass = tuple(0 if s in algebraic else 1 for s in ordered)
    structure = Structure(
        kind="ode" if all(mass) else "dae",
        mass=mass,
        sparsity=tuple((i, k) for i, need in enumerate(needs) for k, s in enumerate(ordered) if s in need),
        linear=frozenset(),
        autonomous=not any(t in need for need in needs),
        invariants=(),
        noise="none",
        blocks=(),
    )
    return System(
        tuple(lines),
        name=name,
        observed=tuple(extra),
        initial=tuple((s, (initial or {}).get(s, s.initial)) for s in ordered),
        states=ordered,
        params=tuple(params),
        stage=Stage.ANALYSED,
        structure=structure,
    )


def _origin(name: str, line: int) -> tuple[Origin, ...]:
    return (Origin(file=f"/some/folder/{name}.py", line=line + 10, text=""),)


def lotka_volterra() -> System:
    x, y = states(x=1.0, y=1.0)
    a, b, c, d = parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    return analysed({x: a * x - b * x * y, y: -c * y + d * x * y}, name="lotka_volterra")


def rober() -> System:
    y1, y2, y3 = states(y1=1.0, y2=0.0, y3=0.0)
    k1, k2, k3 = parameters(k1=0.04, k2=3e7, k3=1e4)
    return analysed(
        {y1: -k1 * y1 + k3 * y2 * y3, y2: k1 * y1 - k2 * y2**2 - k3 * y2 * y3, y3: k2 * y2**2}, name="rober"
    )


def driven() -> System:
    """Depends on time; observed quantities use each other; a branch is singular outside its condition."""
    level, total = states(level=1.0, total=None)
    flow, rate = State("flow"), State("rate")
    k, inflow, offset = parameters(k=0.3, inflow=0.2, offset=0.5)
    return analysed(
        {level: inflow * (1 + sp.sin(2 * t)) - flow, total: flow + rate},
        observed={
            flow: sp.Piecewise((k * sp.sqrt(level - offset), level > offset), (0, True)),
            rate: flow**2 / (1 + level),
            D(rate): -rate * k,
        },
        initial={level: sp.Integer(1), total: offset / 2},
        name="driven",
    )


def awkward() -> System:
    """Names that are no identifiers, keywords or names of the module; names that become equal; a mass matrix."""
    names = ("y", "p", "t0", "jnp", "sum", "a.x", "a_x", "rhs", "δ", "special")
    first, *others = unknowns = [state_named(n) for n in names]
    lam, j = parameters(lam=0.1, j=2.0)
    rates = {s: -lam * s + first * s**2 / (1 + j) for s in others}
    return analysed(
        {first: sp.sin(first) - sum(others), **rates},
        observed={state_named("if"): first + 1, state_named("D(y)"): 3 * first},
        algebraic=(first,),
        initial={s: sp.Integer(1) for s in unknowns},
        name="awkward",
    )


def state_named(name: str) -> Any:
    """Without the check of what a user may declare; passes make such names."""
    return State(name)


def chain(n: int) -> System:
    """A linear chain with a quadratic term: a tridiagonal Jacobian."""
    x = [state(f"x{i}", 1.0 / (1 + i)) for i in range(n)]
    (k,) = parameters(k=1.5)
    ends = [sp.Integer(0), *x, sp.Integer(0)]
    return analysed({s: k * (ends[i] - 2 * s + ends[i + 2]) - s**2 for i, s in enumerate(x)}, name="chain")

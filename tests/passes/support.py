"""Numerical comparison of a system before and after passes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import numpy as np
import scipy.optimize
import sympy as sp

from symdeq.model import D, Equation, Parameter, State, System, t


def lines(system: System) -> tuple[list[str], list[str]]:
    """The equations and the observed quantities as text."""
    return [str(e) for e in system.equations], [str(e) for e in system.observed]


def function(arguments: Sequence[sp.Basic], expressions: Sequence[sp.Expr]):
    """SymPy's own evaluation, independent of the code generator."""
    return sp.lambdify(list(arguments), list(expressions), modules=["scipy", "numpy"])


def values_at_random(system: System, seed: int) -> dict[sp.Basic, float]:
    """A point of an explicit system: every symbol with its value, unknowns and derivatives by the equations."""
    chance = random.Random(seed)
    known: dict[sp.Basic, float] = {t: chance.uniform(0.1, 2.0)}
    known |= {p: p.value if np.isfinite(p.value) else chance.uniform(0.5, 1.5) for p in system.params}
    differential = [s for s, e in zip(system.states, system.equations, strict=True) if e.lhs != 0]
    algebraic = [s for s, e in zip(system.states, system.equations, strict=True) if e.lhs == 0]
    known |= {s: chance.uniform(0.2, 1.2) for s in differential}
    residuals = [e.rhs for e in system.equations if e.lhs == 0]
    names, fixed = list(known), list(known.values())
    observed = [
        (e.lhs, function([*names, *algebraic, *system.observed_symbols[:i]], [e.rhs]))
        for i, e in enumerate(system.observed)
    ]

    def all_observed(z: np.ndarray) -> list[float]:
        found: list[float] = []
        for _, evaluate in observed:
            found.append(evaluate(*fixed, *z, *found)[0])
        return found

    inside = [*names, *algebraic, *system.observed_symbols]
    if algebraic:
        evaluate = function(inside, residuals)

        def residual(z: np.ndarray) -> np.ndarray:
            return np.array(evaluate(*fixed, *z, *all_observed(z)), dtype=float)

        result = scipy.optimize.root(residual, np.full(len(algebraic), 0.3), tol=1e-12)
        assert np.max(np.abs(residual(result.x))) < 1e-10, result.message
        known |= dict(zip(algebraic, (float(v) for v in result.x), strict=True))
    z = np.array([known[s] for s in algebraic])
    known |= {s: float(v) for s, v in zip(system.observed_symbols, all_observed(z), strict=True)}
    point = [known[s] for s in inside]
    for equation in system.equations:
        if equation.lhs != 0:
            known[equation.lhs] = float(function(inside, [equation.rhs])(*point)[0])
    return known


def assert_solves(final: System, original: Sequence[Equation], seed: int = 0, tolerance: float = 1e-8) -> None:
    """Every one of the `original` equations must hold at a point of the explicit system `final`."""
    known = values_at_random(final, seed)
    for equation in original:
        for symbol in equation.symbols:
            assert symbol in known, f"{symbol} of {equation} is lost"
        both = function(list(equation.symbols), [equation.lhs, equation.rhs])
        left, right = both(*(known[s] for s in equation.symbols))
        scale = 1.0 + sum(abs(float(term)) for term in _terms(equation, known))
        assert abs(left - right) <= tolerance * scale, f"{equation}: {left} is not {right}"


def _terms(equation: Equation, known: dict[sp.Basic, float]) -> list[float]:
    symbols = list(equation.symbols)
    terms = [*sp.Add.make_args(equation.lhs), *sp.Add.make_args(equation.rhs)]
    return [float(v) for v in function(symbols, terms)(*(known[s] for s in symbols))]


def random_expression(chance: random.Random, symbols: Sequence[sp.Symbol], depth: int = 2) -> sp.Expr:
    """A smooth expression that is defined and moderate wherever its symbols are."""
    if depth == 0 or chance.random() < 0.2:
        number = sp.Rational(chance.randint(-9, 9), chance.randint(1, 9))
        return chance.choice([*symbols, *symbols, number])
    part = partial(random_expression, chance, symbols, depth - 1)
    return chance.choice(
        [
            lambda: part() + part(),
            lambda: part() - part() + part(),
            lambda: part() * part(),
            lambda: sp.sin(part()),
            lambda: sp.exp(-(part() ** 2)),
            lambda: part() / (1 + part() ** 2),
            lambda: sp.Piecewise((part(), part() > part()), (part(), True)),
            lambda: part() ** 2,
            lambda: sp.Rational(1, 3) * part() + chance.choice([0.1, 2.5]) * part(),
        ]
    )()


def random_system(seed: int) -> System:
    """A solvable system of index at most 1: implicit and explicit algebra, aliases, derivatives on both sides."""
    chance = random.Random(seed)
    count, hidden = chance.randint(1, 4), chance.randint(0, 4)
    params = [Parameter(f"p{i}", value=chance.uniform(0.5, 1.5)) for i in range(2)]
    xs = [State(f"x{i}", initial=sp.Float(1.0)) for i in range(count)]
    zs = [State(f"z{i}") for i in range(hidden)]
    base = [*xs, *params, t]
    everything = [*base, *zs]
    equations = []
    for i, x in enumerate(xs):
        rhs = random_expression(chance, everything)
        kind = chance.randrange(6)
        other = xs[i - 1]
        left = {
            0: D(x),
            1: 2 * D(x) - rhs,
            2: params[0] * D(x),
            3: (1 + x**2) * D(x),
            4: 3 * D(x) + (D(other) if other is not x else 0),
            5: D(x) + sp.Rational(1, 3) * sp.sin(D(x)),
        }[kind]
        equations.append(Equation(left, rhs) if chance.random() < 0.7 else Equation(rhs, left))
    for i, z in enumerate(zs):
        rest = random_expression(chance, base)
        following, previous = zs[(i + 1) % hidden], zs[i - 1]
        kind = chance.randrange(6)
        left, right = {
            0: (z, rest),
            1: (z, chance.choice([-1, 1]) * (zs[i - 1] if i else xs[0])),
            2: (5 * z + sp.sin(following), rest),
            3: (5 * z, following + sp.Rational(1, 2) * previous + rest),
            4: (rest + params[1] * 7 * z, following / 2),
            5: (rest, 6 * z - sp.cos(z * following)),
        }[kind]
        equations.append(Equation(left, right))
    chance.shuffle(equations)
    observed = (
        Equation(State("o0"), random_expression(chance, everything)),
        Equation(State("o1"), State("o0") + D(xs[0])),
    )
    return System(equations, observed=observed)

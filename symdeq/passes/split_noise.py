"""Drift and diffusion apart: `D(x) = f + g D(W)` becomes `D(x) = f`, and g an entry of the system's noise."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import (
    Brownian,
    Equation,
    Jump,
    Mark,
    Noise,
    Poisson,
    Pulses,
    Stage,
    State,
    System,
    TimeDerivative,
    WhiteNoise,
    shape_of,
)
from symdeq.model.symbols import replaced


def split_noise(system: System) -> System:
    """Take Brownian motions out of the equations; the identity for a system without them.

    Raises `ModelError` for noise that is not linear, or that stands in an equation which does not say how one state
    changes, naming the equation.
    """
    if system.stage >= Stage.NOISE_SPLIT:
        return system
    equations: list[Equation] = []
    found: dict[Brownian | Poisson, list[tuple[State, sp.Expr]]] = {}
    moved: dict[State, Equation] = {}
    for equation in system.equations:
        noises = sorted((s for s in equation.symbols if isinstance(s, WhiteNoise | Pulses)), key=_serial)
        if not noises:
            equations.append(equation)
            continue
        state, factor = _moved(equation)
        if state in moved:
            raise ModelError(
                f"Two equations with noise say how `{state}` changes.",
                where=f"{moved[state].located}\n{equation.located}",
                remedy=f"write one equation D({state}) = ...",
            )
        moved[state] = equation
        for noise in noises:
            coefficient = sp.diff(equation.residual, noise)
            if coefficient.free_symbols & set(noises):
                raise ModelError(
                    f"`{noise}` does not stand linearly in an equation.",
                    where=equation.located,
                    remedy=f"noise enters as a coefficient times `{noise}`",
                )
            value = sp.cancel(-coefficient / factor) if factor not in (1, -1) else -coefficient * factor
            _check_marks(value, noise, equation)
            if value != 0:
                found.setdefault(_source(noise), []).append((state, value))
        still: dict[sp.Basic, sp.Basic] = {noise: sp.S.Zero for noise in noises}  # noqa: C420
        equations.append(replace(equation, lhs=replaced(equation.lhs, still), rhs=replaced(equation.rhs, still)))
        _check_marks(equations[-1].residual, None, equation)
    _check_moving(system, moved)
    sources = sorted(found, key=lambda source: source.serial)
    noise = tuple(Noise(w, tuple(found[w])) for w in sources if isinstance(w, Brownian))
    jumps = tuple(_jump(n, found[n]) for n in sources if isinstance(n, Poisson))
    return system.replace(equations=tuple(equations), noise=noise, jumps=jumps, stage=Stage.NOISE_SPLIT)


def _source(noise: WhiteNoise | Pulses) -> Brownian | Poisson:
    return noise.brownian if isinstance(noise, WhiteNoise) else noise.process


def _serial(noise: WhiteNoise | Pulses) -> int:
    return _source(noise).serial


def _jump(process: Poisson, entries: list[tuple[State, sp.Expr]]) -> Jump:
    marks = {s for _, value in entries for s in value.free_symbols if isinstance(s, Mark)}
    return Jump(process, process.rate, tuple(sorted(marks, key=lambda m: m.serial)), tuple(entries))


def _check_marks(expression: sp.Expr, noise: WhiteNoise | Pulses | None, equation: Equation) -> None:
    """Marks stand in the coefficients of their own process only."""
    for symbol in sorted(expression.free_symbols, key=str):
        if isinstance(symbol, Mark) and not (isinstance(noise, Pulses) and noise.process == symbol.process):
            raise ModelError(
                f"The mark `{symbol}` stands outside of the coefficient of D({symbol.process}), whose jumps draw it.",
                where=equation.located,
                remedy=f"multiply it by D({symbol.process})",
            )


def _moved(equation: Equation) -> tuple[State, sp.Expr]:
    """The state whose change an equation with noise gives, and the factor of its derivative."""
    derivatives = [s for s in equation.occurring if isinstance(s, TimeDerivative)]
    if len(derivatives) != 1:
        raise ModelError(
            "An equation with noise must say how one state changes: "
            + ("no derivative stands in it." if not derivatives else "several derivatives stand in it."),
            where=equation.located,
            remedy="write D(x) = drift + coefficient * D(W)",
        )
    (derivative,) = derivatives
    factor = sp.diff(equation.residual, derivative)
    if derivative in factor.free_symbols or any(isinstance(s, WhiteNoise | Pulses) for s in factor.free_symbols):
        raise ModelError(
            f"`{derivative}` does not stand linearly in an equation with noise.",
            where=equation.located,
            remedy="solve the equation for it",
        )
    if shape_of(derivative.state):
        raise UnsupportedError(
            f"`{derivative.state}` is a vector, whose equation contains noise.",
            where=equation.located,
            remedy="write its entries as single states, or use sd.NeuralSDE",
        )
    return derivative.state, factor


def _check_moving(system: System, moved: dict[State, Equation]) -> None:
    """The derivative of a state with noise is infinite, and stands in no other equation."""
    for equation in (*system.equations, *system.observed):
        for symbol in sorted(equation.symbols, key=str):
            if not isinstance(symbol, TimeDerivative):
                continue
            if symbol.state in moved and moved[symbol.state] is not equation:
                raise ModelError(
                    f"`{symbol}` contains white noise and cannot be used elsewhere.",
                    where=f"{equation.located}\n{moved[symbol.state].located}",
                    remedy="write out the part of it that is meant",
                )

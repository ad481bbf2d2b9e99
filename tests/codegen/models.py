"""Models whose generated code is compared with files under `tests/golden/`. The files name lines of this one."""

import sympy as sp

import symdeq.passes.pipeline as pipeline
from symdeq.model import D, Eq, System, parameters, states, t


def lotka_volterra() -> System:
    x, y = states(x=1.0, y=1.0)
    a, b, c, d = parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    return analysed(
        Eq(D(x), a * x - b * x * y),
        Eq(D(y), -c * y + d * x * y),
        name="lotka_volterra",
    )


def rober() -> System:
    y1, y2, y3 = states(y1=1.0, y2=0.0, y3=0.0)
    k1, k2, k3 = parameters(k1=0.04, k2=3e7, k3=1e4)
    return analysed(
        Eq(D(y1), -k1 * y1 + k3 * y2 * y3),
        Eq(D(y2), k1 * y1 - k2 * y2**2 - k3 * y2 * y3),
        Eq(D(y3), k2 * y2**2),
        name="rober",
    )


def driven() -> System:
    """Depends on time, has observed quantities that use each other, and a branch that is singular outside its condition."""
    level, flow, total, rate = states(level=1.0, flow=None, total=None, rate=None)
    k, inflow, offset = parameters(k=0.3, inflow=0.2, offset=0.5)
    return analysed(
        Eq(D(level), inflow * (1 + sp.sin(2 * t)) - flow),
        Eq(D(total), flow + rate),
        Eq(flow, sp.Piecewise((k * sp.sqrt(level - offset), level > offset), (0, True))),
        Eq(rate, flow**2 / (1 + level)),
        name="driven",
        initial={total: offset / 2},
    )


def analysed(*equations, **options) -> System:
    """The system after every pass."""
    return pipeline.run(System(equations, **options))

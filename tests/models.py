"""Models that many tests share, compiled once a process."""

from functools import cache

import sympy as sp

import symdeq as sd
from symdeq import D, Eq, t


@cache
def lotka_volterra() -> sd.Model:
    x, y = sd.states(x=1.0, y=1.0)
    a, b, c, d = sd.parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    return sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="lotka_volterra"))


@cache
def rober() -> sd.Model:
    y1, y2, y3 = sd.states(y1=1.0, y2=0.0, y3=0.0)
    k1, k2, k3 = sd.parameters(k1=0.04, k2=3e7, k3=1e4)
    equations = [
        Eq(D(y1), -k1 * y1 + k3 * y2 * y3),
        Eq(D(y2), k1 * y1 - k2 * y2**2 - k3 * y2 * y3),
        Eq(D(y3), k2 * y2**2),
    ]
    return sd.compile(sd.System(equations, name="rober"))


@cache
def lorenz() -> sd.Model:
    x, y, z = sd.states(x=1.0, y=0.0, z=0.0)
    s, r, b = sd.parameters(s=10.0, r=28.0, b=8 / 3)
    equations = [Eq(D(x), s * (y - x)), Eq(D(y), x * (r - z) - y), Eq(D(z), x * y - b * z)]
    return sd.compile(sd.System(equations, name="lorenz"))


@cache
def growth() -> sd.Model:
    r = sd.state("r", 2.0)
    alpha = sd.parameter("alpha", 0.7)
    return sd.compile(sd.System([Eq(D(r), alpha * r)], name="growth"))


@cache
def oscillator() -> sd.Model:
    """x'' = -w^2 x with x(0) = 1, x'(0) = 1/2: cos(w t) + sin(w t) / (2 w)."""
    x, w = sd.state("x", 1.0), sd.parameter("w", 2.0)
    return sd.compile(sd.System([Eq(D(x, 2), -(w**2) * x)], initial={D(x): 0.5}, name="oscillator"))


@cache
def driven() -> sd.Model:
    """Prothero and Robinson's problem with solution cos(t)."""
    x, k = sd.state("x", 1.0), sd.parameter("k", 1000.0)
    return sd.compile(sd.System([Eq(D(x), -k * (x - sp.cos(t)) - sp.sin(t))], name="driven"))


@cache
def algebraic() -> sd.Model:
    """x' = -x z with z^3 + z = x + 1: an algebraic equation that cannot be solved by hand."""
    x, z = sd.states(x=1.0, z=sd.guess(1.0))
    k = sd.parameter("k", 1.0)
    return sd.compile(sd.System([Eq(D(x), -k * x * z), Eq(z**3 + z, x + 1)], name="algebraic"))

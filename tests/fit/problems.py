"""Models with known solutions and data drawn from them, shared by the tests of `fit`."""

from functools import cache

import numpy as np

import symdeq as sd
from symdeq import D, Eq


@cache
def line() -> sd.Model:
    """x = a + b t."""
    a, b = sd.parameters(a=0.5, b=0.5)
    x = sd.state("x", a)
    return sd.compile(sd.System([Eq(D(x), b)], name="line"))


@cache
def decay() -> sd.Model:
    """x = x0 exp(-k t), with k on a logarithmic scale."""
    k = sd.parameter("k", 1.0, bounds=(0.01, 100.0), scale="log")
    x = sd.state("x", 1.0)
    return sd.compile(sd.System([Eq(D(x), -k * x)], name="decay"))


@cache
def chain() -> sd.Model:
    """A -> B -> nothing: A = exp(-k t), B = k (exp(-k t) - exp(-m t)) / (m - k)."""
    k, m = sd.parameters(k=0.8, m=0.3)
    A, B = sd.states(A=1.0, B=0.0)
    return sd.compile(sd.System([Eq(D(A), -k * A), Eq(D(B), k * A - m * B)], name="chain"))


def chain_solution(k: float, m: float, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.exp(-k * ts), k * (np.exp(-k * ts) - np.exp(-m * ts)) / (m - k)


@cache
def blow_up() -> sd.Model:
    """x = 1 / (1 - k t): no solution to t = 1 for k > 1."""
    k = sd.parameter("k", 0.4, bounds=(0.1, 10.0), scale="log")
    x = sd.state("x", 1.0)
    return sd.compile(sd.System([Eq(D(x), k * x**2)], name="blow_up"))


@cache
def two_rates() -> sd.Model:
    """x = exp(-a b t): only the product of a and b shows. c does nothing."""
    a, b = (sd.parameter(n, v, scale="log") for n, v in (("a", 1.0), ("b", 0.5)))
    c = sd.parameter("c", 1.0)
    x, y = sd.states(x=1.0, y=1.0)
    return sd.compile(sd.System([Eq(D(x), -a * b * x), Eq(D(y), -c * y)], name="two_rates"))


@cache
def hare_and_lynx() -> sd.Model:
    """Lotka-Volterra with every unknown positive; start away from what `noisy` draws from."""
    a, b, c, d, x0, y0 = (
        sd.parameter(n, v, scale="log") for n, v in zip("abcdxy", (1.4, 0.9, 2.8, 1.1, 0.9, 1.1), strict=True)
    )
    x, y = sd.states(hare=x0, lynx=y0)
    return sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="hare_and_lynx"))


TRUE = {"a": 1.5, "b": 1.0, "c": 3.0, "d": 1.0, "x": 1.0, "y": 1.0}
TIMES = np.linspace(0, 10, 41)


@cache
def exact() -> np.ndarray:
    return np.asarray(sd.solve(hare_and_lynx().replace(TRUE), 10.0, saveat=TIMES, rtol=1e-10, atol=1e-12).ys)


def noisy(seed: int, sigma: float = 0.05) -> dict[str, np.ndarray]:
    """Log-normal errors on both columns."""
    drawn = exact() * np.exp(sigma * np.random.default_rng(seed).normal(size=exact().shape))
    return {"time": TIMES, "hare": drawn[:, 0], "lynx": drawn[:, 1]}

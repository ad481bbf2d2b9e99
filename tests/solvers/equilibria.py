"""Problems with closed forms that the tests of the solvers of equilibria share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from scipy import integrate, optimize

COSINE = 0.7390851332151607  # x = cos x


def cell(n: int, strength: float, dtype: Any = jnp.float64, seed: int = 0) -> Callable[[Any], Any]:
    """z -> tanh(W z + b) with the spectral radius of W about `strength`."""
    numbers = np.random.default_rng(seed)
    w = jnp.asarray(strength * numbers.normal(size=(n, n)) / np.sqrt(n), dtype)
    b = jnp.asarray(numbers.normal(size=n), dtype)
    return lambda z: jnp.tanh(w @ z + b)


def linear(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A and b of the contraction z -> A z + b."""
    numbers = np.random.default_rng(seed)
    a = numbers.normal(size=(n, n))
    return 0.9 * a / np.linalg.norm(a, 2), numbers.normal(size=n)


def chandrasekhar(albedo: float, n: int = 60) -> tuple[Callable[[Any], Any], np.ndarray, np.ndarray]:
    """The H-equation of radiative transfer, H(μ) = 1 / (1 - ω/2 ∫ μ H(ν) / (μ + ν) dν), by Gauss's rule on 0 to 1.

    Returns its iteration, the nodes and the weights. Whatever the rule, ∑ w H = 2 (1 - √(1 - ω)) / ω: Chandrasekhar,
    Radiative Transfer (1960), section 38.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    nodes, weights = (nodes + 1) / 2, weights / 2
    kernel = jnp.asarray(albedo / 2 * nodes[:, None] / (nodes[:, None] + nodes) * weights)
    return lambda h: 1 / (1 - kernel @ h), nodes, weights


def chandrasekhar_exactly(albedo: float, mu: float) -> float:
    """ln H(μ) = -(μ / π) ∫ ln(1 - ω arctan(u) / u) / (1 + μ² u²) du from 0 to ∞; with u = tan x to π/2."""

    def integrand(x):
        ratio = x / np.tan(x) if x > 0 else 1.0
        return np.log(1 - albedo * ratio) / (np.cos(x) ** 2 + (mu * np.sin(x)) ** 2)

    return float(np.exp(-mu / np.pi * integrate.quad(integrand, 0, np.pi / 2, epsabs=1e-12, epsrel=1e-12)[0]))


def bratu(n: int, strength: float = 1.0) -> tuple[Callable[[Any], Any], np.ndarray]:
    """u'' + λ exp u = 0, u(0) = u(1) = 0, by central differences at n points between, scaled to a diagonal of 1.

    Returns the residual and the exact lower solution 2 ln(cosh(θ/4) / cosh((x - 1/2) θ/2)), θ = √(2 λ) cosh(θ/4).
    """
    h = 1 / (n + 1)
    theta = 1.0
    for _ in range(200):
        theta = np.sqrt(2 * strength) * np.cosh(theta / 4)
    x = np.linspace(0, 1, n + 2)[1:-1]
    exact = 2 * np.log(np.cosh(theta / 4) / np.cosh((x - 0.5) * theta / 2))

    def residual(u):
        wide = jnp.pad(u, 1)
        return -u + (wide[2:] + wide[:-2] + h * h * strength * jnp.exp(u)) / 2

    return residual, exact


def fixed(g: Callable[[Any], Any], solver: Any, z0: Any, **more: Any) -> optx.Solution:
    """`optimistix.fixed_point` of a function of z alone; failures are results."""
    return optx.fixed_point(lambda z, _: g(z), solver, z0, **{"throw": False, "max_steps": 256, **more})


def rooted(f: Callable[[Any], Any], solver: Any, z0: Any, **more: Any) -> optx.Solution:
    """`optimistix.root_find` of a function of z alone; failures are results."""
    return optx.root_find(lambda z, _: f(z), solver, z0, **{"throw": False, "max_steps": 256, **more})


def largest(tree: Any) -> float:
    """The largest absolute entry."""
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))


def successful(solution: optx.Solution) -> bool:
    return bool(jnp.all(solution.result == optx.RESULTS.successful))


def assert_solves_radiative_transfer(solver: Any, albedo: float, most: int) -> None:
    """It finds the solution of the H-equation, its integral and its values, within `most` evaluations."""
    g, nodes, weights = chandrasekhar(albedo)
    sol = fixed(g, solver, jnp.ones_like(nodes))
    assert successful(sol)
    assert int(sol.stats["nfe"]) <= most
    integral = 2 * (1 - np.sqrt(1 - albedo)) / albedo
    np.testing.assert_allclose(weights @ sol.value, integral, rtol=1e-9 if albedo < 1 else 1e-4)
    if albedo == 0.9:
        exact = [chandrasekhar_exactly(albedo, mu) for mu in nodes[::10]]
        np.testing.assert_allclose(sol.value[::10], exact, rtol=1e-4)


def assert_bratus(sol: optx.Solution, f: Callable[[Any], Any], exact: np.ndarray) -> None:
    """It is the discrete solution, as SciPy finds it, and near the exact one."""
    assert successful(sol)
    np.testing.assert_allclose(sol.value, exact, atol=1e-4)
    expected = optimize.root(lambda u: np.asarray(f(u)), np.zeros(len(exact)), tol=1e-13).x
    np.testing.assert_allclose(sol.value, expected, atol=1e-9)

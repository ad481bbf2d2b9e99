"""Strong orders of the methods that are chosen for noise: within 0.15 of theory on three problems each.

Errors are root mean squares over paths, from a solution with many more steps along the same paths; a jackknife over
the paths gives the standard error of the slope, which must be below 0.05.
"""

import diffrax as dfx
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from tests.solve.strong import orders

W1, W2 = sd.brownian("W1 W2")
x, y = sd.states(x=1.0, y=0.5)
ROSENBROCK = sd.RosenbrockMilstein()
# Additive noise. The h^2 terms of the local error that make order 1.5 of ShARK contain the second derivative of the
# drift along the noise, so all drifts are curved where the noise is.
ADDITIVE = {
    "well": [Eq(D(x), x - x**3 + D(W1))],
    "sine": [Eq(D(x), -sp.sin(x) + 1.5 * D(W1))],
    "neuron": [Eq(D(x), x - x**3 / 3 - y + 0.8 * D(W1)), Eq(D(y), (x + 0.7) / 2 - 0.4 * x * y + 0.6 * D(W2))],
}
COMMUTATIVE = {
    "diagonal": [Eq(D(x), x / 2 + 0.8 * x * D(W1))],
    "prey": [Eq(D(x), x * (1 - y) + x * D(W1) / 2), Eq(D(y), y * (x - 1) + y * D(W2) / 2)],
    "shared": [Eq(D(x), y + x * D(W1) / 2), Eq(D(y), -4 * x + y * D(W1) / 2)],
}
GENERAL = {
    "area": [Eq(D(x), D(W1)), Eq(D(y), x * D(W2))],
    "linear": [Eq(D(x), -x + y * D(W1)), Eq(D(y), -y + x * D(W2))],
    "turning": [Eq(D(x), -sp.sin(y) + sp.cos(y) * D(W1)), Eq(D(y), x + sp.sin(x) * D(W2))],
}
KINDS = [
    (ADDITIVE, dfx.ShARK(), (32, 64, 128, 256), [(dfx.ShARK(), 1.5), (ROSENBROCK, 1.0)]),
    (COMMUTATIVE, dfx.SPaRK(), (16, 32, 64, 128), [(dfx.SPaRK(), 1.0), (dfx.ItoMilstein(), 1.0), (ROSENBROCK, 1.0)]),
    (GENERAL, dfx.SPaRK(), (8, 16, 32, 64), [(dfx.SPaRK(), 0.5), (dfx.ItoMilstein(), 0.5), (ROSENBROCK, 0.5)]),
]
CASES = [(name, equations, *rest) for problems, *rest in KINDS for name, equations in problems.items()]


@pytest.mark.parametrize(("name", "equations", "reference", "counts", "theory"), CASES, ids=[c[0] for c in CASES])
def test_strong_order(name, equations, reference, counts, theory):
    model = sd.compile(sd.System(equations, name=name))
    found = orders(model, [m for m, _ in theory], reference=reference, counts=counts, cells=1024, paths=400)
    for (method, expected), (slope, error) in zip(theory, found, strict=True):
        print(f"{type(method).__name__} on {name}: {slope:.3f} +- {error:.3f}, theory {expected}")
        assert error < 0.05
        assert abs(slope - expected) < 0.15

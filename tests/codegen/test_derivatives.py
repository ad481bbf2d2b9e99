"""Derivatives through intermediate quantities against SymPy's on substituted expressions, and the repaired rules."""

from typing import Any

import numpy as np
import pytest
import sympy as sp

from symdeq._errors import UnsupportedError, VerificationError
from symdeq.codegen import Assignment, lower
from symdeq.codegen.derivatives import Differentiator, differentiate
from symdeq.model import State, parameters, states
from tests.codegen import models
from tests.codegen.support import reference, substituted

x, y, z = sp.symbols("x y z", real=True)


def _slope(expression: sp.Expr) -> sp.Expr:
    return Differentiator(lambda s: sp.Integer(int(s == x)))(expression)


@pytest.mark.parametrize(
    ("expression", "slope"),
    [
        (sp.sign(x) * x, sp.sign(x)),
        (sp.Heaviside(x - 1) * y, 0),
        (sp.floor(x) + sp.ceiling(2 * x), 0),
        (sp.frac(x), 1),
        (sp.Mod(x, y), 1),
        (sp.Mod(y, x), -sp.floor(y / x)),
        (sp.Abs(x * y), sp.sign(x * y) * y),
        (sp.Abs(sp.log(x)), sp.sign(sp.log(x)) / x),
        (sp.Max(x, y), sp.Heaviside(x - y)),
        (sp.Min(x, y), sp.Heaviside(y - x)),
        (sp.Piecewise((x**2, x > 1), (y, True)), sp.Piecewise((2 * x, x > 1), (0, True))),
        (sp.Piecewise((y, x > 1), (2, True)), 0),
        (x**y, y * x ** (y - 1)),
    ],
)
def test_rules(expression: sp.Expr, slope: sp.Expr) -> None:
    assert _slope(expression) == slope


def test_chain_of_intermediate_quantities_does_not_grow() -> None:
    """Substituted, the last one has 2**40 terms."""
    links = sp.symbols("u0:40", real=True)
    body = [Assignment(links[0], x * y)]
    body += [Assignment(links[i], links[i - 1] ** 2 + links[i - 1] * x) for i in range(1, 40)]
    extended, found = differentiate(body, (links[-1],), (x, y), {})
    assert set(found) == {(0, 0), (0, 1)}
    assert len(extended) <= 3 * 40
    assert max(sp.count_ops(line.expression) for line in extended if isinstance(line, Assignment)) < 12


def test_derivatives_of_a_system_against_substitution() -> None:
    u, v = states(u=0.8, v=0.3)
    p, q, r = State("p"), State("q"), State("r")
    a, b = parameters(a=0.7, b=1.9)
    system = models.analysed(
        {u: q - a * u + sp.sin(r), v: p * q / (1 + v**2) - sp.exp(-b * v)},
        observed={p: a * u * v, q: p**2 + sp.tanh(b * p), r: sp.Symbol("t", real=True) * 0 + q * v},
    )
    programs = lower(system)
    full = substituted(system)
    point = (0.0, (0.8, 0.3), (0.7, 1.9))
    for name, variables, pattern in (
        ("jac", system.states, programs.sparsity),
        ("jac_params", system.params, programs.parameter_sparsity),
    ):
        wanted = reference(system, [sp.diff(full[i], variables[k]) for i, k in pattern], *point)
        known: dict[Any, Any] = dict(zip(programs[name].arguments, (0.0, *point[1], *point[2]), strict=True))
        for line in programs[name].assignments:
            known[line.target] = line.expression.xreplace({s: sp.Float(w) for s, w in known.items()})
        np.testing.assert_allclose([float(known[o]) for o in programs[name].outputs], wanted, rtol=1e-12)


def test_missing_derivative_is_refused_by_name() -> None:
    (u,) = states(u=1.0)
    with pytest.raises(UnsupportedError, match=r"(?s)`expint` with respect to its argument 1.*D\(u\).*\[model.py:10\]"):
        lower(models.analysed({u: sp.expint(u, 2)}))


def test_structure_that_lacks_an_entry_is_a_defect() -> None:
    from dataclasses import replace

    system = models.rober()
    assert system.structure is not None
    thinner = replace(system.structure, sparsity=system.structure.sparsity[1:])
    with pytest.raises(VerificationError, match=r"lacks the entry \(0, 0\)"):
        lower(system.replace(structure=thinner))

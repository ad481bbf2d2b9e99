"""Kind, sparsity, linear entries, invariants and blocks, against dense algebra."""

import numpy as np
import pytest
import sympy as sp

from symdeq.model import D, Eq, Structure, System, guess, parameters, state, states, t
from symdeq.passes import run
from tests.passes.support import random_system


def structure(system: System) -> Structure:
    found = run(system).structure
    assert found is not None
    return found


def rober() -> System:
    x, y, z = states(x=1.0, y=0.0, z=0.0)
    a, b, c = parameters(a=0.04, b=1e4, c=3e7)
    return System([Eq(D(x), -a * x + b * y * z), Eq(D(y), a * x - b * y * z - c * y**2), Eq(D(z), c * y**2)])


def test_rober() -> None:
    found = structure(rober())
    assert found.kind == "ode"
    assert found.mass == (1, 1, 1)
    assert found.sparsity == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1))
    assert found.linear == {(0, 0), (1, 0)}
    assert found.autonomous
    assert [i.coefficients for i in found.invariants] == [(1, 1, 1)]
    assert found.blocks == ((0, 1, 2),)


def test_rober_as_a_dae_has_no_rate_for_its_constraint() -> None:
    x, y, z = states(x=1.0, y=0.0, z=guess(0.0))
    found = structure(System([Eq(D(x), -0.04 * x + 1e4 * y * z), Eq(D(y), -3e7 * y**2 + z * x), Eq(sp.cos(z), x + y)]))
    assert (found.kind, found.mass, found.invariants) == ("dae", (1, 1, 0), ())


def test_sparsity_goes_through_observed_quantities() -> None:
    x, y, z, w = states(x=1.0, y=1.0, z=None, w=None)
    found = structure(System([Eq(D(x), z), Eq(z, sp.sin(w) + x), Eq(w, y**2), Eq(D(y), t)]))
    assert found.sparsity == ((0, 0), (0, 1))
    assert found.linear == frozenset()
    assert not found.autonomous


def test_time_counts_where_a_right_hand_side_depends_on_it() -> None:
    x, w = states(x=1.0, w=None)
    assert structure(System([Eq(D(x), -x)], observed={"shown": sp.sin(t) * x})).autonomous
    assert not structure(System([Eq(D(x), -x * w), Eq(w, sp.sin(t))])).autonomous


@pytest.mark.parametrize(
    ("rhs", "linear"),
    [
        (lambda x, y, a: a * x + y, {0, 1}),
        (lambda x, y, a: a * (x + 2 * y), {0, 1}),
        (lambda x, y, a: x * y, set()),
        (lambda x, y, a: a * x + y**2, {0}),
        (lambda x, y, a: x + x**2 + y, {1}),
        (lambda x, y, a: t * x + y, {1}),
        (lambda x, y, a: x + sp.Piecewise((1, y > 0), (2, True)), {0}),
        (lambda x, y, a: sp.sin(a) * x / (1 + a) + sp.floor(y), {0}),
    ],
)
def test_linear_entries(rhs, linear: set[int]) -> None:
    x, y = states(x=1.0, y=1.0)
    (a,) = parameters(a=2.0)
    found = structure(System([Eq(D(x), rhs(x, y, a)), Eq(D(y), sp.exp(y))]))
    assert {j for i, j in found.linear if i == 0} == linear


def test_invariants_of_floats_are_exact() -> None:
    x, y, z = states(x=1.0, y=0.0, z=0.0)
    found = structure(System([Eq(D(x), -0.1 * x), Eq(D(y), 0.3 * x), Eq(D(z), 0.1 * x)]))
    assert (1, 0, 1) in [i.coefficients for i in found.invariants]
    for invariant in found.invariants:
        rates = [sp.Rational(-0.1), sp.Rational(0.3), sp.Rational(0.1)]
        assert sum(c * r for c, r in zip(invariant.coefficients, rates, strict=True)) == 0


def test_invariants_see_through_what_is_factored() -> None:
    x, y, z = states(x=1.0, y=0.0, z=0.0)
    a, b = parameters(a=1.0, b=2.0)
    system = System(
        [Eq(D(x), -(a * x - b * y) * (x + z)), Eq(D(y), (a * x - b * y) * x), Eq(D(z), (a * x - b * y) * z)]
    )
    assert [str(i.expression) for i in structure(system).invariants] == ["x + y + z"]


def test_what_stands_still_is_invariant() -> None:
    x, y = states(x=1.0, y=0.0)
    assert [str(i.expression) for i in structure(System([Eq(D(x), 0 * x), Eq(D(y), y)])).invariants] == ["x"]
    assert structure(System([Eq(D(x), 1), Eq(D(y), 2)])).invariants[0].coefficients == (2, -1)


def test_invariants_of_a_random_network_span_its_left_null_space() -> None:
    rng = np.random.default_rng(0)
    stoichiometry = rng.integers(-1, 2, size=(7, 4))
    ys = [state(f"y{i}", 1.0) for i in range(7)]
    ks = parameters(k0=1.0, k1=1.0, k2=1.0, k3=1.0)
    rates = [k * ys[i] * ys[i + 1] for i, k in enumerate(ks)]
    equations = [
        Eq(D(y), sum(int(n) * r for n, r in zip(row, rates, strict=True)))
        for y, row in zip(ys, stoichiometry, strict=True)
    ]
    found = np.array([[int(c) for c in i.coefficients] for i in structure(System(equations)).invariants])
    assert found.shape[0] == 7 - np.linalg.matrix_rank(stoichiometry)
    assert not (found @ stoichiometry).any()
    assert np.linalg.matrix_rank(found) == found.shape[0]
    assert all(np.gcd.reduce(row) == 1 and row[np.flatnonzero(row)[0]] > 0 for row in found)


def test_blocks_are_in_an_order_to_solve_them() -> None:
    a, b, c, d = states(a=1.0, b=1.0, c=1.0, d=1.0)
    found = structure(System([Eq(D(a), a * b), Eq(D(b), c * d), Eq(D(c), b + c), Eq(D(d), -d)]))
    assert found.blocks == ((3,), (1, 2), (0,))


@pytest.mark.parametrize("seed", range(8))
def test_sparsity_of_random_systems_is_that_of_the_substituted_right_hand_sides(seed: int) -> None:
    final = run(random_system(seed), simplified=False)
    assert final.structure is not None
    through: dict[sp.Basic, sp.Basic] = {}
    for equation in final.observed:
        through[equation.lhs] = equation.rhs.xreplace(through)
    rows = [equation.rhs.xreplace(through).free_symbols for equation in final.equations]
    expected = {(i, j) for i, row in enumerate(rows) for j, s in enumerate(final.states) if s in row}
    assert expected <= set(final.structure.sparsity)  # a substitution may cancel what stands in both
    assert final.structure.autonomous >= (not any(t in row for row in rows))

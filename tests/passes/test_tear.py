"""Explicit form: aliases, explicit algebra, cascades, linear blocks and torn ones."""

import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import D, Eq, Guess, State, System, guess, parameters, state, states, t
from symdeq.passes import run
from symdeq.passes.flatten import flatten
from symdeq.passes.reduce_index import reduce_index
from symdeq.passes.tear import tear
from tests.passes.support import assert_solves, lines, values_at_random


def torn(system: System) -> System:
    """The system after `tear`, with each original equation checked at a few points."""
    flat = flatten(system)
    final = run(system, simplified=False)
    for seed in range(3):
        assert_solves(final, (*flat.equations, *flat.observed), seed)
    from symdeq.passes.pipeline import PIPELINE

    result = system
    for step in PIPELINE[: PIPELINE.index(tear) + 1]:
        result = step(result)
    return result


def start(system: System) -> dict[str, str]:
    return {s.name: f"~{v.value}" if isinstance(v, Guess) else str(v) for s, v in system.initial}


def test_explicit_equations_pass_as_written() -> None:
    x, y = states(x=1.0, y=1.0)
    assert lines(torn(System([Eq(D(y), -(x + y) * y), Eq(D(x), (x + 1) ** 2)]))) == (
        ["D(x) = (x + 1)**2", "D(y) = y*(-x - y)"],
        [],
    )


def test_derivatives_are_solved_for_wherever_they_stand() -> None:
    x, y = states(x=1.0, y=1.0)
    (m,) = parameters(m=2.0)
    system = System([Eq(x + 1, m * D(x)), Eq((1 + x**2) * D(y) - x, 3)])
    assert lines(torn(system))[0] == ["D(x) = (x + 1)/m", "D(y) = (x + 3)/(x**2 + 1)"]


def test_aliases_are_replaced_and_kept_as_observed() -> None:
    x, z, w, c = states(x=1.0, z=None, w=None, c=None)
    system = System([Eq(D(x), -w + c), Eq(w, z), Eq(x, z), Eq(c, 2)])
    assert lines(torn(system)) == (["D(x) = 2 - x"], ["c = 2", "z = x", "w = x"])


def test_a_cascade_stays_a_cascade() -> None:
    x, a, b, c = states(x=1.0, a=None, b=None, c=None)
    system = System([Eq(c, sp.sin(b)), Eq(D(x), c), Eq(b, a**2), Eq(a, x + 1)])
    assert lines(torn(system)) == (["D(x) = c"], ["a = x + 1", "b = a**2", "c = sin(b)"])


def test_parameters_are_divided_by_and_states_are_not() -> None:
    x, z, w = states(x=1.0, z=guess(1.0), w=None)
    (a,) = parameters(a=2.0)
    system = System([Eq(D(x), -z - w), Eq((x + 1) * z, x), Eq(a * w, x)])
    assert lines(torn(system)) == (["D(x) = -w - z", "0 = -x + z*(x + 1)"], ["w = x/a"])


def test_the_derivative_in_another_equation_gets_a_name() -> None:
    x, y = states(x=1.0, y=1.0)
    system = System([Eq(D(y), D(x) + y), Eq(D(x), -x * y)])
    assert lines(torn(system)) == (["D(x) = x_t", "D(y) = x_t + y"], ["x_t = -x*y"])


def test_a_derivative_that_is_a_symbol_needs_no_name() -> None:
    x, v = states(x=1.0, v=1.0)
    assert lines(torn(System([Eq(D(v), -D(x)), Eq(D(x), v)]))) == (["D(x) = v", "D(v) = -v"], [])


def test_names_of_derivatives_do_not_clash() -> None:
    x, y, x_t = states(x=1.0, y=1.0, x_t=1.0)
    system = System([Eq(D(y), D(x)), Eq(D(x), -x * y), Eq(D(x_t), x_t)], observed={"x_t_": x})
    assert lines(torn(system))[1] == ["x_t__ = -x*y", "x_t_ = x"]
    assert lines(torn(System([Eq(D(x, 2), -x), Eq(D(y), D(x, 2))])))[1] == ["x_tt = -x"]


def test_linear_algebra_is_eliminated_by_numbers_first() -> None:
    x, u, v = states(x=1.0, u=None, v=None)
    (a,) = parameters(a=2.0)
    system = System([Eq(D(x), u), Eq(u + a * v, x), Eq(u - v, 1)])
    assert lines(torn(system)) == (["D(x) = u"], ["v = (x - 1)/(a + 1)", "u = -a*v + x"])


def test_a_pivot_that_may_be_zero_is_not_divided_by() -> None:
    x, y, z = states(x=1.0, y=0.0, z=0.0)
    (a,) = parameters(a=0.0)
    system = System([Eq(D(x), y - z), Eq(a * y + z, x), Eq(y + a * z, 1)])
    assert all(np.isfinite(v) for v in values_at_random(torn(system), 0).values())
    masses = System([Eq(z * D(x) + D(y), 1), Eq(D(x) + z * D(y), 2), Eq(D(z), 1)])
    assert lines(torn(masses)) == (["D(x) = x_t", "D(y) = -x_t*z + 1", "D(z) = 1"], ["x_t = (z - 2)/(z**2 - 1)"])


def test_a_symbolic_block_is_solved_by_cramer() -> None:
    x, y, z = states(x=1.0, y=1.0, z=0.5)
    a, b, c, d = parameters(a=0.0, b=1.0, c=1.0, d=0.0)
    system = System([Eq(a * D(x) + b * D(y), z), Eq(c * D(x) + d * D(y), x), Eq(D(z), 1)])
    equations = lines(torn(system))[0]
    assert equations[0] == "D(x) = (-b*x + d*z)/(a*d - b*c)"
    assert equations[1] == "D(y) = (a*x - c*z)/(a*d - b*c)"


def test_a_nonlinear_loop_is_torn_to_one_unknown() -> None:
    zs = [state(f"z{i}", guess(0.5)) for i in range(6)]
    x = state("x", 1.0)
    system = System([Eq(D(x), -x + zs[0]), *(Eq(z, sp.cos(zs[i - 1]) / 2 + x) for i, z in enumerate(zs))])
    result = torn(system)
    assert len(result.states) == 2
    assert len(result.observed) == 5


def test_a_condition_is_not_taken_for_linear() -> None:
    x, z = states(x=1.0, z=guess(1.5))
    system = System([Eq(D(x), -x + z), Eq(z - sp.Piecewise((1, z > 5), (2, True)), x)])
    assert lines(torn(system))[0] == ["D(x) = -x + z", "0 = -x + z - Piecewise((1, z > 5), (2, True))"]


def test_an_implicit_derivative_is_an_unknown_of_its_own() -> None:
    x = state("x", 1.0)
    result = torn(System([Eq(D(x) + sp.sin(D(x)) / 3, -x)]))
    assert lines(result) == (["D(x) = x_t", "0 = x + x_t + sin(x_t)/3"], [])
    assert start(result) == {"x": "1", "x_t": "~0"}


def test_an_observed_quantity_in_a_loop_may_become_a_state() -> None:
    x, z, e = states(x=1.0, z=guess(0.3), e=None)
    result = torn(System([Eq(D(x), -z), Eq(5 * z + sp.sin(e), x)], observed=[Eq(e, z + sp.sin(z) / 5)]))
    assert {s.name for s in result.states} | {s.name for s in result.observed_symbols} == {"x", "z", "e"}


def test_a_chain_is_not_solved_in_the_direction_that_loses_digits() -> None:
    count = 40
    xs = [state(f"x{i}", 1.0) for i in range(count)]
    mass = {0: sp.Rational(4, 6), 1: sp.Rational(1, 6)}
    equations = [
        Eq(sum(mass[abs(i - j)] * D(xs[j]) for j in range(max(0, i - 1), min(count, i + 2))), -x)
        for i, x in enumerate(xs)
    ]
    known = values_at_random(run(System(equations)), 0)
    matrix = (
        np.diag(np.full(count, 4 / 6)) + np.diag(np.full(count - 1, 1 / 6), 1) + np.diag(np.full(count - 1, 1 / 6), -1)
    )
    expected = np.linalg.solve(matrix, -np.array([known[x] for x in xs]))
    np.testing.assert_allclose([known[D(x)] for x in xs], expected, rtol=1e-9)


def test_an_initial_value_of_an_alias_is_handed_back() -> None:
    (a,) = parameters(a=2.0)
    z = state("z", a)
    x, y = states(x=None, y=None)
    assert start(torn(System([Eq(D(x), -z), Eq(z, x)]))) == {"x": "a"}
    assert start(torn(System([Eq(D(x), -z), Eq(z, 3 * x + 1)]))) == {"x": "a/3 - 1/3"}
    w = state("w", guess(0.25))
    assert start(torn(System([Eq(D(x), -w), Eq(w, x / a)]))) == {"x": "~0.25*a"}
    # not where it does not follow from one state alone, nor over a given value
    assert start(torn(System([Eq(D(x), -z), Eq(D(y), z), Eq(z, x + y)]))) == {"x": "None", "y": "None"}
    given = state("x", 5.0)
    assert start(torn(System([Eq(D(given), -z), Eq(z, given)]))) == {"x": "5"}


def test_dependent_equations_are_refused() -> None:
    x, y, z = states(x=1.0, y=None, z=None)
    a, b = parameters(a=1.0, b=1.0)
    with pytest.raises(ModelError, match="determine `y`, `z` only up to a combination"):
        run(System([Eq(D(x), -y), Eq(a * y + b * z, x), Eq(2 * a * y + 2 * b * z, 3)]))
    with pytest.raises(ModelError, match=r"determine `D\(x\)`, `D\(y\)` only"):
        run(System([Eq(D(x) + D(y), x), Eq(0.1 * D(x) + 0.1 * D(y), y)]))


def test_dependent_equations_of_a_large_block_are_named() -> None:
    zs = [state(f"z{i}") for i in range(8)]
    x = state("x", 1.0)
    ring = [Eq(z - zs[i - 1], x) for i, z in enumerate(zs)]  # the sum of the left sides is 0
    with pytest.raises(ModelError, match="dependent"):
        run(System([Eq(D(x), zs[0]), *ring]))


def test_a_system_of_algebra_alone() -> None:
    a, b = states(a=None, b=guess(1.0))
    result = torn(System([Eq(a, sp.sin(t)), Eq(b + sp.exp(b), a + 5)]))
    assert lines(result) == (["0 = -a + b + exp(b) - 5"], ["a = sin(t)"])
    final = run(System([Eq(a, 3)]))
    assert final.states == ()
    assert final.structure is not None
    assert final.structure.kind == "ode"


def test_origins_are_those_of_the_equations() -> None:
    x, z = states(x=1.0, z=None)
    system = System([Eq(D(x), z), Eq(2 * z, x)])
    result = torn(system)
    assert result.equations[0].origins == system.equations[0].origins
    assert result.observed[0].origins == system.equations[1].origins


def test_the_pass_needs_nothing_but_its_stage() -> None:
    x = state("x", 1.0)
    ready = reduce_index(flatten(System([Eq(D(x), -x)])))
    assert isinstance(tear(ready).states[0], State)


def ring(n: int) -> System:
    """Nonlinear constraints, each of which contains its neighbours' unknowns, in a ring."""
    x = [state(f"x{i}", float(1 + 0.5 * np.sin(6 * i / n))) for i in range(n)]
    f = [state(f"f{i}", guess(0.5)) for i in range(n)]
    rates = [Eq(D(x[i]), f[i] - x[i]) for i in range(n)]
    fields = [Eq(0, f[i] + f[i] ** 3 - x[i] - (f[i - 1] + f[(i + 1) % n]) * 3 / 10) for i in range(n)]
    return System(rates + fields, name="ring")


def test_nonlinear_rearrangements_are_not_chained() -> None:
    """Solved one for the next, forty cubics would have the power 3**40 of the first unknown."""
    system = torn(ring(40))
    assert 20 <= len(system.equations) - 40 <= 27
    explicit: dict = {e.lhs: e.rhs for e in system.observed}
    for value in explicit.values():
        while inside := value.free_symbols & set(explicit):
            value = value.xreplace({s: explicit[s] for s in inside})
        assert sp.Poly(value).total_degree() <= 3

"""Subsystems merged under their full names, and first derivatives only."""

import pytest

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import D, Eq, Guess, System, guess, parameter, state, states, t
from symdeq.passes import run
from symdeq.passes.flatten import flatten
from tests.passes.support import assert_solves, lines


def oscillator(name: str = "part") -> System:
    k = parameter("k", 4.0)
    x = state("x", k / 2)
    return System([Eq(D(x, 2), -k * x)], initial={D(x): 0.5}, observed={"energy": D(x) ** 2 + k * x**2}, name=name)


def starts(system: System) -> dict[str, str]:
    return {s.name: f"~{v.value}" if isinstance(v, Guess) else str(v) for s, v in system.initial}


def test_higher_derivatives_become_states_next_to_theirs() -> None:
    x, y = states(x=1.0, y=2.0)
    flat = flatten(System([Eq(D(x, 3), D(x, 2) * y), Eq(D(y), D(x))], initial={D(x): 3.0, D(x, 2): 4.0}))
    assert lines(flat)[0] == ["D(x) = x_t", "D(x_t) = x_tt", "D(x_tt) = x_tt*y", "D(y) = x_t"]
    assert starts(flat) == {"x": "1", "x_t": "3", "x_tt": "4", "y": "2"}
    assert flat.equations[0].origins == flat.equations[2].origins


def test_a_taken_name_is_avoided() -> None:
    x, x_t = states(x=1.0, x_t=1.0)
    flat = flatten(System([Eq(D(x, 2), -x), Eq(D(x_t), x_t)], observed={"x_t_": x, "x_t__": x}))
    assert lines(flat)[0] == ["D(x) = x_t___", "D(x_t___) = -x", "D(x_t) = x_t"]


def test_one_level_of_subsystems() -> None:
    part = oscillator()
    u = state("u", 0.0)
    flat = flatten(System([Eq(D(u), part.x - part.energy)], subsystems=[part]))
    assert lines(flat) == (
        ["D(part.x) = part.x_t", "D(u) = -part.energy + part.x", "D(part.x_t) = -part.k*part.x"],
        ["part.energy = part.k*part.x**2 + part.x_t**2"],
    )
    assert starts(flat) == {"u": "0", "part.x": "part.k/2", "part.x_t": "0.500000000000000"}
    assert [p.name for p in flat.params] == ["part.k"]


def test_two_parts_of_one_make_are_apart_and_in_order() -> None:
    a, b = oscillator("a"), oscillator("b")
    flat = flatten(System([Eq(D(state("u", 0.0)), a.x * b.k)], subsystems=[b, a]))
    assert [s.name for s in flat.states] == ["u", "b.x", "b.x_t", "a.x", "a.x_t"]
    assert [p.name for p in flat.params] == ["b.k", "a.k"]


def test_three_levels_that_use_each_other() -> None:
    leaf = oscillator("leaf")
    u = state("u", leaf.k)
    middle = System([Eq(D(u), leaf.x - D(leaf.x))], subsystems=[leaf], observed={"twice": 2 * u}, name="middle")
    w = state("w", 0.0)
    top = System([Eq(D(w), middle.leaf.x + middle.twice + middle.leaf.energy)], subsystems=[middle])
    flat = flatten(top)
    assert lines(flat) == (
        [
            "D(middle.leaf.x) = middle.leaf.x_t",
            "D(w) = middle.leaf.energy + middle.leaf.x + middle.twice",
            "D(middle.u) = middle.leaf.x - middle.leaf.x_t",
            "D(middle.leaf.x_t) = -middle.leaf.k*middle.leaf.x",
        ],
        ["middle.twice = 2*middle.u", "middle.leaf.energy = middle.leaf.k*middle.leaf.x**2 + middle.leaf.x_t**2"],
    )
    assert starts(flat)["middle.u"] == "middle.leaf.k"
    assert [s.name for s in flat.states] == ["w", "middle.u", "middle.leaf.x", "middle.leaf.x_t"]


def test_what_is_said_further_out_counts() -> None:
    part = oscillator()
    u = state("u", 0.0)
    outer = System([Eq(D(u), part.x)], subsystems=[part], initial={part.x: 7.0, D(part.x): guess(8.0)})
    assert starts(flatten(outer)) == {"u": "0", "part.x": "7", "part.x_t": "~8"}


def test_connections_between_parts() -> None:
    a, b = oscillator("a"), oscillator("b")
    spring = System([Eq(D(state("f", 0.0)), a.x - b.x)], subsystems=[a, b])
    flat = flatten(spring)
    assert_solves(run(spring), (*flat.equations, *flat.observed))


def test_order_of_the_states_survives_a_later_declaration() -> None:
    x, y = states(x=1.0, y=1.0)
    system = System([Eq(D(y), -y), Eq(D(x), -x)])
    states(y=1.0, x=1.0)
    state("x", 1.0)
    assert [s.name for s in flatten(system).states] == ["x", "y"]


def test_the_derivative_of_an_observed_quantity_is_written_out() -> None:
    x, y, z, e = states(x=1.0, y=1.0, z=None, e=None)
    system = System([Eq(D(x), -D(e)), Eq(D(y), x)], observed=[Eq(e, z * t), Eq(z, y**2)])
    assert lines(flatten(system))[0] == ["D(x) = -2*y*t*D(y) - z", "D(y) = x"]
    flat = flatten(system)
    assert_solves(run(system), (*flat.equations, *flat.observed))


def test_second_derivative_of_an_observed_quantity() -> None:
    x, e = states(x=1.0, e=None)
    system = System([Eq(D(e, 2), -x)], observed=[Eq(e, 2 * x)], initial={D(x): 0.0})
    assert lines(flatten(system)) == (["D(x) = x_t", "2*D(x_t) = -x"], ["e = 2*x"])


def test_derivatives_in_observed_quantities_are_lowered() -> None:
    x = state("x", 1.0)
    flat = flatten(System([Eq(D(x, 2), -x)], observed={"v": D(x), "a": D(x, 2)}))
    assert lines(flat)[1] == ["v = x_t", "a = D(x_t)"]


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_that_the_equations_do_not_give_are_refused(order: int) -> None:
    x, z = states(x=1.0, z=None)
    equations = [Eq(D(x), -x), Eq(z, x)]
    with pytest.raises(UnsupportedError, match=r"contains `D\("):
        flatten(System(equations, observed={"a": D(z) if order == 1 else D(x, 2)}))


def test_what_cancels_is_gone() -> None:
    x, y, z = states(x=1.0, y=None, z=None)
    flat = flatten(System([Eq(D(x) + y, y - x), Eq(y, (x + 1) * (z + 1) - x * z - z), Eq(D(z), -z)]))
    assert lines(flat)[0] == ["x + D(x) = 0", "y = x + 1", "D(z) = -z"]


def test_a_guess_for_the_highest_derivative_is_kept() -> None:
    x = state("x", 1.0)
    flat = flatten(System([Eq(D(x) + D(x) ** 3, x)], initial={D(x): guess(0.5)}))
    assert starts(flat) == {"x": "1", "D(x)": "~0.500000000000000"}
    torn = run(System([Eq(D(x) + D(x) ** 3, x)], initial={D(x): guess(0.5)}))
    assert starts(torn) == {"x": "1", "x_t": "~0.500000000000000"}


def test_a_value_for_the_highest_derivative_is_refused() -> None:
    x = state("x", 1.0)
    for symbol in (D(x), D(x, 2)):
        with pytest.raises(ModelError, match="the equations determine it"):
            flatten(System([Eq(D(x), x)], initial={symbol: 0.5}))


def test_units_of_time_must_agree() -> None:
    x, u = states(x=1.0, u=1.0)
    part = System([Eq(D(x), -x)], name="part", time_unit="s")
    assert flatten(System([Eq(D(u), part.x)], subsystems=[part])).time_unit == "s"
    with pytest.raises(ModelError, match="measures time in 'h'"):
        flatten(System([Eq(D(u), part.x)], subsystems=[part], time_unit="h"))


def test_a_part_with_another_symbol_of_the_same_name_is_refused() -> None:
    part, other = oscillator(), System([Eq(D(state("x", 9.0)), 1)], name="part")
    with pytest.raises(ModelError, match=r"Two different symbols are named `part\.x`"):
        flatten(System([Eq(D(state("u", 0.0)), other.x)], subsystems=[part]))

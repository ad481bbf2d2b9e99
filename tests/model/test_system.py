"""Systems as they are written: what is collected, checked and composed. The messages are in tests/gallery."""

import copy
import pickle
import time

import pytest
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import D, Eq, Stage, State, System, guess, parameter, parameters, state, states, t


def lotka_volterra(**options) -> System:
    x, y = states(x=1.0, y=1.0)
    a, b, c, d = parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    return System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], **options)


def names(symbols) -> list[str]:
    return [s.name for s in symbols]


def test_symbols_are_collected_in_the_order_of_declaration() -> None:
    a, b, c = parameters(a=1.0, b=1.0, c=1.0)
    x, y = states(x=b, y=guess(c))
    system = System([Eq(D(y), x * sp.sin(t)), Eq(D(x), -a)], observed={"e": y + parameter("q", 1.0)})
    assert names(system.states) == ["x", "y"]
    assert names(system.params) == ["a", "b", "c", "q"]
    assert system.stage is Stage.DECLARED


def test_what_only_derivatives_observed_or_initial_values_name_is_collected() -> None:
    x, y = states(x=None, y=None)
    (k,) = parameters(k=1.0)
    system = System([Eq(D(x, 2), D(y)), Eq(D(y), 1)], initial={D(x): k})
    assert names(system.states) == ["x", "y"]
    assert names(system.params) == ["k"]


def test_symbols_declared_again_are_interchangeable() -> None:
    one, other = lotka_volterra(), lotka_volterra()
    x = state("x", 1.0)
    assert one.states == other.states
    assert one.replace(equations=other.equations) == other
    assert one.observed_symbols == ()
    assert x in one.states


def test_equality_hash_copies_and_pickles() -> None:
    k = parameter("k", 1.0)
    x = state("x", k)
    system = System([Eq(D(x, 2), -x)], observed={"e": x**2}, initial={D(x): guess(k)}, name="spring")
    for other in (copy.deepcopy(system), copy.copy(system), pickle.loads(pickle.dumps(system))):
        assert other == system
        assert hash(other) == hash(system)
        assert str(other) == str(system)
        assert other.states[0] is x
    composed = System([Eq(D(state("u", 0.0)), system.x)], subsystems=[system])
    assert copy.deepcopy(composed) == composed


def test_replace_checks_anew_and_keeps_the_rest() -> None:
    x = state("x", 1.0)
    system = System([Eq(D(x, 2), -x)], observed={"e": x**2}, initial={D(x): 0.0})
    other = system.replace(name="other")
    assert other.initial == system.initial
    assert other.observed == system.observed
    assert other.replace(initial={}).initial == ()
    with pytest.raises(ModelError, match="trivially true"):
        system.replace(equations=(Eq(x, x),))
    with pytest.raises(ValueError, match="only advances"):
        system.replace(stage=Stage.FLAT).replace(stage=Stage.DECLARED)


def test_symbols_are_reached_by_name_from_outside() -> None:
    part = lotka_volterra(name="part", observed={"total": state("x", 1.0) + state("y", 1.0)})
    assert part.x is part["x"] is State("part.x", initial=sp.Integer(1))
    assert part.a.value == 1.5
    assert part.total.name == "part.total"
    with pytest.raises(AttributeError, match=r"no symbol or subsystem `totl`; did you mean `total`\?"):
        part.totl  # noqa: B018
    with pytest.raises(KeyError, match="it has total, a, b, c, d, x, y"):
        part["qqqqqq"]
    assert not hasattr(part, "_hidden")


def test_nested_symbols_are_reached_step_by_step() -> None:
    inner = lotka_volterra(name="b")
    outer = System([Eq(D(state("u", 0.0)), inner.x)], subsystems=[inner], name="a")
    assert outer.b.x is lotka_volterra(name="a.b").x
    assert outer["b"]["x"].name == "a.b.x"
    assert outer.u.name == "a.u"


def test_a_subsystem_with_initial_values_can_be_reached() -> None:
    x = state("x", 1.0)
    inner = System([Eq(D(x, 2), -x)], initial={D(x): 0.0}, name="b")
    outer = System([Eq(D(state("u", 0.0)), inner.x)], subsystems=[inner], name="a")
    assert outer.b.x.name == "a.b.x"


def test_parameters_of_an_initial_value_are_renamed_with_it() -> None:
    k = parameter("k", 2.0)
    part = System([Eq(D(state("x", 3 * k)), -k)], name="part")
    assert part.x.initial == 3 * part.k


def test_an_observed_symbol_may_be_used_in_equations() -> None:
    x, z = states(x=1.0, z=None)
    system = System([Eq(D(x), -z)], observed=[Eq(z, 2 * x)])
    assert names(system.states) == ["x"]
    assert system.observed_symbols == (z,)


def test_equal_numbers_hidden_in_products_are_seen_through() -> None:
    x, y = states(x=1.0, y=None)
    with pytest.raises(ModelError, match="trivially true"):
        System([Eq((x + y) ** 2, x**2 + 2 * x * y + y**2)])
    with pytest.raises(ModelError, match="All unknowns cancel"):
        System([Eq(x * (y + 1), x * y + x + 2)])


def test_a_sum_to_a_high_power_is_checked_quickly() -> None:
    """Multiplied out it has 39,711 terms, which takes SymPy some seven seconds."""
    x, y, z = states(x=1.0, y=1.0, z=1.0)
    power = (x + y + z + 1) ** 60
    started = time.process_time()
    system = System([Eq(D(x), power), Eq(D(y), -y), Eq(D(z), -z)])
    assert time.process_time() - started < 2
    assert system.equations[0].rhs == power


def test_what_this_version_lacks_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"events=\.\.\.\) is not available"):
        lotka_volterra(events=(1,))
    with pytest.raises(ModelError, match=r"remedy: sd\.delay"):
        lotka_volterra(delays=(1,))


def test_generators_and_tuples_of_equations_will_do() -> None:
    xs = states(x=1.0, y=1.0)
    assert len(System(Eq(D(s), -s) for s in xs).equations) == 2

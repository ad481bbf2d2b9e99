"""Declared systems come back equal: those of the zoo, and one with everything that can be declared."""

import math
from dataclasses import replace
from pathlib import PurePath

import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Equation, ModelSymbol, Stage, State, System
from symdeq.saving import systems
from symdeq.saving.symbols import SymbolWriter, read_symbols
from symdeq.saving.systems import NetworkTable
from tests.saving.support import system_written_and_read, through_json
from tests.zoo import PROBLEMS


def _without_folders(system: System) -> System:
    """As a file keeps it: of where an equation stands, the name of the file without its folders."""

    def kept(equation: Equation) -> Equation:
        return replace(equation, origins=tuple(replace(o, file=PurePath(o.file).name) for o in equation.origins))

    return system.replace(
        equations=tuple(map(kept, system.equations)),
        observed=tuple(map(kept, system.observed)),
        subsystems=tuple(map(_without_folders, system.subsystems)),
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_zoo(name: str) -> None:
    system = PROBLEMS[name].build()
    read = system_written_and_read(system)
    assert read == _without_folders(system)
    assert str(read) == str(system)
    assert read.latex() == system.latex()
    for one, other in zip((*read.equations, *read.observed), (*system.equations, *system.observed), strict=True):
        assert sp.srepr(one.lhs) == sp.srepr(other.lhs)
        assert sp.srepr(one.rhs) == sp.srepr(other.rhs)


def _everything() -> System:
    k = sd.parameter("k", 0.1 + 0.2, bounds=(0.1, None), scale="log", unit="1/s", description='a "rate", β')
    m = sd.parameter("m", bounds=(None, 3.0))
    x = sd.state("x", sp.sqrt(k) + 1, unit="mol/L", description="a thing")
    y, z, w = sd.states(y=sd.guess(k / 2), z=None, w=-0.0)
    h = sd.state("h", [0.1, 1e-300, -2.0], shape=(3,))
    part = sd.System([Eq(D(w, 2), -m * w), Eq(D(h), -h * h[0])], name="part", initial={D(w): 0.25})
    return sd.System(
        [Eq(D(x), -k * x), Eq(y**3 + y, x + part.w), Eq(z, sp.Piecewise((y, (y > 1) & (part.w < 3)), (x, True)))],
        name="whole",
        subsystems=[part],
        observed={"total": x + y, "twice": 2 * sp.Float("0.1", 40) * x},
        initial={y: sd.guess(0.7), part.w: 0.5},
        time_unit="s",
    )


def test_everything_that_is_declared() -> None:
    system = _everything()
    read = system_written_and_read(system)
    assert read == _without_folders(system)
    assert str(read) == str(system)
    for group in ("states", "params"):
        for one, other in zip(getattr(read, group), getattr(system, group), strict=True):
            assert one.facts == other.facts
    assert read.params[0].bounds == (0.1, math.inf)
    assert read.equations[0].origins[0].file == "test_systems.py"
    assert read.equations[0].origins[0].text == "Eq(D(x), -k * x)"
    assert read.subsystems[0].initial == system.subsystems[0].initial


def test_order_of_declaration() -> None:
    b, a = sd.parameters(b=1.0, a=2.0)
    y, x = sd.states(y=1.0, x=a)
    system = sd.System([Eq(D(x), a * y), Eq(D(y), b * x)])
    sd.states(y=1.0)  # moves y behind x: that is the order from now on, but not that of the system
    read = system_written_and_read(system)
    assert (read.states, read.params) == ((y, x), (b, a))
    assert x.serial < y.serial


def test_order_of_new_symbols() -> None:
    entries = [{"kind": "State", "name": f"only_here_{i}"} for i in range(4)]
    symbols = read_symbols(entries, [2, 0, 3, 1])
    assert [s.name for s in sorted(symbols, key=lambda s: s.serial)] == [f"only_here_{i}" for i in (2, 0, 3, 1)]


def test_known_symbols_are_not_moved() -> None:
    x, y = sd.states(x=1.0, y=2.0)
    before = (x.serial, y.serial)
    assert system_written_and_read(sd.System([Eq(D(x), y), Eq(D(y), x)])).states == (x, y)
    assert (x.serial, y.serial) == before


def test_equal_systems_give_equal_data() -> None:
    first, second = (
        systems.to_data(_everything(), SymbolWriter(), NetworkTable(names=[], outputs=[])) for _ in range(2)
    )
    assert first == second


def test_a_system_that_passes_changed_is_refused() -> None:
    system = PROBLEMS["lotka_volterra"].build().replace(stage=Stage.FLAT)
    with pytest.raises(UnsupportedError, match="stage flat"):
        systems.to_data(system, SymbolWriter(), NetworkTable(names=[], outputs=[]))


def test_unknown_kinds_of_symbols_are_refused() -> None:
    class Noise(ModelSymbol):
        __slots__ = ()

    with pytest.raises(UnsupportedError, match="Noise, which cannot be saved"):
        SymbolWriter().position(Noise("W"))


def test_other_facts_are_kept_as_they_are() -> None:
    symbol = State("x", initial=sp.Integer(1), future=(1, 2.5, "a", None, (True, math.inf)))
    table = SymbolWriter()
    table.position(symbol)
    assert read_symbols(through_json(table.entries), table.order) == (symbol,)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kind": "Noise", "name": "x"},
        {"kind": "State"},
        {"kind": "State", "name": "x y"},
        {"kind": "State", "name": "x\nimport os"},
        {"kind": "State", "name": "__class__.x."},
        {"kind": "State", "name": "t"},
        {"kind": "State", "name": "class"},
        {"kind": "State", "name": "x", "facts": []},
        {"kind": "State", "name": "x", "facts": {"initial": 1}},
        {"kind": "State", "name": "x", "facts": {"initial": {"expression": ["symbol", 0]}}},
        {"kind": "State", "name": "x", "facts": {"initial": {"guess": True}}},
        {"kind": "State", "name": "x", "facts": {"initial": {"call": "os.system"}}},
        {"kind": "State", "name": "x", "facts": {"initial": {"expression": ["Numbers", 1, 2]}}},
        {"kind": "State", "name": "x", "facts": {"initial": {"expression": ["Tuple", 1]}}},
        {"kind": "State", "name": "x", "facts": {"shape": {"tuple": [0]}}},
        {"kind": "State", "name": "x", "facts": {"shape": {"tuple": [10**12]}}},
        {"kind": "State", "name": "x", "facts": {"name": "y"}},
        {"kind": "Parameter", "name": "k", "facts": {"value": "1"}},
        {"kind": "Parameter", "name": "k", "facts": {"value": {"number": "nan"}}},
        {"kind": "Parameter", "name": "k", "facts": {"bounds": {"tuple": [2.0, 1.0]}}},
        {"kind": "Parameter", "name": "k", "facts": {"scale": "cubic"}},
        {"kind": "TimeDerivative", "state": 0, "order": 1},
        {"kind": "TimeDerivative", "state": 0},
    ],
    ids=str,
)
def test_symbols_that_cannot_be(entry: dict) -> None:
    with pytest.raises(ModelError, match="remedy"):
        read_symbols([entry], [])

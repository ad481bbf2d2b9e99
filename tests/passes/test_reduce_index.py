"""Matchings, and what is refused; the messages are in tests/gallery."""

import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import D, Eq, Stage, System, states
from symdeq.passes.flatten import flatten
from symdeq.passes.matching import (
    cheapest_matching,
    incidence,
    maximum_matching,
    ordered_blocks,
    overdetermined,
    underdetermined,
    unknowns,
)
from symdeq.passes.reduce_index import reduce_index


def test_a_good_system_passes_unchanged() -> None:
    x, z = states(x=1.0, z=None)
    flat = flatten(System([Eq(D(x), z), Eq(z, x)]))
    assert reduce_index(flat) == flat.replace(stage=Stage.INDEX_REDUCED)


def test_unknowns_are_derivatives_where_they_occur() -> None:
    x, z = states(x=1.0, z=None)
    assert unknowns(flatten(System([Eq(D(x), z), Eq(z, x)]))) == (D(x), z)


def test_incidence_leaves_out_what_cancels() -> None:
    x, y = states(x=1.0, y=1.0)
    assert incidence([Eq(x + y, 2 * y), Eq(x * (y + 1), x * y)], [x, y]) == [[0, 1], [0]]


def test_matchings() -> None:
    rows = [[0, 1], [0], [2]]
    assert maximum_matching(rows, 3) == [1, 0, 2]
    assert cheapest_matching(rows, lambda i, j: 1.0) == [1, 0, 2]
    costs = np.array([[1.0, 5.0], [1.0, 1.0]])
    assert cheapest_matching([[0, 1], [0, 1]], lambda i, j: costs[i, j]) == [0, 1]
    assert maximum_matching([], 2) == []
    assert maximum_matching([[], []], 0) == [-1, -1]


def test_parts_of_unequal_numbers() -> None:
    rows = [[0, 1, 2], [0, 1, 2], [3], [3], [4, 5], [5]]
    few, many = underdetermined(rows, 6), overdetermined(rows, 6)
    assert (few.rows, few.columns) == ((0, 1), (0, 1, 2))
    assert (many.rows, many.columns) == ((2, 3), (3,))
    assert underdetermined([[0], []], 2).columns == (1,)
    assert overdetermined([[0], []], 2).rows == (1,)


def test_blocks_are_in_an_order_to_solve_them() -> None:
    needs = [[1], [2], [1], [0, 2], []]
    assert ordered_blocks(needs) == [[1, 2], [4], [0], [3]]
    assert ordered_blocks([]) == []


@pytest.mark.parametrize(
    ("equations", "message"),
    [
        (lambda x, y, z: [Eq(D(x), -x + y)], "1 equation cannot determine `x`, `y`: 1 equation missing"),
        (lambda x, y, z: [Eq(D(x), -x), Eq(D(x), y), Eq(y, 2 * x), Eq(z, x)], "1 equation too many"),
    ],
)
def test_singular_systems_are_refused(equations, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        reduce_index(flatten(System(equations(*states(x=1.0, y=1.0, z=1.0)))))


def test_higher_index_is_refused() -> None:
    x, y, u, v, tension = states(x=1.0, y=0.0, u=0.0, v=0.0, tension=None)
    pendulum = [
        Eq(D(x), u),
        Eq(D(y), v),
        Eq(D(u), -tension * x),
        Eq(D(v), -tension * y - sp.Rational(981, 100)),
        Eq(x**2 + y**2, 1),
    ]
    with pytest.raises(UnsupportedError, match=r"index above 1(.|\n)*x\*\*2 \+ y\*\*2 = 1"):
        reduce_index(flatten(System(pendulum)))

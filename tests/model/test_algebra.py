"""Products multiplied out within bounds, and the parts of what is linear."""

import pytest
import sympy as sp

from symdeq.model.algebra import MOST_TERMS, linear_parts, multiplied_out, term_count

x, y, z, a = sp.symbols("x y z a", real=True)


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        (x, 1),
        (x + y, 2),
        ((x + y) * (a + y + z), 6),
        ((x + y) ** 2, 3),
        ((x + y + z) ** 3, 10),
        ((x + y) ** -2, 1),
        (sp.sqrt(x + y), 1),
        (sp.sin(x + y) * (x + 1), 2),
    ],
)
def test_terms_are_counted_without_multiplying_out(expression: sp.Expr, count: int) -> None:
    assert term_count(expression) == count
    assert len(sp.Add.make_args(multiplied_out(expression))) == count


def test_what_would_be_too_long_is_left() -> None:
    long = (x + y + z + a) ** 40
    assert term_count(long) > MOST_TERMS
    assert multiplied_out(long) is long
    short = x + 2 * y * z
    assert multiplied_out(short) is short


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        (a, (0, a)),
        (x, (1, 0)),
        (a * x + y, (a, y)),
        (2 * (x + y) * a, (2 * a, 2 * a * y)),
        (a * (x * y + z * (x - 1)), (a * (y + z), -a * z)),
        (x / a - x, (1 / a - 1, 0)),
        (sp.Piecewise((1, y > 0), (2, True)) * x, (sp.Piecewise((1, y > 0), (2, True)), 0)),
    ],
)
def test_linear_parts(expression: sp.Expr, parts: tuple) -> None:
    found = linear_parts(expression, x)
    assert found is not None
    assert found == parts
    assert sp.expand(found[0] * x + found[1] - expression) == 0


@pytest.mark.parametrize(
    "expression",
    [
        x**2,
        1 / x,
        sp.sin(x),
        x * (x + 1),
        sp.floor(x),
        sp.Mod(x, 2),
        sp.sign(x) + x,
        sp.Piecewise((1, x > 0), (2, True)),
        x + sp.Piecewise((1, x > 0), (2, True)),
        sp.Heaviside(x),
        a**x,
    ],
)
def test_what_only_looks_linear_has_no_parts(expression: sp.Expr) -> None:
    assert linear_parts(expression, x) is None

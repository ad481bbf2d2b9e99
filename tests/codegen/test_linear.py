"""The sparse factorisation against NumPy on random patterns; a wrong one would show up only as more steps."""

import numpy as np
import pytest

from symdeq.codegen import emit_program, load_program, verify
from symdeq.codegen.linear import MOST_OPERATIONS, linear_programs, plan


def _functions(n: int, sparsity: tuple[tuple[int, int], ...]) -> dict:
    programs = linear_programs(tuple(f"x{i}" for i in range(n)), sparsity, factorised=True)
    for program in programs:
        verify(program)
    return {program.name: load_program(emit_program(program), program.name) for program in programs}


def _random_pattern(random: np.random.Generator, n: int, entries: int) -> tuple[tuple[int, int], ...]:
    chosen = {(int(i), int(k)) for i, k in random.integers(0, n, (entries, 2))}
    return tuple(sorted(chosen))


@pytest.mark.parametrize("seed", range(25))
def test_random_patterns(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 31))
    sparsity = _random_pattern(random, n, int(random.integers(0, 3 * n)))
    generated = _functions(n, sparsity)
    if "factorise" not in generated:
        assert plan(n, sparsity) is None
        return
    j = random.normal(size=len(sparsity))
    shift = 8.0
    dense = np.zeros((n, n))
    for (i, k), value in zip(sparsity, j, strict=True):
        dense[i, k] = value
    w = shift * np.eye(n) - dense
    b = random.normal(size=n)
    factors = generated["factorise"](j, shift)
    np.testing.assert_allclose(generated["solve"](factors, b), np.linalg.solve(w, b), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        generated["solve_transposed"](factors, b), np.linalg.solve(w.T, b), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(generated["matvec"](j, b), dense @ b, rtol=1e-13, atol=1e-13)


def test_full_pattern() -> None:
    n = 6
    random = np.random.default_rng(1)
    a = random.normal(size=(n, n))
    sparsity = tuple((i, k) for i in range(n) for k in range(n))
    generated = _functions(n, sparsity)
    b = random.normal(size=n)
    x = generated["solve"](generated["factorise"](a.ravel(), 5.0), b)
    np.testing.assert_allclose(x, np.linalg.solve(5.0 * np.eye(n) - a, b), rtol=1e-11)


def test_arrow_is_ordered_without_fill() -> None:
    """The full row and column go last, although they come first."""
    n = 20
    arrow = tuple(sorted({(i, i) for i in range(n)} | {(0, i) for i in range(n)} | {(i, 0) for i in range(n)}))
    found = plan(n, arrow)
    assert found is not None
    assert len(found.pattern) == 3 * n - 2
    assert found.operations == 2 * (n - 1)
    assert 0 in found.order[-2:]


def test_tridiagonal_needs_no_fill() -> None:
    n = 100
    band = tuple((i, k) for i in range(n) for k in range(max(0, i - 1), min(n, i + 2)))
    found = plan(n, band)
    assert found is not None
    assert len(found.pattern) == 3 * n - 2


def test_long_elimination_is_left_to_others() -> None:
    n = 12
    full = tuple((i, k) for i in range(n) for k in range(n))
    assert sum((n - 1 - p) * (n - p) for p in range(n)) > MOST_OPERATIONS
    assert plan(n, full) is None
    assert [program.name for program in linear_programs(tuple("abcdefghijkl"), full, factorised=True)] == ["matvec"]


def test_pivots_divide() -> None:
    """A stored reciprocal would let XLA copy the substitution into each of its users."""
    programs = linear_programs(("a", "b"), ((0, 0), (0, 1), (1, 0), (1, 1)), factorised=True)
    texts = {program.name: emit_program(program) for program in programs}
    assert texts["factorise"].count(" / ") == 1
    assert texts["solve"].count(" / ") == 2
    assert "1 / " not in "".join(texts.values())

"""Results as text: a table a problem, and the goals with what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tests.zoo import PROBLEMS, Problem

from .goals import Verdict
from .peers import BY_HAND, C_LOOP, SYMDEQ, TUNED
from .records import Result, Row

_HEADER = (
    "", "solve µs", "least", "±", "error", "steps", "first s",
    "gradient µs", "±", "/solve", "error", "first s", "symdeq is faster", "gradient",
)  # fmt: skip


def number(value: float | None) -> str:
    """Three significant digits, as people write them."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "failed"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def table(problem: Problem, result: Result) -> str:
    """One problem: a line a peer, with how many times longer it takes than symdeq."""
    kind = "stiff" if problem.stiff else "not stiff"
    algebra = "" if problem.mass is None else ", with algebraic equations"
    title = (
        f"{problem.name}: {len(problem.states)} states, {kind}{algebra}, t = {problem.t0:g} to {problem.t1:g}, "
        f"{len(problem.ts)} save points, rtol {problem.rtol:g}, atol {problem.atol:g}"
    )
    ours = result.row(SYMDEQ)
    lines = aligned([_HEADER, *(_cells(row, ours) for row in result.rows)])
    notes = [f"  {row.peer}: {row.note}" for row in result.rows if row.note]
    return "\n".join([title, *lines, *notes])


def _cells(row: Row, ours: Row | None) -> tuple[str, ...]:
    def faster(mine, theirs):
        return "" if mine is None or theirs is None or mine is theirs else f"{number(theirs.over(mine))}×"

    return (
        row.peer,
        number(row.solve and row.solve.median),
        number(row.solve and row.solve.best),
        f"{row.solve.spread:.0%}" if row.solve else "",
        number(row.error),
        "" if row.steps is None else str(row.steps),
        number(row.first),
        number(row.gradient and row.gradient.median),
        f"{row.gradient.spread:.0%}" if row.gradient else "",
        number(row.gradient.median / row.solve.median if row.gradient and row.solve else None),
        number(row.gradient_error),
        number(row.gradient_first),
        faster(ours and ours.solve, row.solve),
        faster(ours and ours.gradient, row.gradient),
    )


def compile_times(results: Mapping[str, Result]) -> str:
    """Seconds from the declaration to the first solution, and to the first gradient, a line a problem."""
    peers = (SYMDEQ, BY_HAND, TUNED)
    rows = [("", *(f"{p}" for p in peers), C_LOOP, *(f"{p}: gradient" for p in peers))]
    for name in PROBLEMS:
        if name in results:
            row = {r.peer: r for r in results[name].rows}
            firsts = [row[p].first if p in row else None for p in (*peers, C_LOOP)]
            gradients = [row[p].gradient_first if p in row else None for p in peers]
            rows.append((name, *map(number, [*firsts, *gradients])))
    return "\n".join(["Seconds from the declaration to the first solution and the first gradient", *aligned(rows)])


def goals(verdicts: Iterable[Verdict]) -> str:
    """The goals, the numbers, and whether they are met."""
    rows = [("goal", "asked", "measured", "least times", "")]
    verdicts = tuple(verdicts)
    for verdict in verdicts:
        word = "not measured" if verdict.met is None else "met" if verdict.met else "NOT MET"
        rows.append((verdict.goal.text, verdict.goal.asked, number(verdict.measured), number(verdict.least), word))
    counts = [sum(v.met is kind for v in verdicts) for kind in (True, False, None)]
    summary = "{} goals met, {} not met, {} not measured".format(*counts)
    return "\n".join([*aligned(rows), summary])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first set to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join(("", row[0].ljust(widths[0]), *cells)).rstrip()

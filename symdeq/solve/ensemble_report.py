"""What an ensemble says of itself: its story, and which members failed and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from symdeq.solve.ensemble_solution import EnsembleSolution

_SHOWN = 5


class Failures(Mapping[int, str]):
    """The members that failed, by number, and why, in the sentences of a single solve; those are made when asked for.

    `str` of it lists the first of them.
    """

    def __init__(self, solution: EnsembleSolution):
        self._solution = solution
        self._numbers = tuple(map(int, np.flatnonzero(~solution.ok)))

    def __getitem__(self, i: int) -> str:
        if i not in self._numbers:
            raise KeyError(i)
        return self._solution.member(i).failure

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def summary(self, remedy: str) -> str:
        """How many failed, and why the first did, with its remedy and another."""
        count, first = self._solution.members.count, self._numbers[0]
        return (
            f"{len(self)} of {count} members of this ensemble failed; the first is "
            f"member {first}{self._solution.members.said(first)}.\n{self[first]};\n           {remedy}"
        )

    def __str__(self) -> str:
        if not self._numbers:
            return "no member failed"
        head = f"{len(self)} of {self._solution.members.count} members failed"
        lines = [
            f"  member {i}{self._solution.members.said(i)}: {self[i].splitlines()[0]}" for i in self._numbers[:_SHOWN]
        ]
        more = [f"  and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([head, *lines, *more])

    __repr__ = __str__


def story(solution: EnsembleSolution) -> str:
    """What varied, which method ran, how many steps it took, and what failed."""
    model, results, method = solution.model, solution.results, solution.method
    n, count = len(model.states), solution.members.count
    lines = [
        f"`{model.system.name}`: {_many(count, 'member')}, {_many(n, 'state')}, {_many(solution.ys.shape[1], 'time')}, "
        f"t = {_range(results.t0)} to {_range(results.t1)}, {results.ys.dtype}",
        *(f"  {'varied' if k == 0 else '':<7} {line}" for k, line in enumerate(_varied(solution))),
        *(
            [f"  paths   one a member, of {', '.join(n.brownian.name for n in noise)}"]
            if (noise := model.system.noise)
            else []
        ),
        f"  method  {method.name}: {method.reason}",
        f"  steps   {_steps(solution)}",
    ]
    lines += [f"  course  {line}" for line in _course(solution)]
    failures = solution.failures
    if failures:
        lines += [f"  FAILED  {str(failures).replace(chr(10), chr(10) + '        ')}"]
    else:
        lines += ["  result  all successful"]
    return "\n".join(lines)


def _varied(solution: EnsembleSolution) -> list[str]:
    members = solution.members
    names = members.columns.names
    lines = []
    for k, name in enumerate(names[:_SHOWN]):
        column = np.asarray(members.rows[:, k])
        lines.append(f"{name} from {np.nanmin(column):.6g} to {np.nanmax(column):.6g}")
    return lines + ([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])


def _steps(solution: EnsembleSolution) -> str:
    accepted, rejected = solution.stats["num_accepted_steps"], solution.stats["num_rejected_steps"]
    text = (
        f"{np.median(accepted):.0f} accepted and {np.median(rejected):.0f} rejected by the median member, "
        f"at most {np.max(accepted + rejected)}"
    )
    if not solution.method.adaptive:
        return text
    atol = " to ".join(f"{v:g}" for v in sorted({float(np.min(solution.atol)), float(np.max(solution.atol))}))
    return f"{text}; rtol {float(solution.rtol):g}, atol {atol}"


def _course(solution: EnsembleSolution) -> list[str]:
    stats, method = solution.switch, solution.method
    if stats is None or "/" not in method.name:
        return []
    explicit, implicit = method.name.split("/")
    taken, stiff = np.asarray(stats.explicit_steps), np.asarray(stats.implicit_steps)
    groups = (
        (f"{explicit} (explicit) throughout", (taken > 0) & (stiff == 0)),
        (f"{implicit} (Rosenbrock) throughout", (taken == 0) & (stiff > 0)),
        (f"switching between {explicit} and {implicit}", (taken > 0) & (stiff > 0)),
    )
    parts = [f"{_many(int(np.sum(group)), 'member')} {what}" for what, group in groups if np.any(group)]
    return ["; ".join(parts)] if parts else []


def _range(values: np.ndarray) -> str:
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"

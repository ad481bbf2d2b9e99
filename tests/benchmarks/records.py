"""What was measured, frozen, and the statistics of it."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Microseconds of one run in each round; rounds that a slow peer sat out are missing."""

    rounds: tuple[tuple[int, float], ...]

    @property
    def all(self) -> list[float]:
        return sorted(us for _, us in self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.all)

    @property
    def best(self) -> float:
        return self.all[0]

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a fraction of the median."""
        if len(self.all) < 4:
            return (self.all[-1] - self.all[0]) / (2 * self.median)
        low, _, high = statistics.quantiles(self.all, n=4)
        return (high - low) / (2 * self.median)

    def over(self, other: Timing) -> float:
        """How many times longer this takes than `other`: the median of the ratios within each round."""
        mine, theirs = dict(self.rounds), dict(other.rounds)
        return statistics.median(mine[r] / theirs[r] for r in mine.keys() & theirs.keys())


@dataclass(frozen=True, kw_only=True)
class Row:
    """One peer on one problem; what it does not offer, or did not do, is None.

    Arguments:
        peer: its name
        note: why something is missing
        steps: steps tried
        first: seconds from the declaration to the first solution, the least of the repetitions
        solve: of one solve; in an ensemble, of one member
        error: of the solution, in units of the tolerance
        gradient_first, gradient, gradient_error: the same of the gradient, its error relative
    """

    peer: str
    note: str = ""
    steps: int | None = None
    first: float | None = None
    solve: Timing | None = None
    error: float | None = None
    gradient_first: float | None = None
    gradient: Timing | None = None
    gradient_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """All peers on one problem, measured in one run."""

    problem: str
    rows: tuple[Row, ...]

    def row(self, peer: str) -> Row | None:
        return next((row for row in self.rows if row.peer == peer), None)


def save(result: Result, folder: Path, name: str | None = None) -> None:
    """Write a result as JSON, named after its problem if it is given no other name."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(result), indent=1)
    (folder / f"{name or result.problem}.json").write_text(text + "\n")


def load_all(folder: Path) -> dict[str, Result]:
    """Everything in a folder and its folders, by path without the ending: `rober`, `growth/mass_action_50`."""
    paths = sorted(folder.rglob("*.json"))
    return {path.relative_to(folder).with_suffix("").as_posix(): load(path) for path in paths}


def load(path: Path) -> Result:
    """Read what `save` wrote."""
    data = json.loads(path.read_text())
    return Result(problem=data["problem"], rows=tuple(_row(row) for row in data["rows"]))


def _row(data: dict[str, Any]) -> Row:
    timings = {
        name: Timing(rounds=tuple((r, us) for r, us in data[name]["rounds"])) if data[name] else None
        for name in ("solve", "gradient")
    }
    return Row(**{**data, **timings})

"""What a peer is: a way from a problem to its solution at the save points, and perhaps to the gradient of a loss."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from tests.zoo import Problem


@final
class MissingTool(Exception):
    """Something optional that a peer needs is not installed."""


class Flags(enum.Enum):
    """The state of XLA's option for small loops in a peer's process."""

    symdeq = "as symdeq sets it on import"
    option = "as symdeq would set it, without symdeq"
    default = "XLA's default"


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something prepared, to be run many times.

    Arguments:
        run: does the work once and returns when it is done
        result: what it computed: states of shape (times, states), or the gradient of shape (parameters,)
        first: seconds from nothing to the first result
        steps: steps tried, accepted or not; None where the peer does not say
    """

    run: Callable[[], Any]
    result: Any
    first: float
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class AbstractPeer(abc.ABC):
    """One way to solve problems.

    Arguments:
        name: as the tables print it
        flags: of the process that it works in
    """

    name: str
    flags: Flags

    @abc.abstractmethod
    def fits(self, problem: Problem) -> bool:
        """Whether a user would take it for this problem."""

    @abc.abstractmethod
    def solve(self, problem: Problem) -> Work:
        """Prepare the solution at `problem.ts`, from nothing; `Work.first` is the time to the first result."""

    @abc.abstractmethod
    def gradient(self, problem: Problem) -> Work | None:
        """Prepare the gradient of the sum of squares of all saved states by the parameters; None: not offered."""

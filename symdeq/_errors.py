"""What symdeq raises and warns: every message says what happened, where the user wrote it, and what to do next."""


class SymdeqError(Exception):
    """Base of every error that symdeq raises on purpose."""


class ModelError(SymdeqError, ValueError):
    """A model, or a value given to one, that cannot be right.

    Arguments:

    - `what`: one sentence saying what is wrong, naming the symbol.
    - `where`: the equation and its file and line, or `None`.
    - `remedy`: what to do next, or `None`.
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None):
        self.what, self.where, self.remedy = what, where, remedy
        lines = [what]
        if where is not None:
            lines += [f"  where:  {line}" for line in str(where).splitlines()]
        if remedy is not None:
            lines.append(f"  remedy: {remedy}")
        super().__init__("\n".join(lines))


class UnsupportedError(ModelError):
    """A construct that symdeq understands and refuses by name when the model is compiled."""


class VerificationError(SymdeqError, AssertionError):
    """A compiler pass broke a rule of its output form: a defect of symdeq, never of the model."""


class SolveError(SymdeqError, RuntimeError):
    """A solution that failed; the message is `Solution.failure`."""


class FitError(SymdeqError, RuntimeError):
    """A fit in which no start converged to a finite value."""


class MissingExtraError(SymdeqError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs `{package}`, which is not installed.\n  remedy: pip install 'symdeq[{extra}]'"
        )


class SymdeqWarning(UserWarning):
    """Base of every warning that symdeq gives."""

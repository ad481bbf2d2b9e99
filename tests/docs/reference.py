"""The page `docs/reference.md`, made from the docstrings of everything public."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

import symdeq as sd
from symdeq import solvers

_HEAD = """# Reference

Every public name, made from its docstring by `python -m tests.docs`; `help(sd.solve)` shows the same.
`import symdeq as sd` gives the names below, and `from symdeq import D, Eq, t` those for writing equations.
"""
# Section, what it is about, and its names; `fit` and whatever comes with it has a section of its own.
_SECTIONS = (
    ("Declaring", "[Writing models](guide/models.md)", ("state", "states", "parameter", "parameters", "guess", "t")),
    ("Noise", "[Noise](guide/noise.md)", ("brownian", "poisson", "mark")),
    ("Delays", "[Delays](guide/delays.md)", ("delay", "Delayed")),
    ("Equations and systems", "[Writing models](guide/models.md)", ("D", "Eq", "Equation", "Neural", "System")),
    ("Compiling", "[Generated code](guide/generated-code.md)", ("compile", "Model")),
    ("Solving", "[Solving](guide/solving.md)", ("solve", "Solution")),
    ("Steady states", "[Steady states](guide/equilibria.md)", ("steady_state", "SteadyState")),
    (
        "Layers and training",
        "[Networks and layers](guide/networks.md)",
        ("ODELayer", "NeuralODE", "NeuralSDE", "train", "Training", "MultipleShooting", "roughness"),
    ),
    (
        "Equilibria",
        "[Networks and layers](guide/networks.md)",
        (
            *("DEQ", "DEQInfo", "SkipDEQ", "MultiScaleDEQ", "MultiScaleSkipDEQ", "MultiScaleNeuralODE"),
            *("Anderson", "Broyden", "FixedPoint", "NewtonKrylov"),
        ),
    ),
    ("Saving", "[Saving](guide/saving.md)", ("save", "load")),
    ("Ensembles", "[Ensembles](guide/ensembles.md)", ("ensemble", "EnsembleSolution")),
    (
        "Reactions",
        "[Reactions](guide/reactions.md)",
        ("Reaction", "reactions", "ReactionNetwork", "simulate", "JumpSolution"),
    ),
    ("Fitting", "[Fitting](guide/fitting.md)", ()),
    (
        "Solvers",
        "[Solvers for diffrax users](guide/solvers.md)",
        ("AutoSwitch", "Rodas5P", "Rosenbrock23", "BDF", "RosenbrockMilstein"),
    ),
    (
        "Errors and warnings",
        "All derive from `SymdeqError` or `SymdeqWarning`",
        (
            "SymdeqError",
            "ModelError",
            "UnsupportedError",
            "SolveError",
            "FitError",
            "TrainingError",
            "MissingExtraError",
            "SymdeqWarning",
        ),
    ),
)
_SOLVERS = (
    "MassTerm",
    "SwitchStats",
    "BDFStats",
    "linearise",
    "AbstractLinearisation",
    "AbstractRosenbrock",
    "RosenbrockTableau",
    "ExplicitTableau",
)
# Made by other calls, never by their own; or made by the generated constructor of a class with inner fields.
_WITHOUT_CALL = (
    "Model",
    "Solution",
    "EnsembleSolution",
    "JumpSolution",
    "ReactionNetwork",
    "Equation",
    "Fit",
    "Profile",
    "AbstractLinearisation",
    "AbstractRosenbrock",
)
_CALLS = {
    "System": "System(equations, name='system', subsystems=(), observed=(), initial=(), time_unit=None)",
    "Reaction": "Reaction(rate, reactants=(), products=(), name=None, mass_action=True)",
    "states": "states(x=..., y=...)",
    "parameters": "parameters(a=..., b=...)",
    "AutoSwitch": "AutoSwitch(explicit=TSIT5, implicit=RODAS5P, start_implicit=False)",
    "RosenbrockTableau": (
        "RosenbrockTableau(*, order, error_order, gamma, a, c, times, d, b, b_error, dense, b_defect=None)"
    ),
}
# Public to other rooms of the package, and of no use to anybody else.
_INNER = {
    "Model": (
        *("position", "missing_initial", "constant", "slopes", "fastest_time_scale", "declared_start"),
        *("args", "place", "columns"),
    ),
    "System": ("observed_symbols",),
    "Solution": ("replace",),
}
_PLAIN = {"t": "Time, the independent variable: a symbol for equations, `Eq(D(x), sp.cos(t) - x)`."}


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    for section, about, names in _sections():
        parts.append(f"## {section}\n\n{about}.\n")
        parts += [_entry(f"sd.{name}", name, getattr(sd, name)) for name in names]
        if section == "Solvers":
            parts += [_entry(f"symdeq.solvers.{name}", name, getattr(solvers, name)) for name in _SOLVERS]
    return "\n".join(parts)


def public_names() -> list[str]:
    """What `import symdeq` gives."""
    modules = types.ModuleType
    return [name for name, thing in vars(sd).items() if not name.startswith("_") and not isinstance(thing, modules)]


def _sections() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    placed = {name for _, _, names in _SECTIONS for name in names}
    left = [name for name in public_names() if name not in placed]
    for section, about, names in _SECTIONS:
        if section == "Fitting":
            names = tuple(name for name in left if (getattr(sd, name).__module__ or "").startswith("symdeq.fit"))
            left = [name for name in left if name not in names]
        if names:
            yield section, about, names
    if left:
        raise ValueError(f"{left} are public and in no section of the reference; add them to _SECTIONS in {__name__}")


def _entry(shown: str, name: str, thing: Any) -> str:
    if name in _PLAIN:
        return f"### `{shown}`\n\n{_PLAIN[name]}\n"
    called = name not in _WITHOUT_CALL and not _is_exception(thing)
    call = f"\n```text\n{_CALLS.get(name) or name + _signature(thing)}\n```\n" if called else ""
    text = f"### `{shown}`\n{call}\n{_doc(thing)}\n"
    return text + "".join(_members(thing)) if isinstance(thing, type) and not _is_exception(thing) else text


def _members(cls: type) -> Iterator[str]:
    for name, member in vars(cls).items():
        hidden = name in _INNER.get(cls.__name__, ()) or (name.startswith("_") and name != "__getitem__")
        if hidden or not _doc(member):
            continue
        if isinstance(member, property):
            yield f"\n#### `.{name}`\n\n{_doc(member)}\n"
        elif inspect.isfunction(member):
            item = name == "__getitem__"
            call = f"[{_parameters(member)[1]}]" if item else f".{name}{_signature(member, method=True)}"
            yield f"\n#### `{call}`\n\n{_doc(member)}\n"


def _doc(thing: Any) -> str:
    """Its own docstring, not one that it inherits."""
    return inspect.cleandoc(thing.__doc__ or "")


def _signature(function: Any, *, method: bool = False) -> str:
    return f"({', '.join(_parameters(function)[1 if method else 0 :])})"


def _parameters(function: Any) -> list[str]:
    """Names and defaults, without annotations."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    text = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)
    return text[1:-1].split(", ")


def _is_exception(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)

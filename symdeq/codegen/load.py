"""Generated text as functions."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Scalars = tuple[Any, ...]


@dataclass(frozen=True)
class Generated:
    """The functions and patterns of a generated module; equal, and of equal hash, if the text is equal.

    The functions take `t` as a scalar and `y`, `p`, `j`, `v`, `b` as tuples of scalars or as arrays of one dimension,
    and return tuples of scalars, some of which may be Python numbers. `dfdt` is `None` for an autonomous system;
    `factorise`, `solve` and `solve_transposed` are `None` where the elimination would be too long, or with a mass
    matrix, or in a `vectorised` module, whose functions take and return arrays. `sizes` says how many numbers each
    state is; `jac` is `None` where one is a vector. Functions of a module with `networks` take those after `p`.

    `jumps` takes the marks of the jumps as its last argument.

    In a module with delays, `rhs` and its derivatives and `observed` take the delayed values as their last argument;
    `delayed` says for each of them which lag it has and where it stands in the state vector, `lag_kinds` what each lag
    depends on, `history_kinds` for which states `history` gives values.
    """

    text: str
    name: str = field(compare=False)
    states: tuple[str, ...] = field(compare=False)
    parameters: tuple[str, ...] = field(compare=False)
    observed_names: tuple[str, ...] = field(compare=False)
    mass: tuple[int, ...] = field(compare=False)
    sparsity: tuple[tuple[int, int], ...] = field(compare=False)
    parameter_sparsity: tuple[tuple[int, int], ...] = field(compare=False)
    initial_kinds: tuple[str, ...] = field(compare=False)
    vectorised: bool = field(compare=False)
    sizes: tuple[int, ...] = field(compare=False)
    networks: tuple[str, ...] = field(compare=False)
    delayed: tuple[tuple[int, int], ...] = field(compare=False)
    lag_kinds: tuple[str, ...] = field(compare=False)
    history_kinds: tuple[str, ...] = field(compare=False)
    rhs: Callable[..., Scalars] = field(compare=False, repr=False)
    jac: Callable[..., Scalars] | None = field(compare=False, repr=False)
    jac_params: Callable[..., Scalars] | None = field(compare=False, repr=False)
    dfdt: Callable[..., Scalars] | None = field(compare=False, repr=False)
    diffusion: Callable[..., Scalars] | None = field(compare=False, repr=False)
    correction: Callable[..., Scalars] | None = field(compare=False, repr=False)
    rates: Callable[..., Scalars] | None = field(compare=False, repr=False)
    jumps: Callable[..., Scalars] | None = field(compare=False, repr=False)
    lags: Callable[..., Scalars] | None = field(compare=False, repr=False)
    history: Callable[..., Scalars] | None = field(compare=False, repr=False)
    observed: Callable[..., Scalars] = field(compare=False, repr=False)
    initial: Callable[..., Scalars] = field(compare=False, repr=False)
    matvec: Callable[..., Scalars] | None = field(compare=False, repr=False)
    factorise: Callable[..., Scalars] | None = field(compare=False, repr=False)
    solve: Callable[..., Scalars] | None = field(compare=False, repr=False)
    solve_transposed: Callable[..., Scalars] | None = field(compare=False, repr=False)


@cache
def namespace(text: str) -> dict[str, Any]:
    """Run generated text, once for each text; tracebacks into it show its lines."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = f"<symdeq {digest}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": f"symdeq_generated_{digest}"}
    exec(compile(text, file, "exec"), names)
    return names


@cache
def load(text: str) -> Generated:
    """The functions of a module that `emit` wrote; the same object for the same text.

    Arguments:

    - `text`: what `emit` returned.
    """
    names = namespace(text)
    return Generated(
        text=text,
        name=names["NAME"],
        states=names["STATES"],
        parameters=names["PARAMETERS"],
        observed_names=names["OBSERVED"],
        mass=names["MASS"],
        sparsity=names["SPARSITY"],
        parameter_sparsity=names["PARAMETER_SPARSITY"],
        initial_kinds=names["INITIAL"],
        vectorised=names.get("VECTORISED", False),
        sizes=names.get("SIZES", (1,) * len(names["STATES"])),
        networks=names.get("NETWORKS", ()),
        delayed=names.get("DELAYED", ()),
        lag_kinds=names.get("LAGS", ()),
        history_kinds=names.get("HISTORY", ()),
        rhs=names["rhs"],
        jac=names.get("jac"),
        jac_params=names.get("jac_params"),
        dfdt=names.get("dfdt"),
        diffusion=names.get("diffusion"),
        correction=names.get("correction"),
        rates=names.get("rates"),
        jumps=names.get("jumps"),
        lags=names.get("lags"),
        history=names.get("history"),
        observed=names["observed"],
        initial=names["initial"],
        matvec=names.get("matvec"),
        factorise=names.get("factorise"),
        solve=names.get("solve"),
        solve_transposed=names.get("solve_transposed"),
    )


def load_program(text: str, name: str) -> Callable[..., Scalars]:
    """One function of a module that `emit_program` wrote; the same object for the same text."""
    return namespace(text)[name]

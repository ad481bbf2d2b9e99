"""Python identifiers for symbols: valid, unique, and as close to the symbol's name as that allows."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping

import sympy as sp

RESERVED = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "jax", "jnp", "special", "math"})
_RATE = re.compile(r"D\(([^(),]*)\)\Z")
_HIGHER_RATE = re.compile(r"D\(([^(),]*), (\d+)\)\Z")


def identifier(name: str) -> str:
    """`a.x` is `a_x`, `D(x)` is `dx_dt`, `J(x,y)` is `J_x_y`; names in any script stay."""
    name = _RATE.sub(r"d\1_dt", _HIGHER_RATE.sub(r"d\2\1_dt\2", name))
    name = unicodedata.normalize("NFKC", name)
    name = re.sub(r"\W+", "_", name).strip("_") or "v"
    return name if name.isidentifier() else f"v_{name}"


def unique_names(
    symbols: Iterable[sp.Symbol], taken: Mapping[sp.Symbol, str], reserved: Iterable[str]
) -> dict[sp.Symbol, str]:
    """An identifier for each symbol that is no reserved word and not taken by another; those in `taken` keep theirs."""
    names = dict(taken)
    used = {*RESERVED, *reserved, *names.values()}
    for symbol in symbols:
        if symbol in names:
            continue
        wanted = identifier(symbol.name)
        candidate = wanted if wanted not in used else f"{wanted}_"
        number = 2
        while candidate in used:
            candidate, number = f"{wanted}_{number}", number + 1
        names[symbol] = candidate
        used.add(candidate)
    return names

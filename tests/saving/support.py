"""Data of expressions and systems written and read as a file would, and files with one thing changed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sympy as sp

from symdeq.model import ModelSymbol, System
from symdeq.saving import expressions, systems
from symdeq.saving.archive import DESCRIPTION
from symdeq.saving.expressions import Tables
from symdeq.saving.symbols import SymbolWriter, read_symbols
from symdeq.saving.systems import NetworkTable


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


def written_and_read(expression: sp.Basic, symbols: Sequence[ModelSymbol]) -> Any:
    """An expression after a way through a file."""
    data = expressions.to_data(expression, symbols.index, lambda network: 0)
    return expressions.from_data(through_json(data), Tables(symbols=symbols), sp.Basic)


def same(one: sp.Basic, other: sp.Basic) -> bool:
    """Whether two expressions are equal part by part, with the same types, precisions and order, and print alike."""
    return one == other and type(one) is type(other) and sp.srepr(one) == sp.srepr(other) and str(one) == str(other)


def system_written_and_read(system: System) -> System:
    """A system without networks after a way through a file."""
    symbols = SymbolWriter()
    data = systems.to_data(system, symbols, NetworkTable(names=[], outputs=[]))
    entries, order, data = through_json([symbols.entries, symbols.order, data])
    return systems.read_system(data, Tables(symbols=read_symbols(entries, order)))


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], Any]) -> Path:
    """A copy of a file beside it, whose description and other members `change` has changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(members.pop(DESCRIPTION))
    change(description, members)
    return packed(path.with_name("changed.symdeq"), {DESCRIPTION: json.dumps(description).encode(), **members})


def packed(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip archive of these members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.write_bytes(content.getvalue())
    return path

"""Malformed models and calls against their golden messages; `pytest tests/gallery --update-golden` writes them anew.

The cases are the public functions of `MODULES`; each fails in its own way. Line numbers are counted from the function's
first line, so a new case changes no other message.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from symdeq._errors import SymdeqError
from tests.gallery import calls, models

MODULES: tuple[ModuleType, ...] = (models, calls)
_GOLDEN = Path(__file__).parent / "messages.txt"


def _cases() -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    for module in MODULES:
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                assert name not in found, f"two cases are named {name}"
                found[name] = function
    return found


CASES = _cases()


def _message(function: Callable[[], object]) -> str:
    with pytest.raises((SymdeqError, AttributeError, KeyError)) as caught:
        function()
    file, first = Path(inspect.getfile(function)).name, inspect.getsourcelines(function)[1]

    def counted(match: re.Match[str]) -> str:
        return f"{file}:{function.__name__}+{int(match[1]) - first}"

    text = re.sub(rf"[^\s(]*{re.escape(file)}:(\d+)", counted, str(caught.value))
    # What a failed solve got to near a singularity differs from processor to processor.
    text = re.sub(r"(?<=state:)(.*)", lambda match: re.sub(r"[-+.\de]{4,}", "#", match[1]), text)
    return f"{caught.type.__name__}: {text}"


def _entry(name: str) -> str:
    """The case with its source, so that whoever reads the messages sees what they are about."""
    _, *body = inspect.getsource(CASES[name]).rstrip().splitlines()
    shown = "\n".join(f"| {line[4:]}".rstrip() for line in body)
    return f"=== {name}\n{shown}\n\n{_message(CASES[name])}\n"


def _golden() -> dict[str, str]:
    text = _GOLDEN.read_text(encoding="utf-8") if _GOLDEN.exists() else ""
    return {part.splitlines()[0].strip(): f"=== {part.strip()}\n" for part in text.split("=== ")[1:]}


@pytest.mark.parametrize("name", CASES)
def test_message_is_the_golden_one(name: str, update_golden: bool) -> None:
    if update_golden:
        pytest.skip("written by test_messages_are_complete")
    assert _entry(name) == _golden().get(name), "see the difference, then run pytest tests/gallery --update-golden"


def test_messages_are_complete(update_golden: bool) -> None:
    if update_golden:
        _GOLDEN.write_text("\n".join(map(_entry, CASES)), encoding="utf-8")
    assert list(_golden()) == list(CASES), "run pytest tests/gallery --update-golden"


def test_every_message_says_where_and_what_to_do() -> None:
    """Of errors in a system of equations: those of single values name the value."""
    for name, function in CASES.items():
        message = _message(function)
        if f"{name}+" in message:
            assert "where:" in message
            assert "remedy:" in message, name

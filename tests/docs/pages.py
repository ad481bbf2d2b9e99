"""Pages of documentation as programs: their Python blocks, what these print, and whether the page says so.

The ```python blocks of a page run one after another in one namespace, as if a reader had saved them as one file named
after the page. A ```text block that follows one shows what it prints.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The plan of the whole package: its block lists the public names, with those that later versions add.
PLANS = (ROOT / "docs" / "architecture.md",)
PAGES = tuple(p for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if p not in PLANS)

# Figures are drawn in the look of the documentation, whatever the reader's own.
STYLE = ROOT / "docs" / "figures.mplstyle"

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w.]*\w)")
# Lines of a solution's story, whose counts move with the rounding of a processor.
_STORY = re.compile(r"\s+(?:steps|course) ")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where that starts and ends in the page."""

    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Output:
    """What a Python block printed, and the text block that shows it, if there is one."""

    block: Block
    printed: str
    shown: Block | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(m["language"], m["text"], m.start("text"), m.end("text")) for m in _FENCE.finditer(page)]


def run(page: str, name: str, folder: Path) -> Iterator[Output]:
    """Run the Python blocks of a page in `folder`, and give what each prints.

    Arguments:

    - `page`: the text of the page.
    - `name`: of the file that the blocks make together, as tracebacks and errors of symdeq show it.
    - `folder`: where that file is written and the blocks run.
    """
    found = blocks(page)
    program = [block for block in found if block.language == "python"]
    file = folder / f"{name}.py"
    file.write_text("\n".join(block.text for block in program))
    namespace = {"__name__": "__main__", "__file__": str(file)}
    line = 0
    for i, block in enumerate(found):
        if block.language != "python":
            continue
        code = compile("\n" * line + block.text, str(file), "exec")
        line += block.text.count("\n") + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), _inside(folder):
            exec(code, namespace)
        after = found[i + 1] if i + 1 < len(found) else None
        yield Output(block, printed.getvalue(), after if after and after.language == "text" else None)


def agree(shown: str, printed: str) -> bool:
    """Whether a text block shows what was printed: the same words, and numbers equal up to what machines differ in.

    A line `...` stands for any lines. Whole numbers are equal, and others agree to three digits or the last one shown;
    in the story of a solve, counts of steps and times of switching agree to a quarter.
    """
    return _lines_agree(_lines(shown), _lines(printed))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def _lines_agree(shown: list[str], printed: list[str]) -> bool:
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(_lines_agree(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and _line_agrees(shown[0], printed[0]) and _lines_agree(shown[1:], printed[1:])


def _line_agrees(shown: str, printed: str) -> bool:
    words = [" ".join(_NUMBER.sub("#", line).split()) for line in (shown, printed)]
    numbers = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=False)
    return words[0] == words[1] and all(_close(a, b, bool(_STORY.match(shown))) for a, b in numbers)


def _close(a: str, b: str, story: bool) -> bool:
    if story:
        return math.isclose(float(a), float(b), rel_tol=0.25, abs_tol=3)
    if a.lstrip("+-").isdigit():
        return a == b
    last = float(Decimal(1).scaleb(int(Decimal(a).as_tuple().exponent)))
    return math.isclose(float(a), float(b), rel_tol=1e-3, abs_tol=1.5 * last)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

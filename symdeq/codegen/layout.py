"""Lines of Python no longer than 120 characters, broken where a formatter would break them."""

from __future__ import annotations

WIDTH = 120


def assignment(target: str, value: str, indent: int) -> list[str]:
    """`target = value`, over several lines in parentheses if it is too long for one."""
    pad = " " * indent
    if len(line := f"{pad}{target} = {value}") <= WIDTH:
        return [line]
    if _operators(value):
        return [f"{pad}{target} = (", *broken(value, indent + 4), f"{pad})"]
    first, *rest = broken(value, indent)
    return [f"{pad}{target} = {first.lstrip()}", *rest]


def broken(text: str, indent: int) -> list[str]:
    """An expression over as few lines as its operators and brackets allow."""
    pad = " " * indent
    if len(pad) + len(text) <= WIDTH:
        return [pad + text]
    if cuts := _operators(text):
        parts = [text[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return [line for part in parts for line in _operand(part, indent)]
    return _call(text, indent)


def _operand(text: str, indent: int) -> list[str]:
    """One part of a broken sum or product: an operator in front, then something that may itself be broken."""
    if len(text) + indent <= WIDTH:
        return [" " * indent + text]
    sign = text[:2] if text[:2] in ("+ ", "- ", "* ", "/ ", "| ", "& ", "^ ") else ""
    rest = text[len(sign) :]
    if _operators(rest):
        inner = [f"{' ' * indent}{sign}(", *broken(rest, indent + 4), f"{' ' * indent})"]
        return inner if sign else broken(rest, indent)
    first, *lines = _call(rest, indent)
    return [" " * indent + sign + first.lstrip(), *lines]


def _call(text: str, indent: int) -> list[str]:
    """`name(a, b)tail`, an argument a line."""
    pad = " " * indent
    start = text.find("(")
    end = _closing(text, start) if start >= 0 else -1
    if end < 0:
        return [pad + text]
    arguments = _split(text[start + 1 : end], (", ",))
    lines = [f"{pad}{text[: start + 1]}"]
    for argument in arguments:
        inner = broken(argument, indent + 4)
        if len(arguments) > 1:
            if len(inner) > 1 and _operators(argument):
                inner = [f"{' ' * (indent + 4)}(", *broken(argument, indent + 8), f"{' ' * (indent + 4)})"]
            inner[-1] += ","
        lines += inner
    return [*lines, f"{pad}){text[end + 1 :]}"]


def filled(items: list[str], indent: int) -> list[str]:
    """Comma-separated items, as many in each line as fit."""
    lines, line = [], " " * indent
    for item in items:
        if line.strip() and len(line) + len(item) + 2 > WIDTH:
            lines.append(line.rstrip())
            line = " " * indent
        line += f"{item}, "
    return [*lines, line.rstrip()] if line.strip() else lines


def in_brackets(head: str, items: list[str], tail: str, indent: int) -> list[str]:
    """`head(a, b)tail` as a tuple: in one line if it fits, otherwise filled lines between the brackets."""
    pad = " " * indent
    inner = f"{items[0]}," if len(items) == 1 else ", ".join(items)
    if len(line := f"{pad}{head}({inner}){tail}") <= WIDTH:
        return [line]
    return [f"{pad}{head}(", *filled(items, indent + 4), f"{pad}){tail}"]


def _operators(text: str) -> list[int]:
    """Where to break: before the outermost operators of lowest precedence."""
    for group in ((" | ",), (" ^ ",), (" & ",), (" + ", " - "), (" * ", " / ")):
        if cuts := _positions(text, group):
            return cuts
    return []


def _positions(text: str, separators: tuple[str, ...]) -> list[int]:
    depth, found = 0, []
    for i, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and letter == " " and text[i : i + 3] in separators:
            found.append(i)
    return found


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    depth, parts, start = 0, [], 0
    for i, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and text[i : i + 2] in separators:
            parts.append(text[start:i])
            start = i + 2
    return [*parts, text[start:]]


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return -1

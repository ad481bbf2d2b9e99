"""Data from outside, taken apart with its types checked: what is wrong with it becomes one sentence."""

from __future__ import annotations

import re
from typing import Any, TypeVar, overload

from symdeq._errors import ModelError

_T = TypeVar("_T")
_U = TypeVar("_U")
# What could end a line where the text is shown later.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def damaged(what: str) -> ModelError:
    """The error for data that `save` does not write."""
    return ModelError(
        f"A saved file is damaged or was changed by other means than sd.save: {what}.",
        remedy="take an undamaged copy, or save the model again",
    )


@overload
def checked(value: Any, kind: type[_T], what: str) -> _T: ...
@overload
def checked(value: Any, kind: tuple[type[_T], type[_U]], what: str) -> _T | _U: ...
def checked(value: Any, kind: Any, what: str) -> Any:
    """The value itself, where it is of the kind asked for, or of one of them; else the error of a damaged file.

    Arguments:

    - `value`: what was read.
    - `kind`: a type of `_NAMES`, or several; `True` and `False` are of the kind `bool` only, and no whole numbers.
    - `what`: what the error calls the value.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
        wanted = " or ".join(_NAMES.get(k, "nothing") for k in kinds)
        raise damaged(f"{what} should be {wanted}, and is {_brief(value)}")
    return value


def field(data: Any, name: str, kind: Any, of: str) -> Any:
    """One named part of an object; `of` names the object in the error."""
    if name not in checked(data, dict, of):
        raise damaged(f"{of} has no `{name}`")
    return checked(data[name], kind, f"`{name}` of {of}")


def listed(value: Any, kind: Any, what: str) -> list[Any]:
    """A list whose elements are all of these kinds."""
    return [checked(element, kind, f"an element of {what}") for element in checked(value, list, what)]


def position(value: Any, count: int, what: str) -> int:
    """A whole number from 0 below `count`."""
    if not 0 <= checked(value, int, what) < count:
        raise damaged(f"{what} is number {value} of {count}")
    return value


def line(value: Any, what: str) -> str:
    """A text of one line."""
    if _CONTROL.search(checked(value, str, what)):
        raise damaged(f"{what} contains characters that are not text")
    return value


def as_line(text: str) -> str:
    """A text as `line` accepts it."""
    return _CONTROL.sub(" ", text)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."

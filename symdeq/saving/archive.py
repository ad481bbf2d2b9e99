"""The container of a saved file: a zip archive of one description in JSON and of arrays, each in NumPy's own format.

Members are stored as they are, without compression, at a fixed time: equal content gives equal bytes, and nothing in a
file can be larger than the file. Arrays are read by what the description says of them, and never by pickle.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError, UnsupportedError
from symdeq.saving.fields import checked, damaged, field, listed

DESCRIPTION = "symdeq.json"
_TIME = (1980, 1, 1, 0, 0, 0)
# Types of arrays that are saved. NumPy's format has no name for bfloat16; its bits are written as whole numbers.
_TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_WRITTEN_AS = {**{name: np.dtype(name).newbyteorder("<") for name in _TYPES}, "bfloat16": np.dtype("<u2")}
# What damaged archives make Python's reader raise, besides its own error.
_UNREADABLE = (
    zipfile.BadZipFile,
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError, struct.error, MemoryError),
    *(KeyError, IndexError),
)


@dataclass(frozen=True)
class ArrayWriter:
    """The arrays of a file while it is put together."""

    arrays: dict[str, np.ndarray] = dataclass_field(default_factory=dict)
    types: dict[str, dict[str, Any]] = dataclass_field(default_factory=dict)

    def add(self, array: Any, of: str) -> str:
        """Take an array in; returns the name by which the description refers to it. `of` names it in errors."""
        try:
            values = np.asarray(array)
        except TypeError:
            raise UnsupportedError(
                f"{of} is an array of the type {array.dtype}, which cannot be saved.", remedy="save jax.random.key_data"
            ) from None
        dtype = values.dtype.name
        if dtype not in _WRITTEN_AS:
            raise UnsupportedError(
                f"{of} is an array of the type {dtype}, which cannot be saved.",
                remedy=f"use one of {', '.join(_WRITTEN_AS)}",
            )
        name = f"arrays/{len(self.arrays)}.npy"
        plain = values.view(np.uint16) if dtype == "bfloat16" else values
        self.arrays[name] = np.asarray(plain, _WRITTEN_AS[dtype], order="C")
        self.types[name] = {"dtype": dtype, "shape": list(values.shape)}
        return name


def write(path: Path, description: Mapping[str, Any], arrays: ArrayWriter) -> None:
    """Write a file as a whole or not at all. Raises `ModelError` where it cannot be written."""
    # What holds these texts is ASCII, so that no reader has to guess; a number that JSON lacks would be a defect here.
    text = json.dumps({**description, "arrays": arrays.types}, allow_nan=False, separators=(",", ":"))
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_member(DESCRIPTION), text)
                for name, array in arrays.arrays.items():
                    content = io.BytesIO()
                    np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
                    archive.writestr(_member(name), content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise ModelError(
            f"The file cannot be written: {error.strerror or error}.",
            remedy="give a path in an existing, writable folder",
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIME)
    info.create_system = 3  # of permissions as Unix has them, whatever wrote it
    info.external_attr = 0o644 << 16
    return info


@dataclass(frozen=True)
class Archive:
    """A file that is open for reading: its description, and its arrays by name."""

    description: dict[str, Any]
    _zip: zipfile.ZipFile
    _members: Mapping[str, zipfile.ZipInfo]

    def array(self, name: Any) -> np.ndarray:
        """An array, of the type and shape that the description gives."""
        said = field(
            field(self.description, "arrays", dict, "the description"),
            checked(name, str, "an array"),
            dict,
            "the arrays",
        )
        dtype = field(said, "dtype", str, f"the array {name[:40]!r}")
        shape = tuple(listed(field(said, "shape", list, f"the array {name[:40]!r}"), int, "a shape"))
        if dtype not in _WRITTEN_AS or any(n < 0 for n in shape):
            raise damaged(f"the array {name[:40]!r} has the type {dtype[:40]!r} and the shape {shape}")
        content = io.BytesIO(_content(self._zip, self._members, name))
        found = _npy_header(content, name)
        if found != (shape, False, _WRITTEN_AS[dtype]):
            raise damaged(f"the array {name!r} is not of the type {dtype} and the shape {shape}")
        raw = content.read()
        if len(raw) != math.prod(shape) * _WRITTEN_AS[dtype].itemsize:
            raise damaged(f"the array {name!r} has {len(raw)} bytes, which does not fit its shape {shape}")
        values = np.frombuffer(raw, _WRITTEN_AS[dtype]).reshape(shape)
        return values.view(jnp.bfloat16) if dtype == "bfloat16" else values.astype(dtype)

    def dtypes(self) -> Iterator[str]:
        """The types of all arrays."""
        for said in field(self.description, "arrays", dict, "the description").values():
            yield field(said, "dtype", str, "an array")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A file for reading. Raises `ModelError` for anything that `write` does not give, as far as it is read."""
    if not path.is_file():
        raise ModelError(
            "There is no such file." if not path.exists() else "This is no file.",
            remedy="give the path that sd.save was given",
        )
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        _unreadable(error)
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        if DESCRIPTION not in members:
            raise _foreign("a zip archive without a description of symdeq")
        description = _description(_content(archive, members, DESCRIPTION))
        if len(members) != len(archive.infolist()):
            raise damaged("two members have one name")
        yield Archive(description=description, _zip=archive, _members=members)


def check_members(archive: Archive) -> None:
    """Raise `ModelError` where members and description do not fit together."""
    said = {DESCRIPTION, *field(archive.description, "arrays", dict, "the description")}
    if missing := sorted(said - archive._members.keys()):
        raise damaged(f"the array {missing[0][:40]!r} is missing")
    if more := sorted(archive._members.keys() - said):
        raise damaged(f"it contains {more[0][:40]!r}, which does not belong there")


def _content(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    info = members.get(name)
    if info is None:
        raise damaged(f"{name[:40]!r} is missing")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise damaged(f"{name!r} is compressed")
    try:
        return archive.read(info)
    except _UNREADABLE as error:
        _unreadable(error)


def _npy_header(content: io.BytesIO, name: str) -> tuple[Any, ...]:
    """Shape, order and type that a member in NumPy's format says it has."""
    try:
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError
        return np.lib.format.read_array_header_1_0(content)
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, RecursionError, MemoryError):
        raise damaged(f"{name!r} is no array in NumPy's format") from None


def _description(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content.decode(), parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise damaged("its description is nested too deeply") from None
    except ValueError as error:
        raise damaged(f"its description is no JSON ({str(error).splitlines()[0]})") from None
    return checked(data, dict, "the description")


def _not_json(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no finite number")
    return value


def _unreadable(error: Exception) -> NoReturn:
    if isinstance(error, zipfile.BadZipFile) and "CRC" not in str(error) and "name" not in str(error):
        raise _foreign(f"not a zip archive, or only a part of one ({error})") from None
    raise damaged(f"the archive cannot be read ({error})") from None


def _foreign(what: str) -> ModelError:
    return ModelError(f"This is no file of sd.save: {what}.", remedy="give a file that sd.save wrote, and all of it")

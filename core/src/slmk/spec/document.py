"""TOML files into one tree of plain values that remembers where each of them stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import tomli

from slmk.component import KINDS_BY_SECTION
from slmk.errors import Problem
from slmk.spec.lines import KeyPath, key_lines
from slmk.spec.words import value_words

__all__ = ["COMMAND_LINE", "Document", "Place", "dotted", "from_mapping", "is_component", "read"]

_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


def dotted(path: KeyPath) -> str:
    """A path as a user writes it."""
    return ".".join(map(str, path))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from."""

    file: str | None = None
    """The file, or None for the command line and for values given in Python."""
    line: int | None = None
    origin: str = ""
    """What to say instead of a file."""

    def __str__(self) -> str:
        return self.origin if self.file is None else ":".join(str(x) for x in (self.file, self.line) if x is not None)

    def problem(self, message: str, path: KeyPath = (), **facts: str | None) -> Problem:
        """A problem with what stands here."""
        return Problem(message, dotted(path), self.file, self.line, **facts)


COMMAND_LINE: Final = Place(origin="-s")


@dataclass(frozen=True, slots=True)
class Document:
    """A tree of TOML values and the place of each key."""

    data: dict[str, Any]
    places: dict[KeyPath, Place]
    """Places by path; also of keys that a later layer has replaced."""
    plugins: tuple[tuple[Path, Place], ...] = ()
    """Python files with plugins that this document and those it extends name."""
    text: str = ""
    """The file's verbatim text."""

    def place(self, path: KeyPath) -> Place:
        """The place of a key, or of the nearest table around it that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place())


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known while files are read."""

    problems: list[Problem]
    chain: tuple[Path, ...] = ()
    """The files that are being read, outermost first."""


def read(path: Path, problems: list[Problem]) -> Document:
    """A file merged over those that it extends. Mistakes are added to `problems`."""
    return _read(path, _Reading(problems))


def from_mapping(data: Mapping[str, Any], problems: list[Problem]) -> Document:
    """Values given in Python, as if they stood in a file in the current directory."""
    document = Document(_plain(data), {(): Place(origin="Python")}, text=_text(data))
    return _extend(document, Path(), _Reading(problems))


def _text(data: Mapping[str, Any]) -> str:
    import tomli_w

    try:
        return tomli_w.dumps(data)
    except (TypeError, ValueError, AttributeError):  # Not TOML: then it has problems, and no text is needed.
        return ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _read(path: Path, reading: _Reading) -> Document:
    text = _read_text(path, reading.problems)
    document = _parse(text, str(path), reading.problems)
    return _extend(document, path.parent, replace(reading, chain=(*reading.chain, _resolved(path))))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # A circle of links, or a name with a NUL character.
        return path.absolute()


def _read_text(path: Path, problems: list[Problem]) -> str:
    place = Place(str(path))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(replace(place, line=line).problem("not valid UTF-8", hint="save the file as UTF-8"))
    except (OSError, ValueError) as error:  # ValueError: the name holds a NUL character.
        problems.append(place.problem(f"cannot be read: {getattr(error, 'strerror', None) or error}"))
    return ""


def _parse(text: str, file: str, problems: list[Problem]) -> Document:
    place = Place(file)
    try:
        data, lines = tomli.loads(text), key_lines(text)
    except RecursionError:
        problems.append(place.problem("values are nested too deeply"))
    except ValueError as error:  # TOMLDecodeError, and a plain ValueError for a number of thousands of digits.
        at = _AT_LINE.search(str(error))
        line = int(at.group(1)) if at else text.count("\n") + 1
        problems.append(replace(place, line=line).problem(f"not valid TOML: {_AT_LINE.sub('', str(error))}"))
    else:
        places = {path: Place(file, line) for path, line in lines.items()}
        return Document(data, {(): place, **places}, text=text)
    return Document({}, {(): place}, text=text)


def _extend(document: Document, directory: Path, reading: _Reading) -> Document:
    """Merge a document over those it extends, and take out the keys `extends` and `plugins`."""
    data = dict(document.data)
    bases = _paths(document, "extends", data.pop("extends", ()), reading.problems)
    files = _paths(document, "plugins", data.pop("plugins", ()), reading.problems)
    plugins = tuple((_resolved(directory / name), place) for name, place in files)
    merged = Document({}, {})
    for name, place in bases:
        merged = _merge(merged, _base(directory / name, place, reading))
    return _merge(merged, replace(document, data=data, plugins=plugins))


def _paths(document: Document, key: str, value: Any, problems: list[Problem]) -> list[tuple[str, Place]]:
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list | tuple) and all(isinstance(item, str) for item in values):
        return [(item, document.place((key, index))) for index, item in enumerate(values)]
    expected = "a path or a list of paths"
    problems.append(document.place((key,)).problem("wrong type", (key,), expected=expected, found=value_words(value)))
    return []


def _base(path: Path, place: Place, reading: _Reading) -> Document:
    if _resolved(path) in reading.chain:
        circle = " → ".join(file.name for file in (*reading.chain, _resolved(path)))
        reading.problems.append(place.problem(f"the files extend each other in a circle: {circle}", ("extends",)))
    elif not path.is_file():
        reading.problems.append(place.problem(f"there is no file {path}", ("extends",)))
    else:
        base = _read(path, reading)
        data = {key: value for key, value in base.data.items() if key != "name"}  # A name belongs to its own file.
        return replace(base, data=data)
    return Document({}, {})


def _merge(base: Document, child: Document) -> Document:
    plugins = tuple(dict((*base.plugins, *child.plugins)).items())
    data = _merge_tables(base.data, child.data, ())
    return Document(data, {**base.places, **child.places}, plugins, child.text)


def _merge_tables(base: dict[str, Any], child: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Tables merge, all else is replaced. Where the child names another component, the base's options go with it."""
    if is_component(path) and "name" in base and child.get("name", base["name"]) != base["name"]:
        return child
    merged = dict(base)
    for key, value in child.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge_tables(old, value, (*path, key))
        else:
            merged[key] = value
    return merged


def is_component(path: KeyPath) -> bool:
    """Whether a table chooses a component by its key ``name``."""
    kind = KINDS_BY_SECTION.get(str(path[0])) if path else None
    return kind is not None and len(path) == (1 if kind.form == "one" else 2)

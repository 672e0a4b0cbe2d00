"""Where each key of a TOML text stands. The standard parser tells positions only of syntax errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import tomli

__all__ = ["KeyPath", "key_lines"]

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables and indices of arrays."""

_TOKEN: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?!")'''  # Strings of several lines; a quote more may belong to the string.
    r"""|'''.*?'''(?!')"""
    r"""|"(?:\\.|[^"\\\n])*"|'[^'\n]*'"""
    r"""|\#[^\n]*|\n|[\[\]{}=,.]|[^\s\[\]{}=,."'#]+""",
    re.DOTALL,
)
_END: Final = ""


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key, table header and array element of a valid TOML text.

    Of a text that is not valid TOML it returns what it understands. It never raises.
    """
    scanner = _Scanner(text)
    # Positions are a courtesy: the parser has the say about what is valid.
    with suppress(RecursionError, StopIteration, ValueError, IndexError):
        scanner.scan()
    return scanner.lines


class _Scanner:
    """Recursive descent over tokens, keeping the path of what is being read."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens = _tokens(text)
        self._token, self._line = next(self._tokens)
        self._array_sizes: dict[KeyPath, int] = {}

    def scan(self) -> None:
        table: KeyPath = ()
        while self._token != _END:
            if self._token == "[":
                table = self._header()
            elif self._token == "\n":
                self._advance()
            else:
                self._pair(table)

    def _advance(self) -> str:
        token = self._token
        self._token, self._line = next(self._tokens)
        return token

    def _skip_newlines(self) -> None:
        while self._token == "\n":
            self._advance()

    def _header(self) -> KeyPath:
        line = self._line
        self._advance()
        is_array = self._token == "["
        if is_array:
            self._advance()
        path = self._resolve(self._key("]"))
        if is_array:
            index = self._array_sizes.get(path, 0)
            self._array_sizes[path] = index + 1
            self.lines.setdefault(path, line)
            path = (*path, index)
        while self._token == "]":
            self._advance()
        self._mark(path, line)
        return path

    def _resolve(self, keys: KeyPath) -> KeyPath:
        """Headers name the last element of an array of tables without its index; put the indices in."""
        path: KeyPath = ()
        for depth, key in enumerate(keys):
            path = (*path, key)
            if depth + 1 < len(keys) and path in self._array_sizes:
                path = (*path, self._array_sizes[path] - 1)
        return path

    def _key(self, end: str) -> KeyPath:
        parts: list[str | int] = []
        while self._token not in (end, _END, "\n"):
            token = self._advance()
            if token != ".":
                parts.append(_unquote(token))
        return tuple(parts)

    def _pair(self, table: KeyPath) -> None:
        line = self._line
        path = (*table, *self._key("="))
        if self._advance() == "=":
            self._mark(path, line, above=len(table))
            self._value(path)

    def _mark(self, path: KeyPath, line: int, above: int = 0) -> None:
        """Note the line of a key, and of the tables that a dotted key makes on its way."""
        for depth in range(above + 1, len(path)):
            self.lines.setdefault(path[:depth], line)
        self.lines[path] = line

    def _value(self, path: KeyPath) -> None:
        if self._token == "[":
            self._array(path)
        elif self._token == "{":
            self._inline_table(path)
        else:
            while self._token not in (",", "]", "}", "\n", _END):
                self._advance()

    def _array(self, path: KeyPath) -> None:
        self._advance()
        index = 0
        self._skip_newlines()
        while self._token not in ("]", _END):
            self.lines[(*path, index)] = self._line
            self._value((*path, index))
            self._skip_newlines()
            if self._token == ",":
                self._advance()
                index += 1
            elif self._token != "]":
                return
            self._skip_newlines()
        self._advance()

    def _inline_table(self, path: KeyPath) -> None:
        self._advance()
        self._skip_newlines()
        while self._token not in ("}", _END):
            self._pair(path)
            self._skip_newlines()
            if self._token == ",":
                self._advance()
            elif self._token != "}":
                return
            self._skip_newlines()
        self._advance()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line, position = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        if not match.group().startswith("#"):
            yield match.group(), line
    yield _END, line


def _unquote(key: str) -> str:
    return str(tomli.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key

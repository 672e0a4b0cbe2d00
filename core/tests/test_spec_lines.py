"""Lines of keys, against a text whose lines were counted by hand."""

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from slmk.spec.lines import key_lines

TEXT = '''\
title = "a # b"  # [no]
a.b."c d" = 1

[table]
list = [
  1, # one
  { x = 2, y = [
    3 ] },
]
text = """
[not.a.header]
key = 1
a quote at the end """"
literal = \'\'\'
x = 1\'\'\'
["quoted . key".inner]
k = { p = 1, q.r = 2 }
[[array]]
v = 1
[array.sub]
w = 1
[[array]]
v = 2
[[array.deep]]
z = "]"
'''


def test_every_key_has_its_line():
    """Headers, dotted and quoted keys, nested arrays, inline tables, strings of several lines, arrays of tables."""
    assert tomli.loads(TEXT)
    lines = key_lines(TEXT)
    expected = {
        ("title",): 1,
        ("a",): 2,
        ("a", "b", "c d"): 2,
        ("table",): 4,
        ("table", "list"): 5,
        ("table", "list", 0): 6,
        ("table", "list", 1, "x"): 7,
        ("table", "list", 1, "y", 0): 8,
        ("table", "text"): 10,
        ("table", "literal"): 14,
        ("quoted . key", "inner"): 16,
        ("quoted . key", "inner", "k", "q", "r"): 17,
        ("array", 0): 18,
        ("array", 0, "v"): 19,
        ("array", 0, "sub", "w"): 21,
        ("array", 1): 22,
        ("array", 1, "v"): 23,
        ("array", 1, "deep", 0): 24,
        ("array", 1, "deep", 0, "z"): 25,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert ("not", "a", "header") not in lines


def leaves(node, path=()):
    """The paths of all values of a parsed text."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


def test_no_value_of_the_text_is_left_out():
    """Every path of the parsed text has a line."""
    assert set(leaves(tomli.loads(TEXT))) - {()} <= set(key_lines(TEXT))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab.=[]{}\"'#\n\\, 1"), max_size=60))
def test_it_never_raises_and_is_complete_for_valid_toml(text):
    """Any text is taken; of a text that is TOML every value has a line within it."""
    lines = key_lines(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    try:
        data = tomli.loads(text)
    except ValueError:
        return
    assert set(leaves(data)) - {()} <= set(lines)

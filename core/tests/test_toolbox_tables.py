"""Nested tables by dotted keys."""

from slmk.toolbox.tables import flattened


def test_tables_and_dotted_keys_are_the_same():
    """At any depth, in order; an empty table says nothing."""
    nested = {"a": 1, "b": {"c": {"d": [2]}, "e": {}}, "f.g": {"h": None}}
    assert flattened(nested) == {"a": 1, "b.c.d": [2], "f.g.h": None}
    assert list(flattened(nested)) == ["a", "b.c.d", "f.g.h"]

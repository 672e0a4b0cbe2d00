"""Pure functions that several algorithms share, one subject per module, each with known-answer tests."""

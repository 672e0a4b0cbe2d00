"""The log of values that few rows have."""

import pytest
import torch

from slmk_memory_replay.storage import Log

SIZE, NUMBERS = 10, torch.tensor([3, 4, 8, 11, 12])
"""Rows of the ring, and the numbers that have a value: in rows 3, 4, 8, 1 and 2."""


@pytest.mark.parametrize("way", ["_replace_few", "_replace_masked"])
@pytest.mark.parametrize(("oldest", "logged"), [(0, (3, 4, 8)), (3, (3, 4, 8, 1, 2)), (4, (4, 8, 1, 2))])
def test_values_are_replaced_by_those_of_the_log(way, oldest, logged):
    """One by one as on a CPU, and by masks as on an accelerator: those asked for that are logged, and no others."""
    log = Log({"obs": torch.empty(0, 2)}, SIZE)
    log.append(NUMBERS, {"obs": torch.stack([NUMBERS, -NUMBERS], -1).float()}, 0)
    row = torch.tensor([8, 0, 1, 2, 3, 4, 4, 5])
    where = torch.tensor([True, True, True, False, True, True, False, True])
    values = {"obs": torch.full((8, 2), 99.0)}
    getattr(log, way)(values, row, where, oldest)
    for place, number in enumerate(row.tolist()):
        held = number if number >= oldest else number + SIZE
        expected = [held, -held] if where[place] and number in logged else [99, 99]
        assert values["obs"][place].tolist() == expected

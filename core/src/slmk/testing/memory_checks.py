"""Checks of the promises that every memory makes, one function per promise."""

from __future__ import annotations

from typing import Any, cast

import torch

from slmk.batch import Transition
from slmk.config import MemoryConfig
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.memory_feed import CAPACITY, HORIZON, assert_true, build_memory, fill, number_of
from slmk.testing.subject import Skip, Subject

__all__ = [
    "MEMORY_CHECKS",
    "check_memory_feedback",
    "check_memory_forgets_the_oldest",
    "check_memory_forgets_what_was_taken",
    "check_memory_keeps_tensors",
    "check_memory_order",
    "check_memory_random_streams",
    "check_memory_state_round_trip",
    "check_memory_transitions_are_true",
    "check_memory_uniform",
]

_BATCH = 64


def check_memory_transitions_are_true(subject: Subject) -> None:
    """Each transition comes out as it went in, dtype included, and at an episode's end `next_obs` is the last one."""
    for num_envs in (1, 4):
        memory = fill(build_memory(subject, num_envs), num_envs, steps=HORIZON)
        batch = _get(subject, memory)
        assert batch.reward.dtype == torch.float32, f"reward is {batch.reward.dtype}, but float32 was added"
        assert_true(batch, num_envs)


def check_memory_order(subject: Subject) -> None:
    """`take` gives all that was added, in order, with axes (T, N, …)."""
    _needs(subject, "take")
    for num_envs in (1, 4):
        batch = fill(build_memory(subject, num_envs), num_envs, steps=HORIZON).take()
        expected = torch.arange(HORIZON * num_envs, dtype=torch.float32).view(HORIZON, num_envs)
        shape = tuple(batch.reward.shape)
        assert shape == tuple(expected.shape), f"rewards have shape {shape}, expected (T, N) = {tuple(expected.shape)}"
        assert equal(batch.reward, expected), f"the order is {batch.reward.tolist()}, expected {expected.tolist()}"


def check_memory_forgets_what_was_taken(subject: Subject) -> None:
    """A second `take` gives what was added since the first, and nothing else."""
    _needs(subject, "take")
    memory = fill(build_memory(subject, 2), 2, steps=HORIZON)
    memory.take()
    again = fill(memory, 2, steps=HORIZON, start=HORIZON).take()
    found, expected = sorted(number_of(again).flatten().int().tolist()), list(range(2 * HORIZON, 4 * HORIZON))
    assert found == expected, f"the second take gives the transitions {found}, expected {expected}"


def check_memory_forgets_the_oldest(subject: Subject) -> None:
    """A full memory holds the most recent `capacity` transitions, and all of them can be drawn."""
    _needs(subject, "sample")
    if "capacity" not in subject.component.config.model_fields:
        raise Skip("it has no option capacity")
    capacity = subject.options.get("capacity", CAPACITY)
    added = 2 * capacity + capacity // 2
    memory = fill(build_memory(subject, 2), 2, steps=added // 2)
    drawn = memory.sample(40 * capacity)
    assert_true(drawn, 2)
    expected = set(range(added - capacity, added))
    found = set(number_of(drawn).int().tolist())
    assert found <= expected, f"transition {min(found)} of {added} was drawn, but only {capacity} are to be kept"
    assert found == expected, f"of the latest {capacity} transitions only {len(found)} can be drawn"


def check_memory_uniform(subject: Subject) -> str:
    """Before any `feedback`, each transition is as likely as another: chi-square below its 1 in 100 000 quantile."""
    _needs(subject, "sample")
    memory = fill(build_memory(subject, 2), 2, steps=6)
    counts = torch.bincount(number_of(memory.sample(12_000)).long(), minlength=12).double()
    chi_square = ((counts - 1000).square() / 1000).sum().item()
    # The quantile of chi-square with 11 degrees of freedom at 1 - 1e-5.
    assert chi_square < 43.2, f"of 12 transitions in 12000 draws came {counts.int().tolist()}"
    return f"chi-square {chi_square:.1f} with 11 degrees of freedom"


def check_memory_keeps_tensors(subject: Subject) -> None:
    """What was handed in is not written to, and what was handed out never changes later."""
    memory = build_memory(subject, 2)
    recorder = _Recorder(memory)
    fill(recorder, 2, steps=HORIZON)
    batch = _get(subject, memory)
    before = copy_of(_tree(batch))
    fill(recorder, 2, steps=3 * HORIZON, start=HORIZON)
    _get(subject, memory)
    fill(recorder, 2, steps=HORIZON, start=4 * HORIZON)
    changed = first_difference(before, _tree(batch))
    assert changed is None, f"{changed} of a transition that was handed out was overwritten later; hand out copies"
    changed = first_difference(recorder.copies, recorder.added)
    assert changed is None, f"a tensor that was added was written to: {changed}"


def check_memory_random_streams(subject: Subject) -> None:
    """Draws come from the given generator alone."""
    _needs(subject, "sample")
    before = torch.get_rng_state()
    draws = [number_of(fill(build_memory(subject, 2, seed), 2, steps=6).sample(_BATCH)) for seed in (1, 1, 2)]
    assert equal(torch.get_rng_state(), before), "torch's global generator was used; draw from the given one"
    assert equal(draws[0], draws[1]), "two memories with generators of one seed draw different samples"
    assert not equal(draws[0], draws[2]), "the samples do not depend on the generator"


def check_memory_feedback(subject: Subject) -> None:
    """`feedback` takes the batch that was drawn and its errors (B,), and draws go on afterwards."""
    _needs(subject, "sample")
    memory = fill(build_memory(subject, 2), 2, steps=6)
    batch = memory.sample(_BATCH)
    memory.feedback(batch, torch.linspace(0, 3, _BATCH))
    assert_true(memory.sample(_BATCH), 2)


def check_memory_state_round_trip(subject: Subject) -> None:
    """A memory restored from a checkpoint in the middle of a rollout goes on as if nothing had happened."""
    straight = fill(build_memory(subject, 2, seed=1), 2, steps=3)
    if _offers(subject) == "sample":
        straight.sample(_BATCH)
    restored = build_memory(subject, 2, seed=1)
    set_state(restored, through_a_file(get_state(straight)))
    expected, found = (_tree(_get(subject, fill(memory, 2, steps=2, start=3))) for memory in (straight, restored))
    difference = first_difference(expected, found)
    assert difference is None, f"{difference} differs after restoring the state in the middle of a rollout"


class _Recorder:
    """Passes `add` on, and remembers what was added."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.added: list[Any] = []
        self.copies: list[Any] = []

    def add(self, obs: Any, act: Any, step: Any) -> None:
        tensors = [obs, act.action, act.extras, step.obs, step.final_obs, step.reward, step.terminated, step.truncated]
        self.added.append(tensors)
        self.copies.append(copy_of(tensors))
        self._memory.add(obs, act, step)


def _get(subject: Subject, memory: Any) -> Transition:
    """What the memory hands out: all of it, or a batch."""
    taken: Transition = memory.take() if _offers(subject) == "take" else memory.sample(_BATCH)
    if _offers(subject) == "sample":
        assert taken.reward.shape == (_BATCH,), f"rewards have shape {tuple(taken.reward.shape)}, expected (B,)"
    return taken


def _tree(batch: Transition) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in Transition.__slots__}


def _offers(subject: Subject) -> str:
    return cast("type[MemoryConfig]", subject.component.config).offers


def _needs(subject: Subject, offered: str) -> None:
    if _offers(subject) != offered:
        raise Skip(f"it offers {_offers(subject)}, not {offered}")


MEMORY_CHECKS = (
    check_memory_transitions_are_true,
    check_memory_order,
    check_memory_forgets_what_was_taken,
    check_memory_forgets_the_oldest,
    check_memory_uniform,
    check_memory_keeps_tensors,
    check_memory_random_streams,
    check_memory_feedback,
    check_memory_state_round_trip,
)
"""All of these checks; those that a memory does not offer are skipped."""

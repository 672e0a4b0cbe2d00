"""Checks of the promises that every memory makes, one function per promise."""

from __future__ import annotations

from typing import Any, cast

import torch

from slmk.batch import Sample, Transition
from slmk.config import MemoryConfig
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.memory_feed import (
    BATCH,
    CAPACITY,
    HORIZON,
    assert_n_step,
    assert_true,
    build_memory,
    draw,
    fill,
    number_of,
)
from slmk.testing.subject import Skip, Subject

__all__ = [
    "MEMORY_CHECKS",
    "check_memory_at_any_time",
    "check_memory_empty",
    "check_memory_feedback",
    "check_memory_forgets_the_oldest",
    "check_memory_forgets_what_was_taken",
    "check_memory_keeps_tensors",
    "check_memory_n_step",
    "check_memory_order",
    "check_memory_random_streams",
    "check_memory_sample_fields",
    "check_memory_state_round_trip",
    "check_memory_transitions_are_true",
    "check_memory_uniform",
]


_GAMMA = 0.5
"""A discount with which sums of a few integers are exact in float32."""
_LAPS = 5 * CAPACITY // 4
"""Vector steps of two environments that fill a memory of `CAPACITY` transitions two and a half times."""


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
    capacity = _capacity(subject)
    added = 2 * capacity + capacity // 2
    memory = fill(build_memory(subject, 2), 2, steps=added // 2)
    assert len(memory) == capacity, f"{len(memory)} of the latest {capacity} transitions can be sampled from"
    drawn = draw(memory, 40 * capacity)
    assert_true(drawn, 2)
    expected = set(range(added - capacity, added))
    found = set(number_of(drawn).int().tolist())
    assert found <= expected, f"transition {min(found)} of {added} was drawn, but only {capacity} are to be kept"
    assert found == expected, f"of the latest {capacity} transitions only {len(found)} can be drawn"


def check_memory_uniform(subject: Subject) -> str:
    """Before any `feedback`, each transition is as likely as another: chi-square below its 1 in 100 000 quantile."""
    _needs(subject, "sample")
    memory = fill(build_memory(subject, 2), 2, steps=6)
    counts = torch.bincount(number_of(draw(memory, 12_000)).long(), minlength=12).double()
    chi_square = ((counts - 1000).square() / 1000).sum().item()
    # The quantile of chi-square with 11 degrees of freedom at 1 - 1e-5.
    assert chi_square < 43.2, f"of 12 transitions in 12000 draws came {counts.int().tolist()}"
    return f"chi-square {chi_square:.1f} with 11 degrees of freedom"


def check_memory_sample_fields(subject: Subject) -> None:
    """A sample tells the discount of what follows, how much it counts (all the same at first), and where it is from."""
    _needs(subject, "sample")
    sample = fill(build_memory(subject, 2), 2, steps=6).sample(BATCH, gamma=0.5)
    assert isinstance(sample, Sample), f"a {type(sample).__name__} was drawn, expected a slmk.Sample"
    for name, value in {"discount": 0.5, "weight": 1.0}.items():
        found, expected = getattr(sample, name), torch.full((BATCH,), value)
        assert equal(found, expected), f"{name} is {found.dtype} {found.tolist()}, expected float32 (B,) of {value}"
    assert sample.index.shape == (BATCH,), f"index has shape {tuple(sample.index.shape)}, expected (B,)"


def check_memory_n_step(subject: Subject) -> None:
    """Rewards of n steps are summed up, of fewer where the episode ends or the experience does; also after a while."""
    _needs(subject, "sample")
    for num_envs, steps in ((1, 3), (1, 40), (3, 5), (3, 31)):
        memory = fill(build_memory(subject, num_envs), num_envs, steps=steps)
        for n_step in (1, 2, 5):
            for _ in range(4):
                assert_n_step(_n_step_sample(memory, n_step), num_envs, n_step, _GAMMA, steps)


def check_memory_at_any_time(subject: Subject) -> None:
    """However much was added, what is drawn is true, and is none of what is to come."""
    _needs(subject, "sample")
    for num_envs in (1, 3):
        memory = build_memory(subject, num_envs)
        for step in range(2 * CAPACITY + 3):
            fill(memory, num_envs, steps=1, start=step)
            drawn = memory.sample(BATCH)
            assert_true(drawn, num_envs)
            latest = int(number_of(drawn).max())
            assert latest < (step + 1) * num_envs, f"transition {latest} was drawn before it was added"


def check_memory_empty(subject: Subject) -> None:
    """There is nothing to sample from in an empty memory, and it says so."""
    _needs(subject, "sample")
    memory = build_memory(subject, 2)
    assert len(memory) == 0, f"an empty memory says that it holds {len(memory)} transitions"
    try:
        memory.sample(1)
    except Exception:
        return
    raise AssertionError("a transition was drawn from an empty memory; raise a ValueError that says so")


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
    # Not a multiple of what is held: parts of equal size may otherwise be drawn from, each with but one transition.
    draws = [number_of(fill(build_memory(subject, 2, seed), 2, steps=6).sample(7)) for seed in (1, 1, 2)]
    assert equal(torch.get_rng_state(), before), "torch's global generator was used; draw from the given one"
    assert equal(draws[0], draws[1]), "two memories with generators of one seed draw different samples"
    assert not equal(draws[0], draws[2]), "the samples do not depend on the generator"


def check_memory_feedback(subject: Subject) -> None:
    """`feedback` takes the batch that was drawn and its errors (B,), and draws go on afterwards."""
    _needs(subject, "sample")
    memory = fill(build_memory(subject, 2), 2, steps=6)
    batch = memory.sample(BATCH)
    memory.feedback(batch, torch.linspace(0, 3, BATCH))
    assert_true(memory.sample(BATCH), 2)


def check_memory_state_round_trip(subject: Subject) -> None:
    """A memory restored from a checkpoint in the middle of a rollout goes on as if nothing had happened.

    So does one that is sampled from, also when it is full and begun anew, with errors told of what was drawn.
    """
    is_sampled = _offers(subject) == "sample"
    for steps in (3, _LAPS) if is_sampled else (3,):
        straight = fill(build_memory(subject, 2, seed=1), 2, steps=steps)
        if is_sampled:
            straight.feedback(straight.sample(BATCH), torch.linspace(0, 3, BATCH))
        restored = build_memory(subject, 2, seed=1)
        set_state(restored, through_a_file(get_state(straight)))
        both = (straight, restored)
        expected, found = (_tree(_get(subject, fill(memory, 2, steps=2, start=steps))) for memory in both)
        difference = first_difference(expected, found)
        where = "in the middle of a rollout" if steps == 3 else "of a full memory"
        assert difference is None, f"{difference} differs after restoring the state {where}"


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
    taken: Transition = memory.take() if _offers(subject) == "take" else memory.sample(BATCH)
    if _offers(subject) == "sample":
        assert taken.reward.shape == (BATCH,), f"rewards have shape {tuple(taken.reward.shape)}, expected (B,)"
    return taken


def _n_step_sample(memory: Any, n_step: int) -> Sample:
    try:
        return cast("Sample", memory.sample(BATCH, gamma=_GAMMA, n_step=n_step))
    except ValueError as error:
        if n_step == 1:
            raise
        raise Skip(f"it does not sum up {n_step} steps: {error}") from error


def _capacity(subject: Subject) -> int:
    if "capacity" not in subject.component.config.model_fields:
        raise Skip("it has no option capacity")
    return int(subject.options.get("capacity", CAPACITY))


def _tree(batch: Transition) -> dict[str, Any]:
    fields = (*Transition.__slots__, *(Sample.__slots__ if isinstance(batch, Sample) else ()))
    return {name: getattr(batch, name) for name in fields}


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
    check_memory_sample_fields,
    check_memory_n_step,
    check_memory_at_any_time,
    check_memory_empty,
    check_memory_keeps_tensors,
    check_memory_random_streams,
    check_memory_feedback,
    check_memory_state_round_trip,
)
"""All of these checks; those that a memory does not offer are skipped."""

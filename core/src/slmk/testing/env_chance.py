"""The check of what chance does in an environment: it is another one in each row and for each seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from torch import Tensor

from slmk.protocols import Env
from slmk.testing.env_steps import make_env, random_actions
from slmk.testing.subject import Subject

__all__ = ["check_env_rows_and_seeds_differ"]

_STEPS = 120
"""Vector steps within which chance has to show."""


def check_env_rows_and_seeds_differ(subject: Subject) -> None:
    """Where chance has a part, it is another one in each row and for each seed; and each row acts by its own actions.

    Chance shows where rows that act alike differ, or episodes begin in several ways, or a reset does not repeat what
    came before. A task without chance passes. One that is not random, and yet shows what looks like chance, has to
    leave this promise out: ``skip = {"rows_and_seeds_differ": "the reason"}`` in its contract class.
    """
    one, other = make_env(subject, 4, 3), make_env(subject, 4, 8)
    own = list(islice(random_actions(one.info), _STEPS))
    alike = [action[:1].expand_as(action).clone() for action in own]
    story: list[list[_Seen]] = []
    rows = seeds = False
    for mine, others in zip(_seen(one, alike), _seen(other, alike), strict=True):
        story.append(mine)
        rows, seeds = rows or len(set(mine)) > 1, seeds or mine != others
        if rows and seeds:
            break
    chance = rows or seeds or _begins_in_several_ways(story) or story != [*_seen(one, alike)]
    moved = chance or _moves_rows_apart(one, own)
    one.close()
    other.close()
    assert rows or not chance, "all rows are one and the same environment, of the same chance; draw for each of them"
    assert seeds or not chance, "two seeds give the same steps, though chance has a part in them: the seed is ignored"
    assert moved, "rows that act differently see the same: each row has to act by its own actions"


_Seen = tuple[int, int, int, bool]
"""What a row sees in one moment: digests of observation, last observation and reward, and whether an episode begins."""


def _seen(env: Env, actions: Iterable[Tensor]) -> Iterator[list[_Seen]]:
    """What each row sees from a reset on."""
    yield [(first, 0, 0, True) for first in _digests(env.reset().values())]
    for action in actions:
        step = env.step(action)
        seen = (step.obs.values(), step.final_obs.values(), (step.reward, step.terminated))
        yield list(zip(*map(_digests, seen), (step.terminated | step.truncated).tolist(), strict=True))


def _begins_in_several_ways(story: list[list[_Seen]]) -> bool:
    """Whether two episodes of one row have different first observations."""
    return any(len({first for first, _, _, begins in row if begins}) > 1 for row in zip(*story, strict=True))


def _moves_rows_apart(env: Env, actions: Sequence[Tensor]) -> bool:
    """Whether rows with actions of their own come to see different things; true also where no action has an effect."""
    story = [*_seen(env, actions)]
    return any(len(set(moment)) > 1 for moment in story) or story == [*_seen(env, actions[::-1])]


def _digests(values: Iterable[Tensor]) -> list[int]:
    """One number for all that belongs to a row, for each row."""
    parts = ([row.numpy().tobytes() for row in value.cpu()] for value in values)
    return [hash(row) for row in zip(*parts, strict=True)]

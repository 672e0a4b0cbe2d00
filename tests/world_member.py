"""What one of several processes does in `test_world.py`: ``torchrun … world_member.py FOLDER`` writes what each found.

Without torchrun it writes what one process finds that has the samples of all.
"""

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk import Adam, Average, Learner, RunError, world
from slmk.assembly import in_common
from slmk.batch import Transition
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.learner import Objective
from slmk.testing.on_policy import Once, assemble, random_rollout
from slmk_algo_a2c import A2CConfig
from slmk_algo_a2c.a2c import A2C
from slmk_algo_ppo import PPOConfig
from slmk_algo_ppo.ppo import PPO
from slmk_algo_ppo_brax import PPOBraxConfig
from slmk_algo_ppo_brax.ppo_brax import PPOBrax
from slmk_normalizer_percentile import PercentileConfig
from slmk_normalizer_percentile.percentile import Percentile

PROCESSES = 2
BATCH = 6
ALGORITHMS = {
    "a2c": (A2C, A2CConfig(lr=0.01)),
    "ppo": (PPO, PPOConfig(horizon=8, epochs=3, minibatches=1, lr=0.01, normalize_advantage=False)),
    "ppo_brax": (
        PPOBrax,
        PPOBraxConfig(
            unroll_length=4, unrolls=2, epochs=3, minibatches=1, lr=0.01, entropy=0.0, normalize_advantage=False
        ),
    ),
}
"""Set up such that all that a process has of its own is its environments: one minibatch of all samples, standardised by
nobody, and no weight on an entropy that is estimated at random actions."""


class Counting(nn.Module):
    """A layer that gathers the mean of its inputs while it is trained, as batch normalisation does."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.mean.lerp_(x.detach().mean(0), 0.5)
        return (x * self.weight).sum(-1)


def data(rank: int | None) -> Tensor:
    """The samples of one process (6, 3), or of both (12, 3)."""
    whole = torch.randn(PROCESSES * BATCH, 3, generator=torch.Generator().manual_seed(0))
    return whole if rank is None else whole[rank * BATCH : (rank + 1) * BATCH]


def learned(x: Tensor, compile: str) -> dict[str, Tensor]:
    """Parameters, target and buffers after five steps on `x`."""
    model, target = Counting(), Counting()
    learner = Learner(
        {"model": model, "target": target},
        {
            "loss": Objective(
                lambda x: ((error := model(x) - 2).square().mean(), {"loss/error": error.mean()}),
                [model],
                Adam(max_grad_norm=0.5),
            )
        },
        averages=[Average(target, model, 0.3)],
        compile=compile,  # type: ignore[arg-type]
    )
    for _ in range(5):
        learner.step(x, lr=0.1)
    return {
        "weight": model.weight.detach(),
        "target": target.weight.detach(),
        "mean": model.mean,
        "error": learner.latest("loss/error", 2),
    }


def normalized(x: Tensor) -> dict[str, Tensor]:
    """Statistics after two batches."""
    running, percentile = map(in_common, (Running(RunningConfig(), (3,)), Percentile(PercentileConfig(), (3,))))
    for part in (running, percentile):
        part.update(x)
        part.update(2 * x + 1)
    buffers = {f"running/{name}": buffer for name, buffer in running.named_buffers()}
    return buffers | {f"percentile/{name}": buffer for name, buffer in percentile.named_buffers()}


def trained(name: str, rank: int | None) -> dict[str, Tensor]:
    """Parameters of an algorithm that has learned from rollouts of a process's three environments, or of all six."""
    kind, config = ALGORITHMS[name]
    algorithm = assemble(kind, config, spaces.Box(-1, 1, (2,)))
    for update in range(2):
        algorithm.generator.manual_seed(update)  # Learning drew as many numbers as there are samples.
        rollouts = [random_rollout(algorithm, seed=1 + PROCESSES * update + each) for each in range(PROCESSES)]
        algorithm.learn(Once(beside(*rollouts) if rank is None else rollouts[rank]), 0.5)
    return algorithm.learner.parameters


def beside(*rollouts: Transition) -> Transition:
    """Rollouts (T, N) as one of all their environments."""

    def joined(*values: Any) -> Any:
        if isinstance(values[0], Tensor):
            return torch.cat(values, 1)
        return {name: joined(*(value[name] for value in values)) for name in values[0]}

    names = [field.name for field in fields(Transition)]
    return Transition(**{name: joined(*(getattr(rollout, name) for rollout in rollouts)) for name in names})


def everything(rank: int | None) -> dict[str, dict[str, Tensor]]:
    """What is compared between processes, and with one that has the samples of all and compiles nothing."""
    x = data(rank)
    compiled = learned(x, "off" if rank is None else "on")
    algorithms = {name: trained(name, rank) for name in ALGORITHMS}
    return {"eager": learned(x, "off"), "compiled": compiled, "normalizers": normalized(x)} | algorithms


def _agreements(rank: int) -> list[object]:
    x = torch.arange(3.0) + 10 * rank
    world.average(x)
    return [
        world.size(),
        world.rank(),
        x.tolist(),
        world.gathered(torch.full((1, 2), float(rank))).tolist(),
        world.any_of(rank == 1),
        world.any_of(False),
        world.told({"from": rank}),
        sorted(world.in_all({"both", f"only {rank}"})),
    ]


def _left_alone(rank: int) -> str:
    """What the first process is told when it waits for the other, which has gone."""
    if rank == 1:
        return ""
    try:
        world.average(torch.zeros(1))
    except RunError as error:
        return str(error)
    return "an answer"


def main(folder: Path) -> None:
    """Write ``<rank>.json``, or ``alone.json``."""
    torch.set_num_threads(1)
    together = world.announced(os.environ) > 1
    if together:
        world.join()
    rank = world.rank() if together else None
    numbers = {name: {k: x.flatten().tolist() for k, x in part.items()} for name, part in everything(rank).items()}
    found = {"everything": numbers}
    if rank is not None:
        found |= {"agreements": _agreements(rank), "alone": _left_alone(rank)}
    (folder / f"{'alone' if rank is None else rank}.json").write_text(json.dumps(found))
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

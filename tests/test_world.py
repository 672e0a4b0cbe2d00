"""Several processes that train together: two, over gloo."""

import os
import socket
from multiprocessing import get_context
from multiprocessing.queues import Queue

import pytest
import torch
from torch import Tensor, distributed, nn

from slmk import Adam, Average, Learner, RunError, world
from slmk.assembly import in_common
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.learner import Objective
from slmk.streams import Streams
from slmk_normalizer_percentile import PercentileConfig
from slmk_normalizer_percentile.percentile import Percentile

PROCESSES = 2
BATCH = 6


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


def everything(rank: int | None) -> dict[str, dict[str, Tensor]]:
    """What is compared between processes, and with one that has the samples of all and compiles nothing."""
    x = data(rank)
    compiled = learned(x, "off" if rank is None else "on")
    return {"eager": learned(x, "off"), "compiled": compiled, "normalizers": normalized(x)}


def _member(rank: int, port: int, results: "Queue[tuple[int, dict[str, object]]]") -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=PROCESSES)
    numbers = {name: {k: x.flatten().tolist() for k, x in part.items()} for name, part in everything(rank).items()}
    found = {"everything": numbers, "agreements": _agreements(rank), "alone": _left_alone(rank)}
    results.put((rank, found))
    world.leave()


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


@pytest.fixture(scope="module")
def told() -> list[dict[str, object]]:
    """What each of two processes found, in the order of their ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    results = context.Queue()
    members = [context.Process(target=_member, args=(rank, port, results)) for rank in range(PROCESSES)]
    for member in members:
        member.start()
    found = dict(results.get(timeout=300) for _ in members)
    for member in members:
        member.join(timeout=60)
    return [found[rank] for rank in range(PROCESSES)]


def test_two_processes_learn_what_one_learns_from_all_samples(told):
    """Parameters, targets, buffers and statistics are equal in both, and those of one process with twice the batch."""
    first, second = (each["everything"] for each in told)
    assert first == second
    for name, part in everything(None).items():
        for key, expected in part.items():
            got = torch.tensor(first[name][key]).view(expected.shape)
            torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-6, msg=f"{name}/{key}")


def test_processes_agree(told):
    """Means, samples, flags, values and names are shared as their functions say."""
    common = [[5.0, 6.0, 7.0], [[0.0, 0.0], [1.0, 1.0]], True, False, {"from": 0}, ["both"]]
    assert [each["agreements"] for each in told] == [[2, rank, *common] for rank in range(PROCESSES)]


def test_a_process_that_ends_is_missed(told):
    """The other says that one has ended, instead of showing gloo's words."""
    assert told[0]["alone"] == "another process of this run has ended: what it said is the reason"


def test_alone_nothing_happens():
    """Without a world: one process, and values as they were."""
    x = torch.ones(2)
    world.average(x)
    assert (world.size(), world.rank()) == (1, 0)
    assert x.tolist() == [1, 1]
    assert world.gathered(x) is x
    assert world.any_of(True)
    assert not world.any_of(False)
    assert world.told("me") == "me"
    assert world.in_all(["a", "b"]) == {"a", "b"}


def test_what_torchrun_announces():
    """Only its own variables count: others, such as SLURM's, may set WORLD_SIZE too."""
    assert world.announced({}) == 1
    assert world.announced({"WORLD_SIZE": "8"}) == 1
    assert world.announced({"WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none"}) == 8


@pytest.mark.parametrize(("visible", "expected"), [(None, "1"), ("4,7", "7"), ("GPU-a", "GPU-a"), ("", "")])
def test_a_process_claims_one_device(visible, expected, monkeypatch):
    """The local rank counts among the visible ones; where all are hidden, they stay so."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    world.claim_device()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


def test_streams_differ_by_rank_but_for_the_common_ones():
    """The first process has the streams of a run without a world."""
    seeds = [Streams(7, rank).integer("env") for rank in range(3)]
    assert len(set(seeds)) == 3
    assert seeds[0] == Streams(7).integer("env")
    assert {Streams(7, rank).common.integer("init/actor") for rank in range(3)} == {Streams(7).integer("init/actor")}

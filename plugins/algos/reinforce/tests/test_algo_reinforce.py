"""REINFORCE: which steps count and with which return, and loss and gradients against a reference in float64."""

import copy

import pytest
import torch
from gymnasium import spaces

from slmk import SpecError, Transition
from slmk.state import get_state, set_state
from slmk.testing.on_policy import ENVS, Reference, assemble, check_one_graph, collect, recurrent_run
from slmk.windows import Windows
from slmk_algo_reinforce import ReinforceConfig
from slmk_algo_reinforce.reinforce import Reinforce, weighted_standardised

T, N, LIMIT = 4, ENVS, 10
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))
ENTROPY = torch.tensor(0.03)


def reinforce(action_space=DISCRETE, limit: int | None = LIMIT, compile="off", **options) -> Reinforce:
    config = ReinforceConfig(**{"horizon": T, "gamma": 0.9, "normalize_return": False, **options})
    return assemble(Reinforce, config, action_space, max_episode_steps=limit, compile=compile)


class Episodes:
    """Experience in which each environment's episodes have given lengths; the first observation counts the steps."""

    def __init__(self, algorithm: Reinforce, lengths: list[list[int]]) -> None:
        self.algorithm, self.steps = algorithm, 0
        self.generator = torch.Generator().manual_seed(1)
        self.ends = [torch.tensor(each).cumsum(0) - 1 for each in lengths]

    def take(self) -> Transition:
        """The next rollout, with reward t in step t."""
        time = torch.arange(self.steps, self.steps + T)
        self.steps += T
        obs = torch.randn(T, N, 4, generator=self.generator)
        obs[:, :, 0] = time.unsqueeze(-1)
        done = torch.stack([torch.isin(time, ends) for ends in self.ends], 1)
        act = torch.no_grad()(self.algorithm.act)
        acts = [act({"obs": x}, 0.0) for x in obs]
        return Transition(
            obs={"obs": obs},
            action=torch.stack([act.action for act in acts]),
            reward=time.float().unsqueeze(-1).repeat(1, N),
            next_obs={"obs": obs},
            terminated=done & (time.unsqueeze(-1) % 2 == 0),
            truncated=done & (time.unsqueeze(-1) % 2 == 1),
            extras={"raw": torch.stack([act.extras["raw"] for act in acts])},
        )


LENGTHS = [[10, 10, 4], [1, 9, 2, 3, 1, 8], [5, 5, 5, 5, 4]]
"""Episodes of three environments in 24 steps; none is longer than the limit."""


def test_every_step_of_every_episode_counts_once_with_its_return():
    """Over six rollouts all 72 steps, of episodes of 1 to 10 steps, get weight 1 once and the return of a loop."""
    algorithm = reinforce()
    episodes = Episodes(algorithm, LENGTHS)
    found: dict[int, list[tuple[int, float]]] = {}
    for _ in range(6):
        data = algorithm.prepare(episodes.take())
        counted = data["weight"] == 1
        assert ((data["weight"] == 0) | counted).all()
        env, time = torch.arange(len(counted)) % N, data["obs"]["obs"][:, 0].long()
        columns = (x[counted].tolist() for x in (env, time, data["returns"]))
        for n, t, value in zip(*columns, strict=True):
            found.setdefault(n, []).append((t, value))
    for n, lengths in enumerate(LENGTHS):
        ends, expected = torch.tensor(lengths).cumsum(0) - 1, {}
        for t in range(24):
            end = int(ends[ends >= t][0])
            expected[t] = sum(0.9 ** (s - t) * s for s in range(t, end + 1))
        assert sorted(time for time, _ in found[n]) == list(range(24))
        for time, value in found[n]:
            assert value == pytest.approx(expected[time], rel=1e-5)


def test_shapes_are_the_same_from_the_first_update_on():
    """Limit 10 and horizon 4 keep three rollouts beside the new one: 16 rows of 3 environments each time."""
    algorithm = reinforce()
    episodes = Episodes(algorithm, LENGTHS)
    for _ in range(6):
        data = algorithm.prepare(episodes.take())
        assert data["obs"]["obs"].shape == (16 * N, 4)
        assert data["weight"].shape == (16 * N,)


def test_waiting_steps_survive_a_resume():
    """Restored in the middle of an episode, another instance gives the same steps the same returns and weights."""
    one, other = reinforce(), reinforce()
    episodes = Episodes(one, LENGTHS)
    for _ in range(3):
        one.prepare(episodes.take())
    set_state(other, copy.deepcopy(get_state(one)))
    rollout = episodes.take()
    torch.testing.assert_close(other.prepare(rollout), one.prepare(rollout), rtol=0, atol=0)


def test_abandoned_steps_never_count():
    """Steps 5 to 7 of an episode that does not go on stay without a return; those of the next one begin at 8."""
    algorithm = reinforce()
    algorithm.abandon()  # Nothing waits yet.
    episodes = Episodes(algorithm, [[5, 9, 10], [5, 9, 10], [5, 9, 10]])
    counted = []
    for index in range(4):
        data = algorithm.prepare(episodes.take())
        counted += data["obs"]["obs"][data["weight"] == 1][:, 0].long().tolist()
        if index == 1:
            algorithm.abandon()
    assert sorted(counted) == [t for t in (*range(5), *range(8, 14)) for _ in range(N)]


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_loss_and_gradients_equal_a_float64_reference(space):
    """Loss and every gradient agree with the formula over the finished steps alone; waiting ones add nothing."""
    algorithm = reinforce(space)
    episodes = Episodes(algorithm, LENGTHS)
    algorithm.prepare(episodes.take())
    data = algorithm.prepare(episodes.take())
    assert 0 < data["weight"].sum() < len(data["weight"])
    loss, _ = algorithm.loss(data, entropy=ENTROPY)
    reference, counted = Reference(algorithm), data["weight"] == 1
    log_prob, entropy = reference.policy(data["obs"]["obs"][counted], data["raw"][counted])
    expected = -(log_prob * data["returns"][counted].double()).mean() - 0.03 * entropy.mean()
    reference.check(algorithm, loss, expected)


def test_standardised_by_hand():
    """Of 1, 3 and a third return without weight: mean 2, deviation 1, so −1 and 1."""
    returns, weight = torch.tensor([1.0, 3.0, 100.0]), torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(weighted_standardised(returns, weight)[:2], torch.tensor([-1.0, 1.0]))


def test_returns_are_standardised_among_those_that_count():
    """The returns of finished steps have mean 0 and deviation 1, whatever those are that still wait."""
    algorithm = reinforce(normalize_return=True)
    episodes = Episodes(algorithm, LENGTHS)
    algorithm.prepare(episodes.take())
    data = algorithm.prepare(episodes.take())
    counted = data["returns"][data["weight"] == 1]
    assert 1 < len(counted) < len(data["weight"])
    assert counted.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert counted.std(correction=0).item() == pytest.approx(1.0, rel=1e-5)


def test_without_an_ended_episode_nothing_is_learned():
    """In the first update, while all episodes still run, loss and gradients are 0."""
    algorithm = reinforce(normalize_return=True)
    data = algorithm.prepare(Episodes(algorithm, [[10], [10], [10]]).take())
    loss, _ = algorithm.loss(data, entropy=ENTROPY)
    gradients = torch.autograd.grad(loss, list(algorithm.model.parameters()))
    assert loss.item() == 0.0
    assert all((gradient == 0).all() for gradient in gradients)


def test_windows_change_nothing_for_networks_without_memory():
    """Loss and metrics are the same for windows of two steps as for single transitions."""
    one, other = reinforce(BOX), reinforce(BOX)
    episodes = Episodes(one, LENGTHS)
    other.model.windows = Windows(2)
    for _ in range(3):
        rollout = episodes.take()
        flat, windows = one.prepare(rollout), other.prepare(rollout)
        assert windows["weight"].shape == (2, 8 * N)
        torch.testing.assert_close(other.loss(windows, entropy=ENTROPY), one.loss(flat, entropy=ENTROPY))


def test_an_unknown_episode_length_is_a_problem():
    """Where neither the environment nor the spec states a limit, the error names the option."""
    with pytest.raises(SpecError, match=r"algorithm\.episode_limit"):
        reinforce(limit=None)
    assert len(reinforce(limit=None, episode_limit=9).waiting) == 0


def test_recurrent_networks_unroll_to_what_single_steps_give():
    """Over waiting and new steps, loss and metrics of windows equal those of single steps from stored states."""
    losses = []
    for length in (1, 4, 8):
        run = recurrent_run("reinforce", length, ("actor",), horizon=8, episode_limit=9)
        run.algorithm.prepare(collect(run))
        losses.append(run.algorithm.loss(run.algorithm.prepare(collect(run)), entropy=ENTROPY))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph():
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""
    check_one_graph(lambda compile: reinforce(compile=compile), lambda algorithm: Episodes(algorithm, LENGTHS))

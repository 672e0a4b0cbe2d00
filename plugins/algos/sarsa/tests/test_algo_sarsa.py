"""SARSA's targets, loss and gradients against numbers by hand and an independent reference in float64."""

import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

from slmk import EnvInfo, Model, Parts, SpecError, Transition
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.windows import Windows
from slmk_algo_sarsa import SARSAConfig
from slmk_algo_sarsa.sarsa import SARSA
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

T, N, ACTIONS, START = 6, 3, 4, 2
SPACE = spaces.Discrete(ACTIONS, start=START)
CPU = torch.device("cpu")


def sarsa(network=None, normalizers=None, **options) -> SARSA:
    info = EnvInfo(N, {"obs": spaces.Box(-1, 1, (5,))}, SPACE, CPU)
    config = SARSAConfig(**{"horizon": T, "epsilon": 0.2, "gamma": 0.9, **options})
    generator = torch.Generator().manual_seed(0)
    role = SARSA.roles(config, info)["q"]
    network = network or MLP(MLPConfig(hidden=(8,)), dict(info.observation_spaces), role, generator)
    model = Model({"q": network}, {"q": ("obs",)}, {})
    return SARSA(config, info, Parts(model, normalizers or {}, generator, "off", 0, 0))


def rollout(seed=1, mask=False) -> Transition:
    """Random experience of N environments with every kind of ending; next_obs is the true one after ends as well."""
    g = torch.Generator().manual_seed(seed)
    x, flags = torch.randn(T + 1, N, 5, generator=g), torch.rand(T, N, generator=g)
    terminated, truncated = flags < 0.2, flags > 0.75
    final = torch.where((terminated | truncated).unsqueeze(-1), torch.randn(T, N, 5, generator=g), x[1:])
    action = torch.randint(ACTIONS, (T, N), generator=g)
    obs, next_obs = {"obs": x[:-1]}, {"obs": final}
    if mask:
        allowed = torch.rand(T + 1, N, ACTIONS, generator=g) < 0.4
        allowed[:-1].scatter_(-1, action.unsqueeze(-1), True)
        allowed[-1, :, 0] = True
        ends = torch.rand(T, N, ACTIONS, generator=g).lt(0.4).index_fill(-1, torch.tensor([1]), True)
        obs["mask"] = allowed[:-1]
        next_obs["mask"] = torch.where((terminated | truncated).unsqueeze(-1), ends, allowed[1:])
    reward = torch.randn(T, N, generator=g)
    return Transition(obs, action + START, reward, next_obs, terminated, truncated)


def q64(state, groups, t, n):
    """Q of one row in float64, straight from the weights; -inf where forbidden."""
    x = groups["obs"][t, n].double()
    q = torch.tanh(x @ state["weight_0"] + state["bias_0"]) @ state["weight_out"] + state["bias_out"]
    return torch.where(groups["mask"][t, n], q, -torch.inf) if "mask" in groups else q


def expectation64(q, config):
    """E Q over the allowed actions of the policy that acts."""
    q = q[q > -torch.inf]
    if config.exploration == "boltzmann":
        return (torch.softmax(q / config.temperature, -1) * q).sum()
    return (1 - config.epsilon) * q.max() + config.epsilon * q.mean()


def reference(algorithm, experience):
    """Returns, loss and gradients by plain loops in float64: recursion on the λ-return of Sutton & Barto, eq. 12.19."""
    config = algorithm.config
    state = {n: p.detach().double().requires_grad_() for n, p in algorithm.model.networks["q"].named_parameters()}
    returns, losses = torch.zeros(T, N, dtype=torch.float64), []
    for n in range(N):
        for t in reversed(range(T)):
            with torch.no_grad():
                last = t == T - 1 or experience.terminated[t, n] or experience.truncated[t, n]
                after = expectation64(q64(state, experience.next_obs, t, n), config)
                if not last and not config.expected:
                    after = q64(state, experience.obs, t + 1, n)[experience.action[t + 1, n] - START]
                ahead = after if last else (1 - config.lam) * after + config.lam * returns[t + 1, n]
                going = 0.0 if experience.terminated[t, n] else ahead
                returns[t, n] = experience.reward[t, n].double() + config.gamma * going
            error = q64(state, experience.obs, t, n)[experience.action[t, n] - START] - returns[t, n]
            huber = config.loss == "huber" and error.abs() > 1
            losses.append(error.abs() - 0.5 if huber else 0.5 * error**2)
    loss = torch.stack(losses).mean()
    loss.backward()
    return returns, loss.item(), {n: p.grad for n, p in state.items()}


@pytest.mark.parametrize("mask", [False, True], ids=["free", "masked"])
@pytest.mark.parametrize("exploration", ["epsilon", "boltzmann"])
@pytest.mark.parametrize("expected", [False, True], ids=["sarsa", "expected"])
@pytest.mark.parametrize(("lam", "loss"), [(0.0, "huber"), (0.8, "squared"), (1.0, "huber")])
def test_returns_loss_and_gradients_equal_a_float64_reference(lam, loss, expected, exploration, mask):
    """λ-returns, the loss and every gradient agree with plain loops over a rollout with all kinds of endings."""
    algorithm = sarsa(lam=lam, loss=loss, expected=expected, exploration=exploration, temperature=0.5)
    experience = rollout(mask=mask)
    data = algorithm.prepare(experience, 0.5)
    returns, expected_loss, gradients = reference(algorithm, experience)
    torch.testing.assert_close(data["returns"].view(T, N).double(), returns, rtol=1e-5, atol=1e-5)
    parameters = dict(algorithm.model.networks["q"].named_parameters())
    found, _ = algorithm.loss(data)
    assert found.item() == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in zip(parameters, torch.autograd.grad(found, list(parameters.values())), strict=True):
        torch.testing.assert_close(gradient.double(), gradients[name], rtol=1e-4, atol=1e-6)


class Table(torch.nn.Module):
    """Q(s, ·) from a table; the observation is the state's number."""

    def __init__(self, *rows):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.tensor(rows))

    def forward(self, obs):
        return self.rows[obs["obs"][..., 0].long()]


def walk(terminated: bool, truncated: bool) -> Transition:
    """States 0, 1, then 0 again in a rollout of three steps, of which the second ends an episode in state 2."""

    def column(*values):
        return torch.tensor(values).unsqueeze(-1)

    def states(*numbers):
        return {"obs": column(*map(float, numbers)).unsqueeze(-1).expand(-1, -1, 5)}

    return Transition(
        states(0, 1, 0),
        column(0, 3, 1) + START,
        column(1.0, 2.0, 4.0),
        states(1, 2, 1),
        column(False, terminated, False),
        column(False, truncated, False),
    )


@pytest.mark.parametrize("expected", [False, True], ids=["sarsa", "expected"])
@pytest.mark.parametrize("truncated", [False, True], ids=["terminated", "truncated"])
def test_one_step_targets_by_hand(truncated, expected):
    """r + γ Q(s′, a′); the policy's expectation at a cut and at the rollout's end; r alone where the task ended.

    With ε = 0.2 and γ = ½, state 1 has the values 0, 0, 8, 4 and the mean 3, so 0.8 · 8 + 0.2 · 3 = 7 is expected
    there; state 2 has 10 everywhere.
    """
    table = Table([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 8.0, 4.0], [10.0] * 4)
    algorithm = sarsa(table, gamma=0.5, expected=expected)
    returns = algorithm.prepare(walk(not truncated, truncated), 0.5)["returns"]
    taken = 7.0 if expected else 4.0
    end = 10.0 if truncated else 0.0
    assert returns.tolist() == pytest.approx([1 + 0.5 * taken, 2 + 0.5 * end, 4 + 0.5 * 7.0])


def test_all_rewards_to_the_end_of_the_rollout_with_lambda_one():
    """λ = 1 gives n-step targets, where n is what is left of the rollout or of the episode, by the example above."""
    table = Table([1.0] * 4, [0.0, 0.0, 8.0, 4.0], [10.0] * 4)
    algorithm = sarsa(table, gamma=0.5, lam=1.0)
    returns = algorithm.prepare(walk(False, True), 0.5)["returns"]
    assert returns.tolist() == pytest.approx([1 + 0.5 * (2 + 0.5 * 10), 2 + 0.5 * 10, 4 + 0.5 * 7])


def test_forbidden_actions_are_neither_chosen_nor_bootstrapped():
    """Exploring and greedy actions stay within the mask, and a forbidden action's value is in no target."""
    table = Table([1.0] * 4, [0.0, 0.0, 8000.0, 4.0], [10.0] * 4)
    algorithm = sarsa(table, gamma=0.5, epsilon=0.5, expected=True)
    allowed = torch.tensor([True, False, False, True])
    obs = {"obs": torch.ones(2000, 5), "mask": allowed.expand(2000, -1)}
    explored = torch.bincount(algorithm.act(obs, 0.5).action - START, minlength=ACTIONS)
    assert (explored[[1, 2]] == 0).all()
    assert (explored[[0, 3]] > 400).all()
    assert algorithm.policy(obs).unique().tolist() == [START + 3]
    assert algorithm.value(obs).unique().tolist() == [4.0]
    experience = walk(False, True)
    for groups in (experience.obs, experience.next_obs):
        groups["mask"] = allowed.expand(3, 1, -1)
    returns = algorithm.prepare(experience, 0.5)["returns"]
    # In state 1, 0 and 4 are left: ½ · 4 + ½ · 2 = 3.
    assert returns.tolist() == pytest.approx([1 + 0.5 * 3, 2 + 0.5 * 10, 4 + 0.5 * 3])


def test_update_goes_by_the_rollout():
    """Each call of learn makes one update, after which values of the actions taken are nearer to their targets."""

    class Memory:
        def take(self):
            return rollout()

    algorithm = sarsa(lr=1e-3)
    data = algorithm.prepare(rollout(), 0.5)
    before = algorithm.loss(data)[0]
    metrics = algorithm.learn(Memory(), 0.5)
    assert algorithm.learner.updates == 1
    assert metrics["loss/q"] == before
    assert algorithm.loss(data)[0] < before


def test_rewards_are_scaled():
    """With values of 0 and γ = 0, targets are the rewards by the spread of what the normalizer has seen."""
    algorithm = sarsa(Table([0.0] * 4), {"reward": Running(RunningConfig(), ())}, gamma=0.0)
    experience = rollout()
    experience.obs["obs"], experience.next_obs["obs"] = torch.zeros(T, N, 5), torch.zeros(T, N, 5)
    spread = experience.reward.double().var(correction=0).add(1e-8).sqrt()
    found = algorithm.prepare(experience, 0.5)["returns"].view(T, N)
    torch.testing.assert_close(found.double(), experience.reward.double() / spread, rtol=1e-5, atol=1e-6)


def test_rewards_are_scaled_by_returns_within_episodes():
    """Returns so far, discounted by γ alone, begin anew where an episode ended, whichever way it did."""
    statistics, experience = Running(RunningConfig(), ()), rollout()
    assert experience.terminated[:-1].any()
    assert experience.truncated[:-1].any()
    sarsa(normalizers={"reward": statistics}, gamma=0.9, lam=0.5).prepare(experience, 0.5)
    so_far, running = [], torch.zeros(N)
    for reward, done in zip(experience.reward, experience.terminated | experience.truncated, strict=True):
        so_far.append(reward + 0.9 * running)
        running = so_far[-1] * ~done
    assert statistics.variance.item() == pytest.approx(torch.stack(so_far).double().var(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """The loss of a rollout is the same for windows of any length as for single transitions."""
    algorithm = sarsa(lam=0.5)
    expected = algorithm.loss(algorithm.prepare(rollout(), 0.5))
    algorithm.model.windows = Windows(length)
    data = algorithm.prepare(rollout(), 0.5)
    assert data["obs"]["obs"].shape == (length, T * N // length, 5)
    torch.testing.assert_close(algorithm.loss(data), expected)


@pytest.mark.parametrize(
    ("exploration", "expected"),
    [("epsilon", [0.55, 0.15, 0.15, 0.15]), ("boltzmann", [0.4754, 0.1749, 0.1749, 0.1749])],
)
def test_exploration_follows_its_schedule(exploration, expected):
    """Half-way, ε = 0.6 leaves 0.4 + 0.15 for the best of four, and T = 1 with Q = 1, 0, 0, 0 leaves e / (e + 3)."""
    options = {"epsilon": {"start": 1.0, "end": 0.2}, "temperature": {"start": 1.5, "end": 0.5}}
    algorithm = sarsa(Table([1.0, 0.0, 0.0, 0.0]), exploration=exploration, **options)
    action = algorithm.act({"obs": torch.zeros(40_000, 5)}, 0.5).action
    found = torch.bincount(action - START, minlength=ACTIONS) / 40_000
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.01, rtol=0)


@pytest.mark.parametrize("options", [{"epsilon": -0.1}, {"temperature": 0.0}])
def test_exploration_has_limits(options):
    """ε below 0 and a temperature of 0 are refused."""
    with pytest.raises(ValidationError, match=next(iter(options))):
        SARSAConfig(**options)


def test_other_action_spaces_are_refused():
    """A space without an action's own value is a problem of the spec."""
    info = EnvInfo(1, {"obs": spaces.Box(-1, 1, (5,))}, spaces.MultiDiscrete([2, 2]), CPU)
    with pytest.raises(SpecError, match="values of single actions"):
        SARSA.roles(SARSAConfig(), info)

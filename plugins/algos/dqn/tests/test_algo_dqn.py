"""DQN's targets, loss, gradients and cadence against numbers by hand and an independent reference in float64."""

from itertools import islice

import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

import slmk
from slmk import Act, EnvInfo, Linear, Sample, SpecError, Step
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.loop import iterate
from slmk.session import Session
from slmk.testing.off_policy import (
    WIDTH,
    Fixed,
    assemble,
    check_gradients,
    fold,
    in_float64,
    random_sample,
    scatter,
)
from slmk.testing.subject import with_toys
from slmk_algo_dqn import DQNConfig
from slmk_algo_dqn.dqn import DQN
from slmk_memory_replay import ReplayConfig
from slmk_memory_replay.replay import Replay
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

ACTIONS, START = 4, 3
SPACE = spaces.Discrete(ACTIONS, start=START)
CPU = torch.device("cpu")


def dqn(table=None, *, num_envs=1, env_steps=0, normalizers=None, **options) -> DQN:
    """An algorithm whose target network differs from the trained one."""

    def network(role, inputs, given, generator):
        return table or MLP(MLPConfig(hidden=(8,)), inputs, given, generator)

    config = DQNConfig(**options)
    algorithm = assemble(DQN, config, SPACE, network, num_envs=num_envs, env_steps=env_steps, normalizers=normalizers)
    scatter(algorithm.target.networks["q"], by=0.3)
    return algorithm


def q64(state, obs, dueling):
    """Q of one row in float64, straight from the weights; forbidden actions are -inf."""
    x = torch.tanh(obs["obs"].double() @ state["weight_0"] + state["bias_0"]) @ state["weight_out"] + state["bias_out"]
    allowed = obs["mask"] if "mask" in obs else torch.ones(ACTIONS, dtype=torch.bool)
    if dueling:
        x = x[0] + x[1:] - x[1:][allowed].mean()
    return torch.where(allowed, x, -torch.inf)


def reference(algorithm: DQN, batch: Sample):
    """The loss, transition by transition in float64, and the copies of parameters that it is of."""
    config = algorithm.config
    online, target = (in_float64(model.networks["q"]) for model in (algorithm.model, algorithm.target))
    losses = []
    for i in range(len(batch.reward)):
        obs, following = ({n: x[i] for n, x in groups.items()} for groups in (batch.obs, batch.next_obs))
        q = q64(online, obs, config.dueling)[int(batch.action[i]) - START]
        with torch.no_grad():
            theirs = q64(target, following, config.dueling)
            chooser = q64(online, following, config.dueling) if config.double else theirs
            bootstrap = theirs[int(chooser.argmax())]
            y = float(batch.reward[i])
            if not batch.terminated[i]:
                y += float(batch.discount[i]) * float(bootstrap)
        error = (q - y).abs()
        huber = config.loss == "huber" and error.item() > 1
        losses.append(float(batch.weight[i]) * (error - 0.5 if huber else 0.5 * error**2))
    return sum(losses) / sum(float(w) > 0 for w in batch.weight), online


@pytest.mark.parametrize("mask", [False, True], ids=["free", "masked"])
@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("dueling", [False, True], ids=["plain", "dueling"])
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
def test_loss_and_gradients_equal_a_float64_reference(double, dueling, loss, mask):
    """Loss and every gradient agree with a reference that takes one transition after the other, to 1e-5."""
    algorithm = dqn(double=double, dueling=dueling, loss=loss)
    batch = random_sample(SPACE, mask=mask)
    found, _ = algorithm.loss(batch)
    expected, copies = reference(algorithm, batch)
    check_gradients(found, expected, algorithm.model.networks["q"], copies, rtol=1e-4)


def test_sequences_are_transitions_with_another_axis():
    """A batch (L, B) gives the loss of its transitions one by one, and errors of its own shape."""
    algorithm, flat = dqn(), random_sample(SPACE)
    expected, flat_values = algorithm.loss(flat)
    loss, values = algorithm.loss(flat.map(lambda x: fold(x, 3)))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(values["error"], fold(flat_values["error"], 3))


def test_steps_without_weight_are_not_there():
    """Without its transitions of weight 0, a batch has the same loss and gradients."""
    algorithm, batch = dqn(), random_sample(SPACE)
    assert batch.weight.eq(0).any()
    network = algorithm.model.networks["q"]
    found = []
    for each in (batch, batch.map(lambda x: x[batch.weight > 0])):
        loss, _ = algorithm.loss(each)
        found.append([loss, *torch.autograd.grad(loss, list(network.parameters()))])
    torch.testing.assert_close(found[0], found[1])


class Table(torch.nn.Module):
    """Q(s, ·) from a table; the observation is the state's number."""

    def __init__(self, *rows):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.tensor(rows))

    def forward(self, obs):
        return self.rows[obs["obs"][..., 0].long()]


def tables(**options) -> DQN:
    """State 0 is acted in; in state 1 the trained network prefers action 2, the target network action 0."""
    algorithm = dqn(Table([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 9.0, 0.0]), **options)
    algorithm.target.networks["q"].rows.data = torch.tensor([[0.0] * 4, [8.0, 0.0, 5.0, 6.0]])
    return algorithm


def transition(reward=1.0, discount=0.5, terminated=False, truncated=False, **groups) -> Sample:
    """The second action in state 0 leads to state 1."""
    one = torch.ones(1)
    return Sample(
        obs={"obs": torch.zeros(1, WIDTH)},
        action=torch.tensor([START + 1]),
        reward=reward * one,
        next_obs={"obs": torch.ones(1, WIDTH), **groups},
        terminated=torch.tensor([terminated]),
        truncated=torch.tensor([truncated]),
        discount=discount * one,
        weight=one,
        index=torch.zeros(1).long(),
    )


@pytest.mark.parametrize(
    ("double", "ends", "target"),
    [
        (True, {}, 1 + 0.5 * 5),  # chosen by the trained network, valued by the target network
        (False, {}, 1 + 0.5 * 8),
        (True, {"terminated": True}, 1.0),
        (True, {"truncated": True}, 1 + 0.5 * 5),
        (True, {"terminated": True, "truncated": True}, 1.0),
        (True, {"mask": torch.tensor([[True, False, False, True]])}, 1 + 0.5 * 8),
        (False, {"mask": torch.tensor([[False, True, False, True]])}, 1 + 0.5 * 6),
    ],
)
def test_targets_by_hand(double, ends, target):
    """The error of Q(0, second action) = 2 is against r + γ Q(1, a*), or r alone where the task ended."""
    _, values = tables(double=double).loss(transition(**ends))
    assert values["error"].tolist() == [pytest.approx(abs(2 - target))]


def test_a_terminal_observation_may_be_anything():
    """Where the task ended, a value that is not a number does not reach the loss."""
    algorithm = tables()
    algorithm.target.networks["q"].rows.data[1] = torch.nan
    assert algorithm.loss(transition(terminated=True))[1]["error"].tolist() == [pytest.approx(1.0)]


@pytest.mark.parametrize("truncates", [False, True])
def test_n_step_targets_through_the_replay(truncates):
    """From a replay, 3-step targets sum rewards 1, 2, 4, … to the end of the episode, and bootstrap unless it ended.

    The episode's rewards are 1, 2, 4 and 8, γ is ½, and the target network values state 1, which follows, at 5.
    """
    algorithm = tables(n_step=3)
    env = EnvInfo(1, {"obs": spaces.Box(-1, 1, (WIDTH,))}, SPACE, CPU)
    memory = Replay(ReplayConfig(capacity=64), env, 1, torch.Generator().manual_seed(0))
    zero, one, no = {"obs": torch.zeros(1, WIDTH)}, {"obs": torch.ones(1, WIDTH)}, torch.zeros(1, dtype=torch.bool)
    for t in range(4):
        ended = torch.tensor([t == 3])
        ends = (no, ended) if truncates else (ended, no)
        after = zero if t == 3 else one
        memory.add(
            zero if t == 0 else one, Act(torch.tensor([START + 1])), Step(after, one, torch.tensor([2.0**t]), *ends)
        )
    batch = memory.sample(64, gamma=0.5, n_step=3)
    assert set(batch.index.tolist()) == {0, 1, 2, 3}
    with torch.no_grad():
        q = algorithm.head.pick(algorithm.values(algorithm.model, batch.obs), batch.action)
        error = algorithm.loss(batch)[1]["error"]
    value = 5.0 if truncates else 0.0
    target = {
        0: 1 + 2 / 2 + 4 / 4 + 5 / 8,
        1: 2 + 4 / 2 + 8 / 4 + value / 8,
        2: 4 + 8 / 2 + value / 4,
        3: 8 + value / 2,
    }
    assert error.tolist() == pytest.approx(
        [abs(float(v) - target[int(i)]) for v, i in zip(q, batch.index, strict=True)]
    )


def test_memory_is_asked_and_told():
    """Each gradient step asks for a batch as configured, and gives back the absolute errors from before it."""
    algorithm = dqn(n_step=3, gamma=0.9, batch_size=7, horizon=2, utd_ratio=1.0, learning_starts=0)
    memory = Fixed(random_sample(SPACE))
    first = algorithm.loss(random_sample(SPACE))[1]["error"].detach()
    algorithm.learn(memory, 0.25)
    assert memory.asked == [{"batch_size": 7, "gamma": 0.9, "n_step": 3, "progress": 0.25}] * 2
    torch.testing.assert_close(memory.told[0], first)
    assert (memory.told[0] >= 0).all()
    assert not torch.equal(memory.told[0], memory.told[1])


@pytest.mark.parametrize("num_envs", [1, 4, 16])
@pytest.mark.parametrize("utd_ratio", [0.1, 0.25, 1.5])
def test_gradient_steps_per_transition(num_envs, utd_ratio):
    """In 40 iterations of 3 vector steps there are utd_ratio gradient steps for each transition, fractions kept."""
    algorithm = dqn(num_envs=num_envs, horizon=3, utd_ratio=utd_ratio, learning_starts=0)
    memory = Fixed(random_sample(SPACE))
    for _ in range(40):
        algorithm.learn(memory, 0.5)
    assert algorithm.learner.updates == pytest.approx(utd_ratio * 120 * num_envs, abs=1)


def test_target_network_is_copied_every_so_often():
    """With 4 transitions per call and a copy every 8, the target network is the trained one after each second call."""
    algorithm = dqn(horizon=4, target_every=8, learning_starts=0, lr=1e-2)
    memory = Fixed(random_sample(SPACE))
    copied = []
    for _ in range(6):
        algorithm.learn(memory, 0.5)
        pairs = zip(algorithm.model.parameters(), algorithm.target.parameters(), strict=True)
        copied.append(all(torch.equal(a, b) for a, b in pairs))
    assert copied == [False, True] * 3


def test_target_network_follows_step_by_step():
    """With tau = 0.1 the target network moves a tenth of the way to the trained one in each gradient step."""
    algorithm = dqn(target_every=0, tau=0.1, learning_starts=0)
    before = [p.clone() for p in algorithm.target.parameters()]
    algorithm.learn(Fixed(random_sample(SPACE)), 0.5)
    triples = zip(before, algorithm.model.parameters(), algorithm.target.parameters(), strict=True)
    for old, trained, new in triples:
        torch.testing.assert_close(new, old + 0.1 * (trained - old))


def test_warm_up():
    """Before learning starts nothing is learned and actions are uniform over the allowed; then both begin."""
    algorithm = dqn(num_envs=1, env_steps=1000, learning_starts=100, epsilon=0.0, horizon=4)
    memory = Fixed(random_sample(SPACE))
    mask = torch.tensor([True, False, True, True]).expand(3000, -1)
    obs = {"obs": torch.zeros(3000, WIDTH), "mask": mask}
    counts = torch.bincount(algorithm.act(obs, 0.05).action - START, minlength=ACTIONS)
    assert counts[1] == 0
    assert (counts[[0, 2, 3]] > 900).all()
    assert algorithm.learn(memory, 0.0996) == {}
    assert algorithm.learner.updates == 0
    assert len(algorithm.act(obs, 0.1).action.unique()) == 1
    assert algorithm.learn(memory, 0.1)
    assert algorithm.learner.updates == 1


def test_nothing_is_learned_before_there_is_a_batch():
    """A memory with fewer transitions than the batch is left alone."""
    algorithm = dqn(learning_starts=0, batch_size=1001)
    assert algorithm.learn(Fixed(random_sample(SPACE)), 0.5) == {}


@pytest.mark.parametrize(
    ("exploration", "expected"),
    [("epsilon", [0.55, 0.15, 0.15, 0.15]), ("boltzmann", [0.4754, 0.1749, 0.1749, 0.1749])],
)
def test_exploration_follows_its_schedule(exploration, expected):
    """Half-way, ε = 0.6 leaves 0.4 + 0.15 for the best of four, and T = 1 with Q = 1, 0, 0, 0 leaves e / (e + 3)."""
    options = {"epsilon": {"start": 1.0, "end": 0.2}, "temperature": {"start": 1.5, "end": 0.5}}
    algorithm = dqn(Table([1.0, 0.0, 0.0, 0.0]), exploration=exploration, **options)
    action = algorithm.act({"obs": torch.zeros(40_000, WIDTH)}, 0.5).action
    found = torch.bincount(action - START, minlength=ACTIONS) / 40_000
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.01, rtol=0)


def test_greedy_policy_and_value():
    """The policy takes the best allowed action, counted from the space's start; the value is that action's."""
    algorithm = tables()
    obs = {"obs": torch.tensor([[0.0] * WIDTH, [1.0] * WIDTH])}
    assert algorithm.policy(obs).tolist() == [START + 3, START + 2]
    assert algorithm.value(obs).tolist() == [4.0, 9.0]
    obs["mask"] = torch.tensor([[True, True, False, False], [False, True, False, False]])
    assert algorithm.policy(obs).tolist() == [START + 1, START + 1]
    assert algorithm.value(obs).tolist() == [2.0, 0.0]


def test_observation_statistics_count_what_was_acted_on():
    """Every observation acted on moves the statistics once; evaluating does not."""
    statistics = Running(RunningConfig(), (WIDTH,))
    algorithm = dqn(normalizers={"obs": statistics})
    for _ in range(3):
        algorithm.act({"obs": torch.randn(8, WIDTH)}, 0.5)
        algorithm.policy({"obs": torch.randn(8, WIDTH)})
    assert statistics.count.item() == 24


@pytest.mark.parametrize("options", [{"tau": 0.1}, {"target_every": 0}])
def test_a_target_network_follows_in_one_way(options):
    """Two ways or none are a problem."""
    assert [where for where, _ in DQNConfig(**options).problems({})] == ["tau"]
    assert not list(DQNConfig().problems({}))


@pytest.mark.parametrize("options", [{"epsilon": 1.5}, {"temperature": Linear(start=1.0, end=0.0)}])
def test_exploration_has_limits(options):
    """ε beyond 1 and a temperature of 0 are refused."""
    with pytest.raises(ValidationError, match=next(iter(options))):
        DQNConfig(**options)


def test_other_action_spaces_are_refused():
    """A space without an action's own value is a problem of the spec."""
    info = EnvInfo(1, {"obs": spaces.Box(-1, 1, (WIDTH,))}, spaces.Box(-1, 1, (2,)), CPU)
    with pytest.raises(SpecError, match="values of single actions"):
        DQN.roles(DQNConfig(), info)


def bandit(compile: str, steps: int, **options) -> Session:
    """Trained on the four-armed toy, through the real replay and network."""
    from slmk.registry import get_registry

    registry = with_toys(get_registry())
    spec = {
        "run": {"env_steps": 10_000, "compile": compile},
        "env": {"name": "toy-bandit", "num_envs": 4},
        "algorithm": {"name": "dqn", "learning_starts": 64, **options},
        "memory": {"name": "replay", "capacity": 512},
        "network": {"q": {"name": "mlp", "hidden": [16]}},
    }
    run = Session(slmk.load(spec, registry=registry), 0, registry)
    for _ in islice(iterate(run), steps):
        pass
    return run


def test_compiled_updates_are_the_eager_ones():
    """Twenty compiled updates of the double dueling variant give the parameters of twenty eager ones."""
    runs = [bandit(mode, 24, utd_ratio=0.0625, dueling=True, tau=0.1, target_every=0) for mode in ("on", "off")]
    assert [run.updates for run in runs] == [20, 20]
    assert runs[0].algorithm.learner.choice == "compiled"
    torch.testing.assert_close(*(run.algorithm.learner.flat for run in runs), rtol=1e-3, atol=1e-5)

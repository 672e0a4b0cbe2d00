"""Isaac Lab's backend on modules with its signatures (`fake_isaaclab`): nothing here has run on Isaac Sim."""

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

import slmk_env_isaaclab
from slmk.config import RunConfig
from slmk.errors import SpecError
from slmk.testing import Subject, check_subject, checks_of
from slmk_env_isaaclab import IsaacLabConfig, slmk_env_backends

_spec = spec_from_file_location("fake_isaaclab", Path(__file__).with_name("fake_isaaclab.py"))
fake = module_from_spec(_spec)
sys.modules["fake_isaaclab"] = fake
_spec.loader.exec_module(fake)

CPU = torch.device("cpu")
IDS = {2: "Isaac-Count-v0", 3: "Isaac-Count"}


@pytest.fixture
def make(monkeypatch):
    """Makes a backend on fake modules of a version; all are closed in the end."""
    from slmk_env_isaaclab import backend

    def make(version=2, id=None, num_envs=4, seed=0, **options):
        fake.install(monkeypatch, version)
        config = IsaacLabConfig(id=id or IDS[version], num_envs=num_envs, **options)
        return backend.IsaacLabEnv(config, device=CPU, seed=seed)

    yield make
    for env in list(backend._open):
        env.close()


@pytest.mark.parametrize("version", [2, 3])
def test_the_contract_holds(version, make, monkeypatch):
    """Every check passes; some make several environments at once, which a process of Isaac Lab cannot.

    Of version 2 the last observation is not to be had, of none the state.
    """
    real = slmk_env_isaaclab.backend.IsaacLabEnv
    fake.install(monkeypatch, version)

    def alone(config, *, device, seed):
        env = real(config, device=device, seed=seed)
        slmk_env_isaaclab.backend._open.clear()
        return env

    monkeypatch.setattr("slmk_env_isaaclab.backend._open", [])
    monkeypatch.setattr("slmk_env_isaaclab.backend.IsaacLabEnv", alone)
    (component,) = slmk_env_backends()
    found = Subject.find("env", "isaaclab", options={"id": IDS[version], "kit": False})
    subject = replace(found, component=replace(component, requires=()))
    report = check_subject(subject, checks_of("env", common=False))
    assert report.ok, str(report)
    assert report.of("skipped") == [*(["final_obs"] if version == 2 else []), "state_round_trip"]


def test_any_seed_of_a_run_will_do(make):
    """Runs draw 63 bits for an environment; Isaac Lab hands them to NumPy, which takes 32."""
    env = make(seed=2**62 + 5)
    assert env._env.cfg.seed == 5
    env.reset()


def test_the_last_observation_is_true_where_the_version_gives_it(make):
    """At 3 the observation of the fall; at 2 the one before it stands in, and `EnvInfo` says so."""
    for version, last in ((3, 3.5), (2, 2.5)):
        env = make(version)
        assert env.info.final_obs == (version == 3)
        env.reset()
        env._env.total[:] = 0.5
        for _ in range(2):
            env.step(torch.ones(4, 1))
        step = env.step(torch.tensor([[1.0], [0.1], [0.1], [0.1]]))
        assert step.terminated.tolist() == [True, False, False, False]
        assert step.final_obs["policy"][0].item() == last
        assert step.final_obs["critic"][0].tolist() == [last, 3.0 if version == 3 else 2.0]
        assert torch.equal(step.final_obs["policy"][1:], step.obs["policy"][1:])
        assert step.obs["policy"][0].item() < 1
        env.close()


def test_roles_read_policy_and_critic(make):
    """A task that has no group for the critic shows it what it shows the actor."""
    assert make().info.role_groups == {"actor": ("policy",), "critic": ("critic",)}
    slmk_env_isaaclab.backend._open[0].close()
    assert make(id="Isaac-Count-Direct-v0").info.role_groups == {"actor": ("policy",), "critic": ("policy",)}


def test_options_reach_the_simulation(make):
    """Number, device and seed by the backend; overrides and presets by the spec; pictures and bounds where asked."""
    env = make(
        3, num_envs=2, seed=7, overrides={"sim.dt": 0.05}, presets=("newton_mjwarp",), render=True, clip_actions=2
    )
    cfg = env._env.cfg
    assert (cfg.scene.num_envs, cfg.sim.device, cfg.seed) == (2, "cpu", 7)
    assert (cfg.sim.dt, cfg.fall_at, cfg.compute_final_obs) == (0.05, 100.0, True)
    assert env.info.max_episode_steps == 10
    assert env.info.action_space.high == 2
    assert env.render().shape == (4, 6, 3)
    env.close()
    assert env._env.closed
    assert make().render() is None


def test_what_is_logged_is_reported(make):
    """The mean over the steps in which episodes ended; what is left lying in the extras counts once."""
    env = make(num_envs=1)
    env.reset()
    env._env.total[:] = 0.0
    for _ in range(5):
        env.step(torch.full((1, 1), 0.5))
    assert env.metrics() == {"env/Episode_Reward/total": torch.tensor(2.5)}


def test_the_counter_of_curricula_outlives_a_resume(make):
    """Episodes do not: PhysX gives no exact state."""
    env = make()
    env.reset()
    for _ in range(3):
        env.step(torch.zeros(4, 1))
    state = env.state_dict()
    assert not env.info.exact_state
    env.close()
    other = make()
    other.load_state_dict(state)
    assert other._env.common_step_counter == 3


def test_a_process_has_one_simulation(make):
    """A second one is a problem of the spec, which check finds before anything is started."""
    first = make()
    with pytest.raises(SpecError, match=r"run\.eval_episodes: Isaac Lab has one simulation per process"):
        make()
    first.close()
    make()
    config = IsaacLabConfig(id="Isaac-Count-v0")
    assert not list(config.problems({"run": RunConfig(env_steps=1, eval_episodes=0)}))
    ((_, message),) = config.problems({"run": RunConfig(env_steps=1)})
    assert "eval_episodes = 0" in message


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"id": "Isaac-Cuont-v0"}, "env.id", "did you mean 'Isaac-Count-v0'"),
        ({"id": "CartPole-v1"}, "env.id", "no task of this name"),
        ({"id": "Isaac-Two-v0"}, "env.id", "several agents"),
        ({"overrides": {"sim.dtt": 0.1}}, "env.overrides.sim.dtt", "did you mean 'dt'"),
        ({"overrides": {"scene.num_envs": 1}}, "env.overrides.scene.num_envs", "set env.num_envs"),
        ({"presets": ("newton_mjwarp",)}, "env.presets", "Isaac Lab 3"),
        ({"version": 3, "presets": ("newton_mjwrap",)}, "env.presets", "did you mean 'newton_mjwarp'"),
        ({"version": 3, "presets": ("newton_mjwarp", "newton_kamino")}, "env.presets", "Conflicting global presets"),
        ({"packages": ("no_such_tasks",)}, "env.packages", "no_such_tasks"),
    ],
)
def test_mistakes_are_problems_of_the_spec(make, options, path, words):
    """Before a scene is built, and without leaving one open."""
    with pytest.raises(SpecError) as caught:
        make(**options)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)
    make()


def test_the_application_starts_first_and_closes_last(monkeypatch):
    """Once in a process, before anything else of Isaac Lab; it sees none of slmk's arguments."""
    fake.install(monkeypatch)
    closers = []
    monkeypatch.setattr("atexit.register", closers.append)
    monkeypatch.setattr(slmk_env_isaaclab, "_apps", [])
    monkeypatch.setattr(fake.AppLauncher, "started", [])
    monkeypatch.setattr(sys, "argv", ["slmk", "run", "--seeds", "2"])
    config = IsaacLabConfig(id="Isaac-Count-v0", render=True, app={"device": "cuda:1"})
    IsaacLabConfig(id="Isaac-Count", kit=False).prepare()
    assert fake.AppLauncher.started == []
    config.prepare()
    config.prepare()
    (started,) = fake.AppLauncher.started
    assert started == ({"headless": True, "enable_cameras": True, "device": "cuda:1"}, ["slmk"], False)
    assert closers == [slmk_env_isaaclab._apps[0].close]
    assert sys.argv == ["slmk", "run", "--seeds", "2"]


def test_without_isaac_lab_the_plugin_says_what_to_install():
    """In `slmk plugins`, and to a spec that asks for it."""
    (component,) = slmk_env_backends()
    assert component.requires == ("isaaclab", "isaaclab_tasks")
    assert "isaaclab[isaacsim,all]" in component.install

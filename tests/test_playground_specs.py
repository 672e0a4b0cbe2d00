"""The specs of MuJoCo Playground are its official configurations of Brax's PPO and SAC, each value."""

from math import ceil
from pathlib import Path

import pytest
import torch

import slmk
from slmk_env_playground import PlaygroundConfig

pytest.importorskip("mujoco_playground")
PlaygroundConfig(id="").prepare()

from mujoco_playground import registry  # noqa: E402
from mujoco_playground.config import (  # noqa: E402
    dm_control_suite_params,
    locomotion_params,
    manipulation_params,
)

SPECS = Path(__file__).parent.parent / "specs" / "playground"
FAMILIES = {
    "_dm_control.toml": (registry.dm_control_suite, dm_control_suite_params),
    "_locomotion.toml": (registry.locomotion, locomotion_params),
    "_manipulation.toml": (registry.manipulation, manipulation_params),
}
CASES = [(family, name) for family, (suite, _) in FAMILIES.items() for name in suite.ALL_ENVS]
ROLES = {"actor": "policy", "critic": "value"}
HIDDEN = {"actor": (32,) * 4, "critic": (256,) * 5}
"""Widths where a configuration names none: the defaults of ``brax.training.agents.ppo.networks``."""


def path(name, algorithm="ppo"):
    """The spec of an environment."""
    return SPECS / f"{algorithm}_{name.lower()}.toml"


def steps_between_resets(official):
    """Steps of all environments between two resets in ``brax.training.agents.ppo.train``: so many whole iterations
    that the budget is used up, or more than that, by `num_resets_per_eval` resets before each evaluation but the first.
    """
    steps = official.batch_size * official.num_minibatches * official.unroll_length
    resets = (official.num_evals - 1) * official.num_resets_per_eval
    return steps * ceil(official.num_timesteps / (steps * official.action_repeat * resets)) if resets else 0


@pytest.mark.parametrize(("family", "name"), CASES, ids=[name for _, name in CASES])
def test_a_spec_is_the_official_configuration(family, name):
    """Budget, environments, algorithm and networks are those of `mujoco_playground.config`, or Brax's own defaults."""
    assert f'extends = "{family}"' in path(name).read_text()
    spec = slmk.load(path(name))
    official = FAMILIES[family][1].brax_ppo_config(name)
    if name == "PendulumSwingup":  # Upstream asks for "PendulumSwingUp", so what it says there reaches nobody.
        official.update({"action_repeat": 4, "num_updates_per_batch": 4})
    env, ppo = spec.env.config, spec.algorithm.config
    assert env.id == name
    assert spec.run.env_steps * official.action_repeat == official.num_timesteps
    action_repeat = env.action_repeat or registry.get_default_config(name).get("action_repeat", 1)
    assert (action_repeat, env.num_envs) == (official.action_repeat, official.num_envs)
    assert ppo.unrolls * env.num_envs == official.batch_size * official.num_minibatches
    assert (ppo.unroll_length, ppo.minibatches) == (official.unroll_length, official.num_minibatches)
    assert (ppo.epochs, ppo.gamma) == (official.num_updates_per_batch, official.discounting)
    assert (ppo.lr, ppo.entropy) == (official.learning_rate, official.entropy_cost)
    assert (ppo.lam, ppo.clip) == (0.95, official.get("clipping_epsilon", 0.3))
    assert (ppo.reward_scale, ppo.max_grad_norm) == (official.reward_scaling, official.get("max_grad_norm") or 0)
    assert ("obs" in spec.normalizers) == official.normalize_observations
    assert spec.run.restart_every == steps_between_resets(official)
    assert spec.target is None or spec.target.metric == "final_eval_return"  # Few training episodes come to their end.
    factory = official.get("network_factory", {})
    for role, key in ROLES.items():
        network = spec.networks[role].config
        assert network.hidden == tuple(factory.get(f"{key}_hidden_layer_sizes", HIDDEN[role]))
        assert (network.activation, network.init) == ("swish", "lecun_uniform")
        # By default the actor reads `state`, and the critic `privileged_state` where there is one.
        blind = name == "SpotFlatTerrainJoystick" and role == "critic"
        assert network.obs == (("state",) if blind else ())
        assert not blind or factory.value_obs_key == "state"


@pytest.mark.parametrize("name", registry.dm_control_suite.ALL_ENVS)
def test_a_sac_spec_is_the_official_configuration(name):
    """The same for SAC, for which there are configurations of the DM Control Suite alone."""
    assert 'extends = "_sac.toml"' in path(name, "sac").read_text()
    spec = slmk.load(path(name, "sac"))
    official = dm_control_suite_params.brax_sac_config(name)
    if name == "PendulumSwingup":  # Misspelt upstream, as for PPO; the budget too.
        official.update({"action_repeat": 4, "num_timesteps": 10_000_000})
    env, sac = spec.env.config, spec.algorithm.config
    action_repeat = env.action_repeat or registry.get_default_config(name).get("action_repeat", 1)
    assert (env.id, env.num_envs, action_repeat) == (name, official.num_envs, official.action_repeat)
    assert spec.run.env_steps * official.action_repeat == official.num_timesteps
    assert sac.utd_ratio * env.num_envs == official.grad_updates_per_step
    assert (sac.batch_size, sac.learning_starts) == (official.batch_size, official.min_replay_size)
    assert (sac.lr, sac.gamma, official.reward_scaling) == (official.learning_rate, official.discounting, 1.0)
    assert spec.memory.config.capacity == official.max_replay_size
    assert "obs" in spec.normalizers
    assert official.normalize_observations
    # Brax's own defaults: learning rate of the temperature, its target, the target networks' share, and networks.
    assert (sac.temperature_lr, sac.tau) == (3e-4, 0.005)
    assert sac.target_entropy == -0.5 * registry.load(name).action_size
    for role in ROLES:
        network = spec.networks[role].config
        assert (network.hidden, network.activation, network.init) == ((256, 256), "relu", "lecun_uniform")
    critic = spec.networks["critic"].config
    assert official.network_factory.q_network_layer_norm
    assert (critic.norm, critic.norm_position) == ("layer", "after")


def test_the_spec_with_pictures_is_the_official_configuration():
    """Budget, environments, algorithm, convolutions and layers are those for pictures, but the last layer's scheme."""
    spec = slmk.load(SPECS / "ppo_cartpolebalance_vision.toml")
    official = dm_control_suite_params.brax_vision_ppo_config("CartpoleBalance")
    env, ppo = spec.env.config, spec.algorithm.config
    assert (env.id, env.vision, env.num_envs) == ("CartpoleBalance", True, official.num_envs)
    assert spec.run.env_steps == official.num_timesteps
    assert spec.run.restart_every == steps_between_resets(official)
    assert ppo.unrolls * env.num_envs == official.batch_size * official.num_minibatches
    assert (ppo.unroll_length, ppo.minibatches) == (official.unroll_length, official.num_minibatches)
    assert (ppo.epochs, ppo.gamma) == (official.num_updates_per_batch, official.discounting)
    assert (ppo.lr, ppo.entropy, ppo.clip) == (official.learning_rate, official.entropy_cost, official.clipping_epsilon)
    assert (ppo.reward_scale, ppo.max_grad_norm) == (official.reward_scaling, official.max_grad_norm)
    assert (len(spec.normalizers), official.normalize_observations) == (0, False)
    factory = official.network_factory
    for role, key in ROLES.items():
        network = spec.networks[role].config
        assert (network.channels, network.kernels) == (factory.cnn_output_channels, factory.cnn_kernel_size)
        assert (network.strides, network.max_pool) == (factory.cnn_stride, factory.cnn_max_pool)
        assert (network.padding, factory.cnn_padding) == ("same", "zeros")
        assert (network.conv_activation, network.global_pool) == (factory.cnn_activation, factory.cnn_global_pool)
        assert (network.conv_init, factory.cnn_kernel_init_fn) == ("orthogonal", "orthogonal")
        assert network.hidden == factory[f"{key}_hidden_layer_sizes"]
        assert (network.activation, network.init) == ("swish", "lecun_uniform")
    assert spec.networks["actor"].config.out_gain == factory.output_kernel_init_kwargs.scale


def test_there_is_a_spec_for_every_environment():
    """And none for one that is not there, besides those with pictures, for a laptop, or of first iterations."""
    others = ("_laptop", "_vision", "_short")
    files = {file.name for file in SPECS.glob("ppo_*.toml") if not file.stem.endswith(others)}
    assert files == {path(name).name for _, name in CASES}
    assert len(files) == 54
    of_sac = {file.name for file in SPECS.glob("sac_*.toml")}
    assert of_sac == {path(name, "sac").name for name in registry.dm_control_suite.ALL_ENVS}


@pytest.mark.parametrize("name", ["CheetahRun", "FingerSpin", "HumanoidStand", "ReacherHard", "WalkerWalk"])
def test_envpools_groups_are_playgrounds(name):
    """A policy of one backend reads what the other shows: one group of that name and size."""
    pytest.importorskip("envpool")
    from slmk_env_envpool.backend import EnvPoolEnv

    (spec, *_) = sorted((SPECS.parent / "envpool").glob(f"*_{name.lower()}_envpool.toml"))
    config = slmk.load(spec).env.config.model_copy(update={"num_envs": 1})
    env = EnvPoolEnv(config, device=torch.device("cpu"), seed=0)
    shapes = {group: space.shape for group, space in env.info.observation_spaces.items()}
    env.close()
    assert shapes == {"state": (registry.load(name).observation_size,)}


@pytest.mark.parametrize("file", sorted((SPECS.parent / "envpool").glob("*_envpool.toml")), ids=lambda file: file.stem)
def test_updates_on_envpool_are_the_official_ones(file):
    """The same algorithm and networks from as many transitions, since an env table with another name starts anew."""
    ours, official = slmk.load(file), slmk.load(SPECS / file.name.replace("_envpool", ""))
    algorithms = []
    for spec in (ours, official):
        algorithm = spec.algorithm.config.model_dump()
        # PPO may gather the same number in longer rollouts of fewer environments; SAC updates after each step.
        unrolls = algorithm.pop("unrolls", 1)
        algorithms.append((type(spec.algorithm.config), unrolls * spec.env.config.num_envs, algorithm))
    assert algorithms[0] == algorithms[1]
    assert {role: part.config for role, part in ours.networks.items()} == {
        role: part.config for role, part in official.networks.items()
    }

"""Playground's own environments behind the contract, and mistakes in their options."""

import os
import subprocess
import sys
import textwrap
from ctypes.util import find_library
from pathlib import Path
from types import SimpleNamespace

import jax
import mujoco
import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from slmk.cli import main
from slmk.errors import CheckpointError, RunError, SpecError
from slmk.toolbox import room
from slmk.toolbox.mujoco_log import mujoco_warnings_logged
from slmk_env_playground import PlaygroundConfig, assets
from slmk_env_playground.assets import clone_menagerie, is_whole, link_menagerie, place_of_menagerie
from slmk_env_playground.backend import CHECK_EVERY, PlaygroundEnv
from slmk_env_playground.checks import menagerie
from slmk_env_playground.overflow import SOLVER_ITERATIONS, warn_of_overflow

CPU = torch.device("cpu")


def make(name="CartpoleBalance", num_envs=4, seed=0, **options):
    config = PlaygroundConfig(id=name, num_envs=num_envs, **{"max_episode_steps": 20} | options)
    return PlaygroundEnv(config, device=CPU, seed=seed)


def test_evaluation_has_plain_rewards_and_physics():
    """The options that only training wants are switched off."""
    config = PlaygroundConfig(id="CartpoleBalance", num_envs=8, reward_scale=10.0, randomize=True)
    plain = config.for_evaluation(2)
    assert (plain.num_envs, plain.reward_scale, plain.randomize) == (2, 1.0, False)


def test_options_that_are_equal_share_what_is_compiled():
    """Another seed or scale of rewards needs no other program."""
    assert make(seed=1)._simulation is make(seed=2, reward_scale=2.0)._simulation
    assert make()._simulation is not make(max_episode_steps=7)._simulation


def test_a_step_is_compiled_once():
    """New episodes, those that a step began, a renewed pool and a restored state are one type to JAX."""
    env = make()
    env.reset()
    for _ in range(2 * env._renew_every):
        env.step(torch.zeros(4, 1))
    env.load_state_dict(env.state_dict())
    env.step(torch.zeros(4, 1))
    simulation = env._simulation
    assert simulation._stepped._cache_size() == simulation._restarted._cache_size() == 1


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"name": "CartpoleBalence"}, "env.id", "did you mean 'CartpoleBalance'"),
        ({"overrides": {"sim_dtt": 0.01}}, "env.overrides.sim_dtt", "did you mean 'sim_dt'"),
        ({"overrides": {"sim_dt": "short"}}, "env.overrides.sim_dt", "a number"),
        ({"overrides": {"impl": "jax"}}, "env.overrides.impl", "env.impl"),
        ({"randomize": True}, "env.randomize", "no domain randomiser"),
        ({"name": "CheetahRun", "vision": True}, "env.vision", "CartpoleBalance"),
        ({"impl": "jax", "vision": True}, "env.impl", "only Warp draws pictures"),
        ({"randomize": True, "vision": True}, "env.randomize", "one model"),
        ({"overrides": {"vision_config": {"nworld": 8}}}, "env.overrides.vision_config.nworld", "set env.num_envs"),
    ],
)
def test_mistakes_are_problems_of_the_spec(options, path, words):
    """Before anything is compiled."""
    with pytest.raises(SpecError) as caught:
        make(**options)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)


def test_more_environments_than_memory_holds_are_refused(monkeypatch):
    """By the size of their states, before anything is compiled: 1.7 KiB for a cart with its pole, four times."""
    monkeypatch.setattr(room, "free_memory", lambda device: 2**20)
    with pytest.raises(SpecError, match=r"env\.num_envs: 4,096 environments need about 0\.0 GiB") as caught:
        make(num_envs=4096)
    assert 130 <= int(caught.value.problems[0].hint.removeprefix("there is room for ")) <= 170


def test_pictures_of_more_environments_than_memory_holds_are_refused_before_the_renderer_is_made(monkeypatch):
    """By the pixels that Warp keeps: 16 KiB for 64 × 64 of them in colour, 4 KiB for 32 × 32."""
    from mujoco_playground import registry

    monkeypatch.setattr(room, "free_memory", lambda device: 2**20)
    monkeypatch.setattr(registry, "load", lambda *args, **options: pytest.fail("the environment was made"))
    for resolution, fits in ([64, 64], 64), ([32, 32], 256):
        with pytest.raises(SpecError, match=r"env\.num_envs: 4,096 environments need") as caught:
            make(num_envs=4096, vision=True, overrides={"vision_config": {"cam_res": resolution}})
        assert caught.value.problems[0].hint == f"there is room for {fits}"


def test_a_device_that_jax_lacks_is_named():
    """This machine's JAX has a CPU only."""
    config = PlaygroundConfig(id="CartpoleBalance", num_envs=1)
    with pytest.raises(SpecError, match=r"run\.device: JAX has no such device"):
        PlaygroundEnv(config, device=torch.device("cuda:0"), seed=0)


def test_overrides_reach_the_environment():
    """As tables or by dotted keys."""
    assert make(overrides={"sim_dt": 0.005})._simulation.env.sim_dt == 0.005
    with pytest.raises(SpecError, match=r"env\.overrides\.noise\.level"):
        make(overrides={"noise": {"level": 0.0}})


def test_the_state_of_other_environments_is_refused():
    """Eight environments cannot go on from the state of four."""
    four, eight = make(), make(num_envs=8)
    four.reset()
    with pytest.raises(CheckpointError, match="other environments"):
        eight.load_state_dict(four.state_dict())


def poisoned(env):
    """Environments 0 and 2 have a position that is not a number: at once, and then never again."""
    import jax

    state = env._simulation.state_of(env._carry)
    bad = state.data.qpos.at[np.array([0, 2])].set(np.nan)
    state = state.replace(data=state.data.replace(qpos=bad))
    env._carry = env._carry._replace(state=jax.tree.leaves(state))


def test_lost_episodes_are_counted_and_reported():
    """Two of four are cut; the count goes with the state, and a run that may lose some goes on."""
    env = make(nan_limit=1.0)
    env.reset()
    poisoned(env)
    out = env.step(torch.zeros(4, 1))
    assert out.truncated.tolist() == [True, False, True, False]
    assert all(x.isfinite().all() for x in (out.obs["state"], out.final_obs["state"], out.reward))
    with capture_logs() as logs:
        for _ in range(CHECK_EVERY - 1):
            env.step(torch.zeros(4, 1))
    assert [(each["so_far"], each["log_level"]) for each in logs] == [(2, "warning")]
    other = make(nan_limit=1.0)
    other.load_state_dict(env.state_dict())
    assert other._carry.lost == 2


def test_pictures_show_what_happens():
    """Pushed right and left, two carts part in the newest of three pictures; the others are those of before."""
    env = make(num_envs=2, vision=True, max_episode_steps=30)
    before = env.reset()["pixels/view_0"]
    assert before.shape == (2, 64, 64, 3)
    assert torch.equal(before[..., 0], before[..., 2])
    start = place_of_cart(before)
    for _ in range(29):
        step = env.step(torch.tensor([[1.0], [-1.0]]))
        assert torch.equal(step.obs["pixels/view_0"][..., :2], before[..., 1:])
        before = step.obs["pixels/view_0"]
    moved = place_of_cart(before) - start
    assert moved[0] > 5
    assert moved[1] < -5
    last = env.step(torch.tensor([[1.0], [-1.0]]))
    assert last.truncated.all()
    assert torch.equal(last.final_obs["pixels/view_0"][..., :2], before[..., 1:])
    new = last.obs["pixels/view_0"]
    assert torch.equal(new[..., 0], new[..., 2])
    torch.testing.assert_close(place_of_cart(new), torch.full((2,), 31.5), rtol=0, atol=3)


def place_of_cart(pictures):
    """Mean column of what is bright where the cart runs, in the newest picture of each stack (N, 64, 64, 3)."""
    row = pictures[:, 31, :, 2] + 0.5
    return (row * torch.arange(64)).sum(-1) / row.sum(-1)


@pytest.mark.skipif(not find_library("EGL"), reason="draws with EGL")
def test_a_film_is_drawn_by_one_renderer(tmp_path):
    """In a process of its own, since MuJoCo reads at import how to draw: pictures change as the cart is pushed."""
    code = """
    import torch
    from slmk_env_playground import PlaygroundConfig
    config = PlaygroundConfig(id="CartpoleBalance", num_envs=1, render=True, camera="fixed")
    config.prepare()
    import mujoco
    from slmk_env_playground.backend import PlaygroundEnv
    made = []
    make = mujoco.Renderer
    mujoco.Renderer = lambda *a: made.append(make(*a)) or made[-1]
    env = PlaygroundEnv(config, device=torch.device("cpu"), seed=0)
    env.reset()
    pictures = [env.render()]
    for _ in range(20):
        env.step(torch.ones(1, 1))
        pictures.append(env.render())
    env.close()
    assert len(made) == 1
    assert all(picture.shape == (240, 320, 3) and picture.any() for picture in pictures)
    assert (pictures[0] != pictures[-1]).any()
    """
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_camera_that_is_not_there_is_a_problem():
    """With the nearest name."""
    env = make(render=True, camera="fixd")
    env.reset()
    with pytest.raises(SpecError, match=r"env\.camera: .*found fixd.*did you mean 'fixed'"):
        env.render()


def test_where_nothing_draws_the_advice_says_what_to_set(monkeypatch):
    """MuJoCo's own words are about contexts that were not created."""

    def refuse(*_):
        raise mujoco.FatalError("an OpenGL platform library has not been loaded")

    monkeypatch.setattr(mujoco, "Renderer", refuse)
    env = make(render=True)
    env.reset()
    with pytest.raises(RunError, match=r"cannot draw: an OpenGL platform library.* set MUJOCO_GL=egl"):
        env.render()


def test_what_mujoco_warns_of_is_logged_once(tmp_path, monkeypatch):
    """And neither printed nor written into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slmk.toolbox.mujoco_log._said", set())  # Robots of other tests had the same to say.
    old = "<mujoco><compiler settotalmass='1'/><worldbody><body><geom size='1'/></body></worldbody></mujoco>"
    with capture_logs() as logs, mujoco_warnings_logged():
        for _ in range(3):
            mujoco.MjModel.from_xml_string(old)
    assert [entry["message"] for entry in logs if "settotalmass" in entry["message"]] == [logs[0]["message"]]
    assert not list(tmp_path.iterdir())


def test_each_kind_of_overflow_is_told_once():
    """Contacts that were left out are news; that a solver took all its iterations is none."""

    def data(*bits):
        return SimpleNamespace(_impl=SimpleNamespace(overflow=np.array(bits)))

    with capture_logs() as logs:
        told = warn_of_overflow(data(0, SOLVER_ITERATIONS), 0)
        assert (told, logs) == (0, [])
        told = warn_of_overflow(data(0b1, 0b1000, SOLVER_ITERATIONS), told)
        told = warn_of_overflow(data(0b1, 0b1000), told)
    assert [entry["kinds"] for entry in logs] == [["NEFC", "NARROWPHASE"]]
    assert warn_of_overflow(SimpleNamespace(_impl=SimpleNamespace()), told) == told


def test_too_many_lost_episodes_stop_the_run(tmp_path, monkeypatch):
    """With a file from which the steps can be taken again, and lead to the same end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("slmk_env_playground.backend.TOLERATED", 1)
    env = make()
    env.reset()
    for _ in range(5):
        env.step(torch.zeros(4, 1))
    env._actions = []  # As after a check.
    poisoned(env)
    for step in range(CHECK_EVERY - 1):
        env.step(torch.full((4, 1), step / CHECK_EVERY))
    with pytest.raises(RunError, match="nan_limit") as caught:
        env.step(torch.ones(4, 1))
    (path,) = tmp_path.glob("slmk-nan-*/CartpoleBalance.pt")
    assert str(path) in str(caught.value)
    kept = torch.load(path)
    assert kept["actions"].shape == (CHECK_EVERY, 4, 1)
    again = make(nan_limit=1.0)
    again.load_state_dict(kept["state"])
    for action in kept["actions"]:
        again.step(action)
    assert again._carry.lost == 2
    for mine, theirs in zip(again.state_dict()["carry"], env.state_dict()["carry"], strict=True):
        assert torch.equal(mine.nan_to_num(), theirs.nan_to_num())


def test_what_jax_reads_at_import_is_set_unless_it_is_set_already(monkeypatch, tmp_path):
    """By `prepare`, which the session calls before anything is imported."""
    import os

    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "default")
    names = ("XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_COMPILATION_CACHE_DIR", "NPROC", "XLA_FLAGS")
    names += ("TF_CPP_MIN_LOG_LEVEL", "TPU_SKIP_MDS_QUERY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    PlaygroundConfig(id="CartpoleBalance", cache=str(tmp_path), num_threads=1).prepare()
    assert os.environ["NPROC"] == "1"
    assert "multi_thread_eigen=false" in os.environ["XLA_FLAGS"]
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert os.environ["JAX_DEFAULT_MATMUL_PRECISION"] == "default"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
    for name in names:
        monkeypatch.delenv(name)


def robots(folder, *names):
    """A package's folder with these robots."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "scene.xml").write_text(f"<mujoco model='{name}'/>")
    return folder


def test_robots_of_several_packages_are_linked_into_one_menagerie(tmp_path):
    """A link that leads nowhere, as after an uninstall, makes it anew; nothing is left over."""
    place = tmp_path / "external_deps" / "mujoco_menagerie"
    dogs, people = robots(tmp_path / "dogs", "spot", "go1"), robots(tmp_path / "people", "g1")
    assert not is_whole(place)
    assert link_menagerie(place, [dogs])
    assert is_whole(place)
    assert link_menagerie(place, [dogs, people])
    assert sorted(each.name for each in place.iterdir()) == ["g1", "go1", "spot"]
    assert (place / "g1" / "scene.xml").read_text() == "<mujoco model='g1'/>"
    (people / "g1").rename(people / "h1")
    assert not is_whole(place)
    assert link_menagerie(place, [dogs, people])
    assert sorted(each.name for each in place.iterdir()) == ["go1", "h1", "spot"]
    assert [each.name for each in place.parent.iterdir()] == ["mujoco_menagerie"]


def test_a_clone_is_there_as_a_whole_or_not_at_all(tmp_path):
    """What an interrupted one left is replaced; one that fails says why, and leaves what was there."""
    origin, place = robots(tmp_path / "origin", "spot"), tmp_path / "external_deps" / "mujoco_menagerie"
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "robots"]):
        subprocess.run([*git, *arguments], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (place / ".git").mkdir(parents=True)
    assert not is_whole(place)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        clone_menagerie(place, str(tmp_path / "nowhere"), commit)
    assert "nowhere" in caught.value.stderr
    clone_menagerie(place, str(origin), commit)
    assert is_whole(place)
    assert (place / "spot" / "scene.xml").exists()
    assert [each.name for each in place.parent.iterdir()] == ["mujoco_menagerie"]
    (place / ".git" / "index.lock").touch()
    assert not is_whole(place)


def test_the_menagerie_is_looked_for_where_playground_does():
    """Without importing it, which takes seconds."""
    from mujoco_playground._src import mjx_env

    assert place_of_menagerie() == Path(mjx_env.MENAGERIE_PATH)


def test_the_doctor_looks_at_jax_and_at_the_robots(capsys):
    """Both are there where these tests run."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"jax: {jax.__version__} on " in out
    assert "menagerie: " in out


@pytest.mark.parametrize(
    ("whole", "packages", "state", "words"),
    [(True, [], "ok", "1 robots in"), (False, ["some"], "ok", "linked when"), (False, [], "note", "are not there")],
)
def test_what_the_doctor_says_of_the_robots(tmp_path, monkeypatch, whole, packages, state, words):
    """That they are there, that they will be, or what to do."""
    if whole:
        robots(tmp_path, "spot")
    monkeypatch.setattr(assets, "place_of_menagerie", lambda: tmp_path)
    monkeypatch.setattr(assets, "folders", lambda: packages)
    (finding,) = menagerie()
    assert finding.state == state
    assert words in finding.detail
    assert (finding.advice != "") == (state == "note")


def test_without_packages_there_is_nothing_to_link(tmp_path):
    """Then Playground's own clone has to do."""
    assert not link_menagerie(tmp_path / "mujoco_menagerie", [])
    (tmp_path / "file").write_text("")
    assert not link_menagerie(tmp_path / "file" / "mujoco_menagerie", [robots(tmp_path / "dogs", "spot")])

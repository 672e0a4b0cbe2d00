"""Specs: what is right becomes a blueprint, what is wrong is told at once, with file, line, path and remedy."""

import pickle
import textwrap
from pathlib import Path

import pytest
import tomli

from slmk import AlgorithmConfig, Component, PluginError, SpecError, hookimpl
from slmk.discovery import from_file
from slmk.registry import Registry
from slmk.spec import load, load_policy_sections
from slmk.testing.subject import with_toys

TOY = Path(__file__).with_name("toy.toml")
REGISTRY = Registry([from_file(TOY.with_name("toy_plugin.py"))])
RIGHT = TOY.read_text().replace('plugins = ["toy_plugin.py"]', "")


@pytest.fixture
def write(tmp_path):
    """Writes a spec and returns its path."""

    def write_spec(text, name="spec.toml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write_spec


def problems(source, *overrides, registry=REGISTRY):
    """The problems of a wrong spec."""
    with pytest.raises(SpecError) as caught:
        load(source, overrides, registry)
    return caught.value.problems


def only(source, *overrides, registry=REGISTRY):
    """The one problem of a spec, as text without the file's folder."""
    (problem,) = problems(source, *overrides, registry=registry)
    return str(problem).replace(f"{Path(problem.file).parent}/" if problem.file else "", "")


def changed(old, new):
    """The right spec with one change."""
    assert old in RIGHT
    return RIGHT.replace(old, new)


def test_a_right_spec_becomes_a_blueprint():
    """Every section is there, with typed options, and the reporter, roles and target that the file states."""
    blueprint = load(TOY)
    assert blueprint.name == "toy"
    assert (blueprint.run.env_steps, blueprint.run.seed) == (1000, 0)
    assert (blueprint.env.component.name, blueprint.env.config.id) == ("toy", "Toy-v0")
    assert blueprint.env.config.kwargs == {"gravity": 9.81, "sizes": (1, 2)}
    assert (blueprint.algorithm.config.clip.start, blueprint.algorithm.config.clip.end) == (0.2, 0.0)
    assert list(blueprint.networks) == ["policy", "value"]
    assert blueprint.networks["policy"].config.hidden == (32, 16)
    assert list(blueprint.normalizers) == ["obs"]
    assert blueprint.reporters[0].component.name == "toy"
    assert blueprint.target.score == 100.0
    assert blueprint.text == TOY.read_text()
    assert blueprint.directory == TOY.parent


def test_resolved_spec_gives_an_equal_blueprint(tmp_path):
    """What `resolved_toml` writes loads to an equal blueprint, also with overrides, under another file name."""
    blueprint = load(TOY, ["algorithm.warmup=7", "env.kwargs={ 'a b' = [1.5, { c = \"\\u2028#\" }] }", "reporter=[]"])
    path = tmp_path / "resolved.toml"
    path.write_text(blueprint.resolved_toml(), encoding="utf-8")
    again = load(path)
    assert again == blueprint
    assert again.resolved() == blueprint.resolved() == tomli.loads(path.read_text(encoding="utf-8"))


def test_resolved_spec_says_where_each_value_comes_from():
    """The file and line, `-s` and `default` stand behind the values, and in `sources`."""
    blueprint = load(TOY, ["run.seeds=3"])
    lines = blueprint.resolved_toml().splitlines()
    assert f"gamma = 0.95  # {TOY}:15" in lines
    assert "seeds = 3  # -s" in lines
    assert 'compile = "auto"  # default' in lines
    assert blueprint.sources["network.policy.hidden"] == f"{TOY}:23"
    assert blueprint.sources["reporter.0.interval"] == "default"


def test_blueprint_can_be_sent_to_another_process():
    """A blueprint survives pickling."""
    blueprint = load(TOY)
    assert pickle.loads(pickle.dumps(blueprint)) == blueprint


def test_policy_sections_go_to_a_checkpoint_and_back():
    """What a checkpoint stores is enough for the algorithm and its networks, without the environment's plugin."""
    blueprint = load(TOY)
    again = load_policy_sections(blueprint.policy_sections(), REGISTRY)
    assert (again.run, again.algorithm) == (blueprint.run, blueprint.algorithm)
    assert (again.networks, again.normalizers) == (blueprint.networks, blueprint.normalizers)


def test_policy_sections_run_no_code(tmp_path):
    """A checkpoint that names a plugin file does not get it imported."""
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()")
    toy = load(TOY)
    sections = {**toy.policy_sections(), "plugins": [str(tmp_path / "evil.py")]}
    assert load_policy_sections(sections, REGISTRY).networks == toy.networks
    assert not ran.exists()


def test_ten_mistakes_are_told_at_once(write):
    """Ten mistakes of ten sorts: all are reported, in the order of their lines, with path and suggestion."""
    path = write(
        """\
        titel = "mine"

        [run]
        env_steps = "many"
        sed = 1

        [env]
        name = "toy"
        num_envs = 0

        [algorithm]
        name = "toy"
        gamma = 1.5
        kind = "discret"

        [memory]
        name = "toy_replay"

        [network.policy]
        name = "tyo"

        [network.value]
        name = "toy"
        hidden = [
          32,
          "x",
        ]

        [normalizer.obz]
        name = "toy"

        [launcher]
        name = "toy"
        """
    )
    found = [(p.line, p.path, p.hint) for p in problems(path)]
    assert found[0][:2] == (1, "titel")
    assert found[1:] == [
        (4, "run.env_steps", None),
        (5, "run.sed", "did you mean 'seed'?"),
        (7, "env.id", None),
        (9, "env.num_envs", None),
        (13, "algorithm.gamma", None),
        (14, "algorithm.kind", "did you mean 'discrete'?"),
        (17, "memory.name", "such memories: toy_rollout"),
        (20, "network.policy.name", "did you mean 'toy'?"),
        (26, "network.value.hidden.1", None),
        (29, "normalizer.obz", "did you mean 'obs'?"),
    ]
    assert all(problem.file == str(path) for problem in problems(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            changed("env_steps = 1_000", "env_steps = 0"),
            "spec.toml:5: run.env_steps: wrong value (expected an integer above 0, found the integer 0)",
        ),
        (
            changed("env_steps = 1_000", "env_steps = 1000\ndebug = 1"),
            "spec.toml:6: run.debug: wrong type (expected true or false, found the integer 1)",
        ),
        (
            changed("env_steps = 1_000", ""),
            "spec.toml:4: run.env_steps: missing key (expected an integer above 0)",
        ),
        (
            changed("clip = { start = 0.2, end = 0 }", 'clip = "small"'),
            "spec.toml:16: algorithm.clip: wrong type (expected a number at least 0 or a table of start, end, until, "
            "found the string 'small')",
        ),
        (
            changed("clip = { start = 0.2, end = 0 }", "clip = -0.1"),
            "spec.toml:16: algorithm.clip: wrong value (expected a number at least 0 or a table of start, end, until, "
            "found the number -0.1)",
        ),
        (
            changed("clip = { start = 0.2, end = 0 }", "clip = { start = 0.2, end = -0.1 }"),
            "spec.toml:16: algorithm.clip: goes from 0.2 to -0.1, and has to be at least 0 (found a table)",
        ),
        (
            changed("clip = { start = 0.2, end = 0 }", "clip = { start = 0.2, end = 0, untill = 1.0 }"),
            "spec.toml:16: algorithm.clip.untill: unknown key; did you mean 'until'?",
        ),
        (
            changed("gamma = 0.95", "lr = nan"),
            "spec.toml:15: algorithm.lr: wrong value (expected a finite number, found the number nan)",
        ),
        (
            changed("gamma = 0.95", "gamma = -inf"),
            "spec.toml:15: algorithm.gamma: wrong value (expected a finite number, found the number -inf)",
        ),
        (
            changed("gravity = 9.81", "born = 2024-02-29"),
            "spec.toml:11: env.kwargs.born: wrong value (expected a string, a number, true or false, a list or a "
            "table, found a date)",
        ),
        (
            changed("gravity = 9.81", "big = 9223372036854775808"),
            "spec.toml:11: env.kwargs.big: wrong value (expected an integer of 64 bits, "
            "found the integer 9223372036854775808)",
        ),
        (
            changed("gamma = 0.95", "minibatches = 13"),
            "spec.toml:15: algorithm.minibatches: thirteen brings bad luck (found the integer 13)",
        ),
        (
            changed("gamma = 0.95", "minibatches = 3"),
            "spec.toml:15: algorithm.minibatches: not a multiple of the 2 environments",
        ),
        (
            changed('id = "Toy-v0"', 'id = "Toy-v0"\nid = "Toy-v1"'),
            "spec.toml:10: not valid TOML: Cannot overwrite a value",
        ),
        (
            changed('[env]\nname = "toy"\nid', '[env]\nname = "toy_lacking"\nid'),
            "spec.toml:8: env.name: 'toy_lacking' needs the module 'no_such_module'; pip install 'toy[all]'",
        ),
        (
            changed('[env]\nname = "toy"\nid', '[env]\nname = "playground"\nid'),
            "spec.toml:8: env.name: environment backend 'playground' is not installed; pip install slmk-env-playground",
        ),
        (
            changed('[env]\nname = "toy"\nid', "[env]\nid"),
            "spec.toml:7: env.name: missing key (expected one of toy, toy_lacking)",
        ),
        (
            changed('[memory]\nname = "toy_rollout"', ""),
            "spec.toml: memory: missing section: the algorithm 'toy' needs a memory (expected a memory that offers "
            "'take'); such memories: toy_rollout",
        ),
        (
            changed('[network.value]\nname = "toy"', ""),
            "spec.toml:21: network.value: missing section: the algorithm 'toy' needs a network for the role 'value'; "
            "add a table [network.value]",
        ),
        (
            changed("[[reporter]]", "[reporter]"),
            "spec.toml:34: reporter: wrong type (expected tables [[reporter]], found a table)",
        ),
        (
            changed("[run]\nenv_steps = 1_000", "run = 3"),
            "spec.toml:4: run: wrong type (expected a table, found the integer 3)",
        ),
        (changed("[target]", "[targets]"), "spec.toml:40: targets: unknown section; did you mean 'target'?"),
        (
            changed("[run]", 'name = "a/b"\n[run]'),
            "spec.toml:4: name: wrong value (expected a name that can be that of a folder, found the string 'a/b')",
        ),
    ],
)
def test_one_mistake_is_told_with_its_place_and_remedy(write, text, told):
    """Each mistake: file, line, path, what was expected, what was found, what to do."""
    assert only(write(text)) == told


def test_broken_plugin_is_a_plugin_error_only_where_nothing_else_is_wrong(write):
    """A spec that asks for an outdated component fails with exit code 3, or 2 if it is wrong itself."""
    outdated = changed('[algorithm]\nname = "toy"', '[algorithm]\nname = "toy_old"')
    with pytest.raises(PluginError, match="version 0 of the plugin contract") as caught:
        load(write(outdated), registry=REGISTRY)
    assert caught.value.exit_code == 3
    assert len(problems(write(outdated.replace("env_steps = 1_000", "env_steps = 0")))) == 2


def test_checks_that_raise_are_the_plugins_fault(write):
    """An exception in a plugin's own check becomes a PluginError that names the section."""
    from slmk import LauncherConfig

    class Careless(LauncherConfig):
        def problems(self, spec):
            raise KeyError("somewhere")

    class Plugin:
        @hookimpl
        def slmk_launchers(self):
            return [Component("careless", Careless, "a:b", "s")]

    registry = REGISTRY.extended(Registry.from_modules([Plugin()])._plugins)
    spec = write(changed('[launcher]\nname = "toy"', '[launcher]\nname = "careless"'))
    with pytest.raises(PluginError, match="launcher: the plugin cannot check its options: KeyError: 'somewhere'"):
        load(spec, registry=registry)


class Rolling(AlgorithmConfig):
    """Options of an algorithm that learns from rollouts."""

    memory = "take"
    roles = ("actor", "critic")
    horizon: int = 16
    minibatches: int = 2


class Segmented(Rolling):
    """One that cuts rollouts by itself."""

    windowed = False


class Drawing(Rolling):
    """One that learns from samples."""

    memory = "sample"


class Whole(Rolling):
    """One that need not split rollouts."""

    minibatches: int | None = None


class Learners:
    """A plugin with these algorithms."""

    @hookimpl
    def slmk_algorithms(self):
        options = {"rolling": Rolling, "segmented": Segmented, "drawing": Drawing, "whole": Whole}
        return [Component(name, config, "a:b", "s") for name, config in options.items()]


REMEMBERING = """\
    [run]
    env_steps = 1_000
    [env]
    name = "toy-memory"
    num_envs = 3
    [algorithm]
    name = "rolling"
    [memory]
    name = "toy-take"
    [network.actor]
    name = "toy-recurrent"
    window = 4
    [network.critic]
    name = "toy-recurrent"
    window = 4
    """
SEQUENCE = "trained on single transitions it learns to remember nothing; set memory.sequence to more than 1"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], []),
        (
            ["network.critic.window=8"],
            [
                "network.critic.window: the roles have windows of 4, 8 steps, "
                "but a rollout is cut once, for all of them",
                "spec.toml:12: network.actor.window: the roles have windows of 4, 8 steps, "
                "but a rollout is cut once, for all of them",
            ],
        ),
        (
            ["algorithm.horizon=18"],
            [
                "spec.toml:12: network.actor.window: the algorithm's horizon of 18 steps is not a multiple of 4",
                "spec.toml:15: network.critic.window: the algorithm's horizon of 18 steps is not a multiple of 4",
            ],
        ),
        (
            ["algorithm.minibatches=8", "network.critic.name=toy-mlp"],
            [
                "spec.toml:12: network.actor.window: 12 windows (horizon / window × num_envs) "
                "do not split into 8 minibatches"
            ],
        ),
        (["network.actor.window=5", "algorithm.name=segmented"], []),
        (["algorithm.name=whole"], []),
        (
            ["network.critic.window=8", "algorithm.horizon=long"],
            [
                "algorithm.horizon: wrong type (expected an integer, found the string 'long')",
                "network.critic.window: the roles have windows of 4, 8 steps, "
                "but a rollout is cut once, for all of them",
                "spec.toml:12: network.actor.window: the roles have windows of 4, 8 steps, "
                "but a rollout is cut once, for all of them",
            ],
        ),
        (
            ["algorithm.name=drawing", "memory.name=toy-sample"],
            [f"spec.toml:10: network.actor: {SEQUENCE}", f"spec.toml:13: network.critic: {SEQUENCE}"],
        ),
        (["algorithm.name=drawing", "memory.name=toy-sample", "memory.sequence=8", "network.actor.window=5"], []),
    ],
)
def test_networks_that_remember_are_given_sequences(write, overrides, told):
    """Windows of all roles are equal and fill horizon and minibatches; samples are sequences."""
    registry = with_toys(Registry.from_modules([Learners()]))
    path = write(REMEMBERING)
    found = []
    try:
        load(path, overrides, registry)
    except SpecError as error:
        found = [str(problem).replace(f"{path.parent}/", "") for problem in error.problems]
    assert found == told


def test_a_policy_that_remembers_needs_no_sequences(write):
    """It is not trained, and its sections say nothing of a memory."""
    registry = with_toys(Registry.from_modules([Learners()]))
    sections = load(write(REMEMBERING), registry=registry).policy_sections()
    sections["network"]["actor"]["window"] = 5
    assert load_policy_sections(sections, registry).networks["actor"].config.window == 5


def test_algorithm_without_needs_takes_no_memory_and_no_network(write):
    """An algorithm that needs no memory has none where the spec has none, and may ignore one."""
    spec = write('[run]\nenv_steps = 10\n[env]\nname = "toy"\nid = "T"\n[algorithm]\nname = "toy_random"\n'
                 '[launcher]\nname = "toy"\n')  # fmt: skip
    assert load(spec, registry=REGISTRY).memory is None
    assert load(spec, ["memory.name=toy_replay"], REGISTRY).memory.component.name == "toy_replay"


def test_missing_sections_are_named(write):
    """A spec without its three required sections is told so once for each."""
    paths = {p.path for p in problems(write('[launcher]\nname = "toy"'))}
    assert paths == {"run", "env", "algorithm"}


class TestExtends:
    """`extends`: a family of specs states only what differs."""

    def test_tables_merge_and_arrays_replace(self, write):
        """The child's keys go over the base's, table by table; a list replaces a list."""
        write(RIGHT, "base.toml")
        child = write('extends = "base.toml"\n[run]\nseeds = 4\n[network.policy]\nhidden = [8]\n', "child.toml")
        blueprint = load(child, registry=REGISTRY)
        assert (blueprint.run.env_steps, blueprint.run.seeds) == (1000, 4)
        assert blueprint.networks["policy"].config.hidden == (8,)
        assert blueprint.name == "child"
        assert blueprint.sources["run.env_steps"].endswith("base.toml:5")
        assert blueprint.sources["run.seeds"].endswith("child.toml:3")

    def test_another_component_drops_the_options_of_the_base(self, write):
        """Where the child chooses another component, options of the base's component are not carried over."""
        write(RIGHT.replace('name = "toy_rollout"', 'name = "toy_replay"\nsize = 5'), "base.toml")
        child = write('extends = "base.toml"\n[memory]\nname = "toy_rollout"\n', "child.toml")
        assert load(child, registry=REGISTRY).memory.resolved() == {"name": "toy_rollout"}

    def test_several_bases_apply_in_their_order(self, write):
        """Of two bases the later one wins; a base of a base counts too."""
        write(RIGHT, "root.toml")
        write('extends = "root.toml"\n[run]\nseeds = 2\nseed = 2', "a.toml")
        write("[run]\nseeds = 3", "b.toml")
        run = load(write('extends = ["a.toml", "b.toml"]', "child.toml"), registry=REGISTRY).run
        assert (run.seeds, run.seed, run.env_steps) == (3, 2, 1000)

    def test_mistake_is_told_in_the_file_where_it_stands(self, write):
        """A mistake in the base has the base's file and line."""
        write(changed("gamma = 0.95", "gama = 0.95"), "base.toml")
        assert only(write('extends = "base.toml"\n', "child.toml")).startswith("base.toml:15: algorithm.gama: unknown")

    def test_circle_is_a_problem(self, write):
        """Files that extend each other are a mistake, told at the line that closes the circle."""
        write('extends = "b.toml"', "a.toml")
        told = only(write('\nextends = ["a.toml"]', "b.toml"), registry=None)
        assert told == "a.toml:1: extends: the files extend each other in a circle: b.toml → a.toml → b.toml"

    def test_missing_base_is_told_at_the_line_that_asks_for_it(self, write):
        """The file that does not exist is named where it is extended."""
        assert "spec.toml:1: extends: there is no file" in only(write('extends = "nowhere.toml"'), registry=None)

    def test_a_missing_base_hides_no_other_mistake(self, write):
        """What the file itself says is checked; nobody can say what is missing from it."""
        told = problems(
            write('extends = "nowhere.toml"\n[run]\nsedes = 3\n[algorithm]\nname = "nobody"\n'), registry=None
        )
        assert [problem.path for problem in told] == ["extends", "run.sedes", "algorithm.name"]

    def test_wrong_type_of_extends(self, write):
        """`extends` takes a path or a list of paths."""
        assert "expected a path or a list of paths, found the integer 3" in only(write("extends = 3"), registry=None)


@pytest.mark.parametrize("device", ["gpu9", "cuda:", "0", "cuda:x"])
def test_a_device_has_the_form_of_one(device):
    """Whether it is there is known only where it runs, but not what it might be called."""
    assert "run.device" in only(TOY, f"run.device={device!r}", registry=None)


class TestOverrides:
    """`-s path=value`: any key, typed."""

    @pytest.mark.parametrize(
        ("override", "value"),
        [
            ("env.id=Hopper-v5", "Hopper-v5"),
            ("env.id='Hopper v5'", "Hopper v5"),
            ('env."id" = "x=y"', "x=y"),
            ("env.id=a=b", "a=b"),
            ("env.id=", ""),
        ],
    )
    def test_strings_need_no_quotes(self, override, value):
        """A value that is not TOML is a plain string."""
        assert load(TOY, [override]).env.config.id == value

    def test_values_are_typed(self):
        """Numbers, lists, booleans and tables are TOML."""
        blueprint = load(
            TOY, ["run.debug=true", "algorithm.clip={ start = 1, end = 0 }", "network.value.hidden=[1, 2]"]
        )
        assert blueprint.run.debug is True
        assert blueprint.algorithm.config.clip.start == 1.0
        assert blueprint.networks["value"].config.hidden == (1, 2)

    def test_arrays_are_indexed(self):
        """A number names an element of an array; one more than there are appends."""
        blueprint = load(TOY, ["reporter.0.interval=5", "reporter.1.name=toy"])
        assert [part.config.interval for part in blueprint.reporters[:2]] == [5, 1]

    def test_another_component_drops_the_options_before_others_are_set(self, write):
        """`memory.name` replaces the component whatever the order of the overrides, and drops the file's options."""
        spec = write(changed('[memory]\nname = "toy_rollout"', '[memory]\nname = "toy_rollout"\nobsolete = 3'))
        blueprint = load(spec, ["memory.size=9", "algorithm={ name = 'toy_random' }", "network={}", "normalizer={}",
                                "memory.name=toy_replay"], REGISTRY)  # fmt: skip
        assert blueprint.memory.resolved() == {"name": "toy_replay", "size": 9}

    @pytest.mark.parametrize(
        ("overrides", "section", "expected"),
        [
            (["normalizer={}", "normalizer.obs.name=toy"], "normalizer", {"obs": {"name": "toy", "momentum": 0.9}}),
            (["reporter=[]", "reporter.0.interval=3", "reporter.0.name=toy"], "reporter",
             [{"name": "toy", "interval": 3}, {"name": "console", "interval": 10.0}, {"name": "jsonl"}]),
            (["memory={ name = 'toy_replay', size = 9 }", "memory.name=toy_rollout"], "memory",
             {"name": "toy_rollout"}),
            (["memory.name=toy_replay", "memory={ name = 'toy_rollout' }"], "memory", {"name": "toy_rollout"}),
            (["memory.name=toy_replay", "memory.size=9", "memory.name=toy_rollout"], "memory",
             "memory.size: unknown key"),
            (["env.num_envs=4", "env={ name = 'toy', id = 'x' }", "env.id=y", "env.name=toy"], "env",
             {"name": "toy", "num_envs": 1, "reward_scale": 1.0, "render": False, "id": "y", "kwargs": {}}),
        ],
    )  # fmt: skip
    def test_later_ones_win(self, overrides, section, expected):
        """Also where one sets a whole table and the other chooses a component in it."""
        if isinstance(expected, str):
            assert str(problems(TOY, *overrides, registry=None)[0]).startswith(expected)
        else:
            assert load(TOY, overrides).resolved()[section] == expected

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("run.sede=1", "run.sede: unknown key; did you mean 'seed'?"),
            ("rum.seed=1", "rum: unknown section; did you mean 'run'?"),
            ("run.env_steps.x=1", "run.env_steps: not a table, so nothing can be set inside (found the integer 1000)"),
            ("run.seeds=x", "run.seeds: wrong type (expected an integer above 0, found the string 'x')"),
            ("reporter.7.interval=1", "reporter.7: no such element of the list (expected an index from 0 to 1, "
                                      "found the string '7')"),
            ("seeds", "not an override (expected key.path=value, found the string 'seeds')"),
            ("=3", "not an override (expected key.path=value, found the string '=3')"),
            ("a..b=3", "not an override (expected key.path=value, found the string 'a..b=3')"),
            ("extends=x.toml", "extends: can be set in a file only; write it into the spec"),
        ],
    )  # fmt: skip
    def test_mistakes_are_told(self, override, told):
        """An override that does not fit is a problem like a key in a file, without a file."""
        (problem,) = problems(TOY, override, registry=None)
        assert str(problem) == told


class TestFiles:
    """What can be wrong with the file itself."""

    def test_missing_file(self, tmp_path):
        """A path that does not exist is a problem, not a traceback."""
        assert only(tmp_path / "no.toml") == "no.toml: cannot be read: No such file or directory"

    def test_folder(self, tmp_path):
        """Neither is a folder."""
        assert "Is a directory" in only(tmp_path)

    def test_syntax_error_has_its_line(self, write):
        """A TOML mistake is told with the line of the parser."""
        assert only(write("[run]\nseed = = 1")) == "spec.toml:2: not valid TOML: Invalid value"

    def test_invalid_utf8_has_its_line(self, tmp_path):
        """Bytes that are not UTF-8 are told with their line."""
        (tmp_path / "spec.toml").write_bytes(b'[run]\nname = "\xff"\n')
        assert only(tmp_path / "spec.toml") == "spec.toml:2: not valid UTF-8; save the file as UTF-8"

    def test_too_deep_nesting(self, write):
        """Nesting beyond the parser's reach is a problem."""
        assert "nested too deeply" in only(write("a = " + "[" * 5000 + "]" * 5000))

    def test_byte_order_mark_is_ignored(self, tmp_path):
        """A file that an editor saved with a byte-order mark is read like any other."""
        (tmp_path / "spec.toml").write_bytes(b"\xef\xbb\xbf" + RIGHT.encode())
        assert load(tmp_path / "spec.toml", registry=REGISTRY).run.env_steps == 1000

    def test_nothing_is_written(self, write, tmp_path):
        """Loading leaves nothing behind, right or wrong."""
        problems(write("[run]"))
        load(write(RIGHT), registry=REGISTRY)
        assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


class TestPluginFiles:
    """`plugins`: an environment beside the spec."""

    def test_broken_file_is_a_plugin_error(self, write):
        """A plugin file that raises is told with the line that names it."""
        write("raise RuntimeError('unfinished')", "my_broken_env.py")
        with pytest.raises(PluginError, match=r"spec.toml:1: plugins: .*RuntimeError: unfinished"):
            load(write('plugins = ["my_broken_env.py"]\n' + RIGHT), registry=REGISTRY)

    def test_missing_file_is_a_problem_of_the_spec(self, write):
        """A path that leads nowhere is the author's mistake."""
        assert "there is no file" in only(write('plugins = "nowhere_env.py"\n' + RIGHT))

    def test_plugins_of_a_base_are_loaded_too(self, write):
        """A spec that extends another one gets the base's plugin files, relative to the base."""
        child = write(f'extends = "{TOY}"\n')
        assert load(child).plugins == (str(TOY.with_name("toy_plugin.py")),)


def test_mapping_is_as_good_as_a_file():
    """The content of a spec as a mapping gives the same blueprint, and problems without a line."""
    data = tomli.loads(RIGHT)
    blueprint = load({**data, "name": "toy"}, registry=REGISTRY)
    assert blueprint.run == load(TOY).run
    assert tomli.loads(blueprint.text) == {**data, "name": "toy"}
    data["run"]["env_steps"] = None
    assert "found a NoneType" in only(data)

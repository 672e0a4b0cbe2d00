"""Whatever is given to the spec loader, it answers with a blueprint or with problems."""

import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slmk import SlmkError, SpecError
from slmk.discovery import from_file
from slmk.registry import Registry
from slmk.spec import Blueprint, load

TOY = Path(__file__).with_name("toy.toml")
REGISTRY = Registry([from_file(TOY.with_name("toy_plugin.py"))])
RIGHT = TOY.read_text().replace('plugins = ["toy_plugin.py"]', "")
WORDS = [*{word for word in RIGHT.replace("\n", " ").split(" ") if word}, "nan", "-inf", "1979-05-27", "''", "[]", "{}"]
KEYS = ["run", "env", "env.kwargs", "reporter", "reporter.0", "algorithm.clip", "network.policy", "name", "seed", "x"]

fuzzed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def answer(source, overrides=()):
    """The blueprint, or the words of the errors of its own with which the loader answered."""
    try:
        return load(source, overrides, REGISTRY)
    except SlmkError as error:
        return [str(problem) for problem in (error.problems if isinstance(error, SpecError) else [error])]


def is_answer(given):
    """Whether it is a blueprint, or some problems that all say something."""
    return isinstance(given, Blueprint) or (len(given) > 0 and all(words.strip() for words in given))


@fuzzed
@given(st.text() | st.text(st.sampled_from("[]{}=.,\"'#\n abrun01-")))
def test_any_text(tmp_path, text):
    """Random text."""
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert is_answer(answer(path))


@fuzzed
@given(st.binary())
def test_any_bytes(tmp_path, content):
    """Random bytes, most of them not UTF-8."""
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    assert is_answer(answer(path))


@fuzzed
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_mutations_of_a_right_spec(tmp_path, seed, count):
    """Words swapped, replaced and removed, lines moved: what loads must also survive its own resolved text."""
    source = random.Random(seed)
    text = RIGHT
    for _ in range(count):
        text = mutate(text, source)
    path = tmp_path / "spec.toml"
    path.write_text(text)
    blueprint = answer(path)
    assert is_answer(blueprint)
    if isinstance(blueprint, Blueprint):
        path.write_text(blueprint.resolved_toml())
        assert load(path, registry=REGISTRY) == blueprint


def mutate(text, source):
    """One small change."""
    lines = text.split("\n")
    line = source.randrange(len(lines))
    match source.randrange(5):
        case 0:
            lines.pop(line)
        case 1:
            lines.insert(source.randrange(len(lines)), lines[line])
        case 2:
            lines[line] = lines[line].replace(source.choice(WORDS), source.choice(WORDS))
        case 3:
            key, equals, _ = lines[line].partition("=")
            lines[line] = f"{key}{equals} {source.choice(WORDS)}"
        case 4:
            place = source.randrange(len(lines[line]) + 1)
            lines[line] = lines[line][:place] + source.choice("[]{}=.\"'#0x\x00é") + lines[line][place:]
    return "\n".join(lines)


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), st.text(max_size=8) | st.sampled_from(WORDS))))
def test_any_overrides(pairs):
    """Random paths and values on the command line."""
    assert is_answer(answer(TOY, [f"{key}={value}" for key, value in pairs]))


@fuzzed
@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_override_text(overrides):
    """Overrides that are hardly any."""
    assert is_answer(answer(TOY, overrides))


@fuzzed
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=5))
def test_any_mapping(data):
    """Random mappings, with values that TOML does not have."""
    assert is_answer(answer(data))


@fuzzed
@given(st.text(max_size=10), st.sampled_from(["extends", "plugins"]))
def test_any_path(tmp_path, text, key):
    """Random names of files to extend or to load plugins from, NUL among them."""
    if text.strip("./ "):
        assert is_answer(answer({key: [text + "\0", f"{tmp_path}/{text}.toml"]}))

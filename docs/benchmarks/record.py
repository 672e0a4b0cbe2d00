"""Records finished runs as results files, and writes the table of results from all of them.

    python docs/benchmarks/record.py RUN...     # after `slmk run specs/<suite>/<spec>.toml --out runs/<suite>`
    python docs/benchmarks/record.py            # only the tables
    python docs/benchmarks/record.py --throughput .benchmarks/*.json     # after `make bench`

A results file holds a run's summary and what it takes to repeat it: spec, commit, settings, seeds and versions. The
pages of algorithms show results too: run ``python docs/generate.py`` (`make docs`) afterwards.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import slmk
from slmk.metrics import headline, judged, shortfall
from slmk.toolbox.tables import flattened

HERE = Path(__file__).parent
RESULTS = HERE / "results"
THROUGHPUT = HERE / "throughput.json"
SPECS = HERE.parent.parent / "specs"
SETTINGS = ("run", "env", "algorithm", "memory", "network", "normalizer")
"""Sections on which a score depends."""
CHANGES = ("-s", "--set", "--seeds")
"""Options of ``slmk run`` that change what is run."""
KEPT = ("created", "commit", "dirty", "python", "platform", "cores", "device", "versions", "seeds", "env_steps", "env")


def record(run: Path) -> Path:
    """Write the results file of one finished run; it replaces that of an earlier run of the same spec."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    if manifest["dirty"] or not manifest["commit"]:
        raise SystemExit(f"{run} was made by files that no commit has: nobody could repeat it")
    (spec,) = (path for path in SPECS.rglob(f"{manifest['name']}.toml"))
    name = spec.relative_to(SPECS)
    asked, made = (slmk.load(path).resolved() for path in (spec, run / "resolved.toml"))
    differing = [key for key in SETTINGS if asked.get(key) != made.get(key)]
    if differing:
        raise SystemExit(f"{run} was made with other settings than {spec} has now: {', '.join(differing)}")
    # What a score is compared with may be stated better later on; what was measured stays.
    summary["target"] = judged(asked.get("target"), summary["scores"], len(manifest["seeds"]))
    about = {key: manifest[key] for key in KEPT}
    path = RESULTS / name.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["slmk", "run", f"specs/{name}", *_changes(manifest["command"])])
    settings = {key: made[key] for key in SETTINGS if key in made}
    document = {"spec": f"specs/{name}", "command": command, **about, "settings": settings, "summary": summary}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _changes(command: list[str]) -> Iterator[str]:
    """What a command changed of its spec: the spec of that commit may have had other settings than it has now."""
    for word, following in pairwise([*command, ""]):
        option, joined, value = word.partition("=")
        if option in CHANGES:
            yield from (option, value if joined else following)


def results() -> Iterator[dict[str, Any]]:
    """All results files, by spec."""
    for path in sorted(RESULTS.rglob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def table() -> str:
    """The page of results as Markdown."""
    lines = [
        "# Results",
        "",
        "Written by `python docs/benchmarks/record.py` from the files in [results](results). Each row is what",
        "`slmk run SPEC` gave at the end of the budget, over seeds: the mean of the last 100 training episodes, or",
        "of the last evaluation where the target says so, or where no training episode came to its end. Ranges are",
        "the standard deviation over seeds; the interval is the stratified bootstrap's for the IQM.",
        "",
        "| spec | environment | env steps | seeds | score | IQM [95 %] | target | reached | commit |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, results()),
        "",
        *_missing(),
    ]
    return "\n".join(lines) + "\n"


def spec_files() -> list[Path]:
    """Every spec that can be run: not what others extend, and not the random policy's returns."""
    return [path for path in sorted(SPECS.rglob("*.toml")) if path.name[0] != "_" and path.name != "baselines.toml"]


def target_words(target: dict[str, Any] | None) -> str:
    """A target's score and who says so."""
    return f"{target['score']:g} ({target['source']})" if target else "none published"


def score_words(result: dict[str, Any]) -> str:
    """The score that the target names, or the usual one: its mean and standard deviation over seeds.

    That of an evaluation has beside it what the policy had in training, with its noise.
    """
    scores = result["summary"]["scores"]
    score, training = headline(result["summary"]), scores["final_return_ma"]["mean"]
    words = f"{score['mean']:.1f}" + ("" if score["std"] is None else f" ± {score['std']:.1f}")
    if score is not scores["final_eval_return"]:
        return words
    return words + (" (evaluation)" if training is None else f" (evaluation; {training:.1f} in training)")


def reached_words(result: dict[str, Any]) -> str:
    """Whether the score is as high as the target, if there is one; and what its spec has otherwise by now."""
    target = result["summary"]["target"]
    answer = "–" if target is None else "yes" if target["reached"] else "no"
    return ", ".join(filter(None, [answer, shortfall(result["summary"]), *_changed_since(result)]))


def _changed_since(result: dict[str, Any]) -> Iterator[str]:
    """Settings that a spec has changed since its result was measured. Options that are new do by default as before."""
    then = flattened(result.get("settings", {}))
    now = flattened(slmk.load(SPECS.parent / result["spec"]).resolved()) if then else {}
    for key, value in then.items():
        if key in now and now[key] != value:
            yield f"measured with {key} = {json.dumps(value)}"


def _row(result: dict[str, Any]) -> str:
    score = headline(result["summary"])
    interval = "" if score["ci95"] is None else f" [{score['ci95'][0]:.1f}, {score['ci95'][1]:.1f}]"
    cells = (
        f"[{result['spec']}](../../{result['spec']})",
        result["env"]["id"],
        f"{result['env_steps']:,}",
        str(len(result["seeds"])),
        score_words(result),
        f"{score['iqm']:.1f}{interval}",
        target_words(result["summary"]["target"]),
        reached_words(result),
        (result["commit"] or "")[:9],
    )
    return f"| {' | '.join(cells)} |"


def _missing() -> Iterator[str]:
    done = {result["spec"] for result in results()}
    paths = (path.relative_to(SPECS) for path in spec_files())
    missing = [path for path in paths if f"specs/{path}" not in done]
    if missing:
        yield "## Not yet run"
        yield ""
    for folder, members in groupby(missing, lambda path: path.parent):
        names = ", ".join(f"`{path.stem}`" for path in members)
        yield f"- [specs/{folder}](../../specs/{folder}): {names}"


def record_throughput(measured: Path) -> None:
    """Keep what pytest-benchmark measured, without the single rounds, in place of what this kind of CPU gave before."""
    document = json.loads(measured.read_text(encoding="utf-8"))
    machine = document["machine_info"]
    about = {
        "commit": document["commit_info"]["id"],
        "created": document["datetime"],
        "python": machine["python_version"],
    }
    cpu = machine["cpu"].get("brand_raw")
    new = {
        b["name"]: {
            "ratio": b["extra_info"].get("throughput"),
            "at_least": b["extra_info"].get("at_least"),
            "memory": b["extra_info"].get("memory"),
            "median_s": b["stats"]["median"],
            **about,
        }
        for b in document["benchmarks"]
    }
    kept = throughputs()
    kept[cpu] = kept.get(cpu, {}) | new
    THROUGHPUT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def throughputs() -> dict[str, dict[str, dict[str, Any]]]:
    """What benchmarks gave, by the kind of CPU and by name."""
    found: dict[str, dict[str, dict[str, Any]]] = (
        json.loads(THROUGHPUT.read_text(encoding="utf-8")) if THROUGHPUT.exists() else {}
    )
    return found


def throughput_table() -> str:
    """The page of throughput ratios as Markdown."""
    return "\n".join(
        [
            "# Throughput",
            "",
            "Written by `python docs/benchmarks/record.py --throughput .benchmarks/*.json` after `make bench`,",
            "from [throughput.json](throughput.json). Each ratio compares two things on one machine, in turn, by the",
            "median of pairs; what is compared stands in the test of that name under",
            "[tests/benchmarks](../../tests/benchmarks), which fails where the ratio is less than what is asked. The",
            "time is the median of one call of ours: an iteration of 128 vector steps with its update, some steps of",
            "an off-policy algorithm or of robots, or one `act`, `step` or update. Memory is the most that our process",
            "took, over the peer's, where that was measured.",
            "Only ratios carry over to other machines, and they differ between kinds of CPU too.",
            "",
            *(line for cpu, benchmarks in throughputs().items() for line in _throughput_part(cpu, benchmarks)),
        ]
    )


def _throughput_part(cpu: str, benchmarks: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"## {cpu}"
    yield ""
    yield "| benchmark | times as fast | asked | memory | time | commit |"
    yield "|---|---|---|---|---|---|"
    asked = {name: b["at_least"] for each in throughputs().values() for name, b in each.items() if "at_least" in b}
    for name, b in benchmarks.items():
        ratios = " | ".join(map(_ratio, (b["ratio"], asked.get(name), b.get("memory"))))
        yield f"| `{name}` | {ratios} | {1e3 * b['median_s']:.3g} ms | {b['commit'][:9]} |"
    yield ""


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--throughput"]:
        for word in words[1:]:
            record_throughput(Path(word))
        words = []
    for word in words:
        print(record(Path(word)))
    (HERE / "README.md").write_text(table(), encoding="utf-8")
    if THROUGHPUT.exists():
        (HERE / "throughput.md").write_text(throughput_table(), encoding="utf-8")

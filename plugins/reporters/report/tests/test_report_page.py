"""The page of one run and the page that compares several, read back from the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import slmk
from slmk.cli import main
from slmk_reporter_report import ReportConfig, slmk_reporters
from slmk_reporter_report.comparison import improvement
from slmk_reporter_report.page import build_report
from slmk_reporter_report.reporter import Report
from slmk_reporter_report.runs import read_run

MakeRun = Callable[..., Path]
VOID = ("meta", "br", "link", "img", "input", "hr")


class Page(HTMLParser):
    """A page that was read: its text, its tables, and whether every element is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        assert not self._open, f"never closed: {self._open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of a drawing, closed at once."""

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect what is read, not what styles it."""
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)
            if "td" in self._open or "th" in self._open:
                self.rows[-1][-1] += data.strip()

    def row(self, beginning: str) -> list[str]:
        """The first table row that begins with a text."""
        return next(row for row in self.rows if row and row[0].startswith(beginning))

    def card(self, title: str) -> str:
        """The number beside the title of a small chart."""
        (number,) = re.findall(rf"<figcaption><span>{title}</span><b>(.*?)</b>", self.source)
        return str(number)

    def charts(self) -> dict[str, ElementTree.Element]:
        """The drawings by their titles."""
        drawings = map(ElementTree.fromstring, re.findall(r"<svg.*?</svg>", self.source, flags=re.DOTALL))
        return {drawing.get("aria-label", ""): drawing for drawing in drawings}


def report(*runs: Path, to: Path) -> Page:
    """Build a page and read it back."""
    build_report(runs, to)
    return Page(to)


def test_scores_are_those_of_the_run(make_run: MakeRun, tmp_path: Path) -> None:
    """Final returns 400 and 600 have mean and IQM 500, sample deviation 141.4 and an interval from one to the other."""
    page = report(make_run(), to=tmp_path / "report.html")
    assert page.row("Final return")[1:] == ["500.0 ± 141.4", "500.0", "[400.0, 600.0]"]
    assert page.row("Final strength")[1:] == ["480.0 ± 141.4", "480.0", "[380.0, 580.0]"]
    assert page.row("Stability")[1] == "1.00 ± 0.00"
    assert "Target reached" in page.text
    assert "final_return_ma 500.0 ≥ 475" in page.text


def test_each_seed_has_a_row(make_run: MakeRun, tmp_path: Path) -> None:
    """The table of seeds has steps, updates, episodes, returns, speed and time of each."""
    page = report(make_run(), to=tmp_path / "report.html")
    # Mean strength of seed 1: 60 · 5.5 − 20.
    assert page.row("1") == ["1", "1,000", "40", "50", "600.0", "600.0", "600.0", "310.0", "200.0", "5 s", "–"]


def test_learning_curve_shows_seeds_band_evaluations_and_levels(make_run: MakeRun, tmp_path: Path) -> None:
    """One mean, a band, a thin line and an evaluation for each seed, the target and the random policy."""
    chart = report(make_run(), to=tmp_path / "report.html").charts()["Return over environment steps"]
    assert len(chart.findall("polyline[@class='mean c0']")) == 1
    assert len(chart.findall("polyline[@class='seed c0']")) == 2
    assert len(chart.findall("polygon")) == 1
    assert len(chart.findall("circle")) == 2
    assert [label.text for label in chart.findall("text[@class='rule target']")] == ["target 475"]
    assert [label.text for label in chart.findall("text[@class='rule random']")] == ["random 20.00"]


def test_each_metric_has_a_small_chart(make_run: MakeRun, tmp_path: Path) -> None:
    """Losses come first, then the policy, then the rest, then the speed; counters and returns have none."""
    titles = list(report(make_run(), to=tmp_path / "report.html").charts())
    assert titles[1:] == ["loss/policy", "policy/entropy", "episode/length_ma", "environment steps per second"]


def test_page_needs_no_network_and_is_small(make_run: MakeRun, tmp_path: Path) -> None:
    """There is no address in it, neither in elements nor in the style sheet, and it stays below 500 kB."""
    page = report(make_run(gains=[40.0] * 10), to=tmp_path / "report.html")
    assert page.addresses == []
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source
    assert len(page.source.encode()) < 500_000


def test_page_is_the_same_for_the_same_run(make_run: MakeRun, tmp_path: Path) -> None:
    """Built twice, it has the same bytes."""
    run = make_run()
    build_report([run], tmp_path / "first.html")
    build_report([run], tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_specs_and_manifest_are_shown_as_text(make_run: MakeRun, tmp_path: Path) -> None:
    """The spec's comment stays text, whatever characters it has; commit, command and versions are there."""
    page = report(make_run(), to=tmp_path / "report.html")
    assert '# a <toy> & its "spec"' in page.text
    assert "gamma = 0.99 # toy.toml:8" in page.text
    assert "0123456789abcdef (with uncommitted changes)" in page.text
    assert "slmk run toy.toml" in page.text
    assert "torch 2.13.0" in page.text


def test_one_seed_has_scores_without_a_spread(make_run: MakeRun, tmp_path: Path) -> None:
    """A single seed gives no deviation, interval or band, rather than one of width zero."""
    page = report(make_run(gains=[40.0]), to=tmp_path / "report.html")
    assert page.row("Final return")[1:] == ["400.0", "–", "–"]
    assert page.row("Consistency")[1] == "–"
    assert all(chart.find("polygon") is None for chart in page.charts().values())
    assert "Target missed" in page.text
    assert "final_return_ma 400.0 < 475" in page.text


def test_a_seed_that_has_diverged_is_not_shown_by_its_last_finite_values(make_run: MakeRun, tmp_path: Path) -> None:
    """Its final return and the last value of its loss are dashes, and the target is missed; all else is there."""
    run = make_run(gains=[60.0, 60.0])
    path = run / "seed-1" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lost = dict.fromkeys(("episode/return", "episode/return_ma", "loss/policy"))
    rows = [row | lost if row["kind"] == "train" and row["env_steps"] > 600 else row for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "summary.json").unlink()
    page = report(run, to=tmp_path / "report.html")
    assert [page.row(seed)[4] for seed in ("0", "1")] == ["600.0", "–"]
    assert "Target missed not every seed has a final_return_ma" in page.text
    assert page.card("loss/policy") == "–"
    # 0.7 − 0.05 · 10, and 0.01 more.
    assert page.card("policy/entropy") == "0.205"


def test_evaluations_are_the_curve_where_training_ends_no_episode(make_run: MakeRun, tmp_path: Path) -> None:
    """As where all episodes begin anew before that: a line with its band, and its legend says what it is."""
    run = make_run()
    for path in run.glob("seed-*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        none = dict.fromkeys(("episode/return", "episode/return_ma"))
        path.write_text("".join(json.dumps(row | none if row["kind"] == "train" else row) + "\n" for row in rows))
    page = report(run, to=tmp_path / "report.html")
    chart = page.charts()["Return over environment steps"]
    assert chart.find("polygon") is not None
    assert "mean of 2 seeds, each its evaluations" in page.text


def test_a_run_shorter_than_its_target_s_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    """A target missed at a tenth of the steps of its source is no surprise, and the page says how many those were."""
    run = make_run()
    summary = json.loads((run / "summary.json").read_text())
    summary["target"] |= {"score": 700.0, "reached": False, "env_steps": 10_000}
    (run / "summary.json").write_text(json.dumps(summary))
    page = report(run, to=tmp_path / "report.html")
    assert "final_return_ma 500.0 < 700 after 1,000 of 10,000 env steps" in page.text


def test_run_without_episodes_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    """Before the first episode ends there is no curve and no score, but the losses are there."""
    page = report(make_run(gains=[None, None], rows=2), to=tmp_path / "report.html")
    assert "No episode has ended yet" in page.text
    assert page.row("Final return")[1:] == ["–", "–", "–"]
    assert "loss/policy" in page.charts()
    assert "Not finished 20 % of the budget used" in page.text


def test_run_that_has_not_begun_has_a_page(make_run: MakeRun, tmp_path: Path) -> None:
    """Without any row the page still says what was meant to run."""
    page = report(make_run(gains=[None], rows=0), to=tmp_path / "report.html")
    assert "Not finished 0 % of the budget used" in page.text
    assert page.charts() == {}


def test_a_target_waits_for_every_seed(make_run: MakeRun) -> None:
    """One of two seeds is at 600 when the other has not begun: the mean over seeds is not known."""
    run = make_run(gains=[60.0, 60.0])
    (run / "summary.json").unlink()
    (run / "seed-1" / "metrics.jsonl").unlink()
    target = read_run(run).summary["target"]
    assert (target["value"], target["reached"]) == (None, False)


def test_summary_of_a_session_that_went_on_is_made_again(make_run: MakeRun, tmp_path: Path) -> None:
    """A summary.json that is older than the rows is not believed."""
    run = make_run(gains=[40.0, 60.0])
    summary = json.loads((run / "summary.json").read_text())
    summary["scores"]["final_return_ma"]["mean"] = 1.0
    (run / "summary.json").write_text(json.dumps(summary))
    assert report(run, to=tmp_path / "report.html").row("Final return")[1] == "1.00 ± 141.42"
    summary["sessions"][1]["env_steps"] = 500
    (run / "summary.json").write_text(json.dumps(summary))
    assert report(run, to=tmp_path / "report.html").row("Final return")[1] == "500.0 ± 141.4"


def test_comparison_overlays_runs_and_says_what_differs(make_run: MakeRun, tmp_path: Path) -> None:
    """Two runs of a spec are told apart by their ids; curves, scores and the differing key stand side by side."""
    runs = make_run("one", [40.0, 60.0]), make_run("two", [10.0, 50.0], gamma=0.9)
    page = report(*runs, to=tmp_path / "comparison.html")
    curve = page.charts()["Return over environment steps"]
    labels = [line.get("data-label") for line in curve.findall("polyline")]
    assert labels == ["toy · one", "toy · two"]
    assert page.row("Final return")[1:] == ["500.0 ± 141.4500.0 [400.0, 600.0]", "300.0 ± 282.8300.0 [100.0, 500.0]"]
    assert page.row("algorithm.gamma") == ["algorithm.gamma", "0.99", "0.9"]
    assert "algorithm.name" not in page.text
    # 400 beats 100 but not 500, 600 beats both: 3 of 4 pairs.
    assert page.row("1 toy · one")[1:] == ["–", "0.75"]
    assert page.row("2 toy · two")[1:] == ["0.25", "–"]


def test_comparison_keeps_environments_apart(make_run: MakeRun, tmp_path: Path) -> None:
    """Returns of other environments are not overlaid, and nothing is said about improvement between them."""
    runs = make_run(name="cart"), make_run(name="hopper", env="Other-v1")
    page = report(*runs, to=tmp_path / "comparison.html")
    assert page.source.count('aria-label="Return over environment steps"') == 2
    assert "Probability of improvement" not in page.text


def test_comparison_of_equal_specs_finds_no_difference(make_run: MakeRun, tmp_path: Path) -> None:
    """Where came-from comments differ but values do not, nothing differs."""
    page = report(make_run("one"), make_run("two"), to=tmp_path / "comparison.html")
    assert "their resolved specs are the same" in page.text


def test_improvement_counts_draws_half() -> None:
    """Of the four pairs of (1, 2) and (1, 0) three and a half are won; a run without scores has no chance."""
    assert improvement([[1.0, 2.0], [1.0, 0.0, None], [None]]) == [
        [None, 0.875, None],
        [0.125, None, None],
        [None, None, None],
    ]


def test_what_is_no_run_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    """A directory without a manifest, or no directory at all, is an error that says so, and no page is left."""
    with pytest.raises(slmk.RunError, match=r"is not a run directory: it has no manifest\.json"):
        build_report([make_run(), tmp_path], tmp_path / "report.html")
    with pytest.raises(slmk.RunError, match="at least one run"):
        build_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_an_error_of_one_sentence(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`slmk report` says which page it was, and exits 1."""
    (tmp_path / "file").touch()
    page = tmp_path / "file" / "report.html"
    assert main(["report", str(make_run()), "--output", str(page)]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {page}: ")


def test_reporter_writes_the_page_when_a_trial_is_done(make_run: MakeRun) -> None:
    """The component ``report`` sees every session and leaves ``report.html`` in the run directory."""
    (component,) = slmk_reporters()
    run = make_run()
    reporter = Report(ReportConfig(), run)
    reporter.start({})
    reporter.report({"kind": "progress", "seed": 0, "env_steps": 1})
    assert reporter.finish({}) == run / "report.html"
    assert (component.name, Report.scope) == ("report", "trial")
    assert "Target reached" in Page(run / "report.html").text

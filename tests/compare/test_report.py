import base64
import csv
import errno
import hashlib
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from synthetic_runs import config, write_run, write_study

from gipo_cli.compare import gather, parallel, present
from gipo_cli.compare import report as reports
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.gather import search
from gipo_cli.compare.notes import notes
from gipo_cli.compare.present import compare
from gipo_cli.compare.summary import summarise
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.status import Status
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.folder import write_study as write_study_plan
from gipo_cli.sweep.plan import plan


class Page(HTMLParser):
    """Tags in order, and every attribute that could load something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        self.ids += [value for name, value in attributes if name == "id"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_study(root)
    return root


@pytest.fixture(scope="module")
def report(study):
    out = study.parent / "report"
    compare([str(study)], out=out, console=Console(quiet=True), command="gipo compare <runs>")
    return out


@pytest.fixture(autouse=True)
def figures(report, monkeypatch):
    """Besides the one whole report, none but those that a test asks for."""

    def only(*names):
        kinds = tuple(kind for kind in FIGURES if kind.name in names)
        assert len(kinds) == len(names)
        monkeypatch.setattr(reports, "FIGURES", kinds)

    only()
    return only


def test_every_file_is_there_and_nothing_else(report):
    assert {path.name for path in report.iterdir()} == {
        "figures", "report.html", "summary.csv", "summary.json", "summary.md"
    }  # fmt: skip
    names = {path.stem for path in (report / "figures").iterdir()}
    assert len(names) == 12
    for name in names:
        assert (report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(report / "figures" / f"{name}.svg")


def test_no_scratch_folder_is_left(report):
    assert not [path for path in report.parent.iterdir() if path.name.startswith(".report")]


def test_the_page_needs_nothing_from_outside(report):
    text = (report / "report.html").read_text()
    page = Page(text)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_page_runs_one_script_which_is_ours(report):
    """The browser refuses any other, by its digest."""
    text = (report / "report.html").read_text()
    assert Page(text).tags.count("script") == 1
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in text
    )


def test_what_came_out_stands_on_top(report):
    content = json.loads((report / "summary.json").read_text())
    text = html.unescape((report / "report.html").read_text())
    assert len(content["verdicts"]) == 2
    for name in ("title", "date", "gipo", "versions"):
        assert content[name]
        assert content[name] in text
    for said in content["verdicts"]:
        assert text.index(said) < text.index("<h2>")
        assert said in (report / "summary.md").read_text()
    assert {"objective.name", "buffer.size"} <= content["compared"].keys()
    assert content["common"]["env.name"] == "reach"
    assert not content["common"].keys() & content["compared"].keys()


def test_the_page_has_every_figure_and_table_and_follows_light_and_dark(report):
    text = (report / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("svg") == page.tags.count("figure") == 12
    # The summary, and the settings compared and in common.
    assert page.tags.count("table") == 3
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "prefers-color-scheme: dark" in text
    body = text[text.index("<body>") :]
    assert "var(--ink)" in body
    assert "#1c1d22" not in body
    assert "gipo compare &lt;runs&gt;" in body


def test_csv_json_and_markdown_agree(report):
    with (report / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    content = json.loads((report / "summary.json").read_text())
    assert [row["group"] for row in rows] == [row["group"] for row in content["rows"]]
    for row, other in zip(rows, content["rows"], strict=True):
        assert float(row["iqm"]) == other["iqm"]
    markdown = (report / "summary.md").read_text()
    assert all(f"| {row['group']} |" in markdown for row in rows)
    assert all(note in markdown for note in content["notes"])
    assert len(content["runs"]) == 12
    assert content["groups"][0]["baseline"] == "PPO-clip, buffer 2k"


def test_the_same_runs_give_the_same_numbers(report, study, tmp_path):
    compare([str(study)], out=tmp_path / "again", console=Console(quiet=True))
    assert (tmp_path / "again" / "summary.csv").read_bytes() == (report / "summary.csv").read_bytes()


def test_several_processes_write_the_same_files(study, monkeypatch, figures):
    figures("final_scores", "final_vs_lag")
    comparison = gather.gather(search([str(study)]), processes=2)
    rows = summarise(comparison)
    alone = reports.report_files(comparison, rows)
    monkeypatch.setattr(parallel, "MANY_RUNS", 1)
    assert reports.report_files(comparison, rows) == alone


def test_several_environments_get_an_aggregate_and_figures_of_their_own(tmp_path, figures):
    figures("learning_curves", "probability_of_improvement")
    write_study(tmp_path / "runs", envs=("reach", "push"), buffers=(2000,), seeds=2, points=4)
    compare([str(tmp_path / "runs")], out=tmp_path / "out", console=Console(quiet=True), metric="return")
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [row["environment"] for row in content["rows"]][-1] == "all environments (normalised)"
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert {"learning_curves_push", "learning_curves_reach", "probability_of_improvement_all"} <= names


class TestOutput:
    def test_an_earlier_report_is_replaced_and_what_others_put_there_is_kept(self, study, tmp_path, figures):
        figures("final_vs_buffer")
        out = tmp_path / "out"
        compare([str(study)], out=out, console=Console(quiet=True))
        (out / "figures" / "mine.png").write_text("precious")
        (out / "notes" / "deep").mkdir(parents=True)
        (out / "notes" / "deep" / "thesis.tex").write_text("precious")
        compare([str(study)], out=out, console=Console(quiet=True), filters=["buffer=2000"])
        assert not (out / "figures" / "final_vs_buffer.png").exists()
        for name in ("figures/mine.png", "notes/deep/thesis.tex"):
            assert (out / name).read_text() == "precious"

    def test_anything_else_is_left_alone(self, study, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="no earlier report"):
            compare([str(study)], out=tmp_path, console=Console(quiet=True))
        assert (tmp_path / "thesis.tex").read_text() == "precious"

    def test_a_wrong_path_is_told_before_a_folder_in_the_way(self, study):
        with pytest.raises(UserError, match="Nothing is at"):
            compare(["nosuch"], out=study, console=Console(quiet=True))

    @pytest.fixture
    def unread(self, monkeypatch):
        def read(*args, **kwargs):
            raise AssertionError("the runs were read before the place of the report was known to be good")

        monkeypatch.setattr(gather, "read_runs", read)

    def test_a_folder_in_the_way_is_told_before_runs_are_read(self, study, unread):
        with pytest.raises(UserError, match="is no earlier report"):
            compare([str(study)], out=study, console=Console(quiet=True))

    def test_a_place_that_cannot_be_written_is_told_before_runs_are_read(
        self, study, tmp_path, monkeypatch, unread
    ):
        (tmp_path / "file").write_text("precious")
        for out in (tmp_path / "file" / "report", tmp_path / "file" / "deep" / "report"):
            with pytest.raises(UserError, match=r"report cannot be written: .*file is no folder; .*--out"):
                compare([str(study)], out=out, console=Console(quiet=True))
        monkeypatch.setattr("gipo_cli.compare.output.os.access", lambda *_: False)
        with pytest.raises(UserError, match=f"no permission to write to {tmp_path}; .*--out"):
            compare([str(study)], out=tmp_path / "new" / "report", console=Console(quiet=True))
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_disk_that_refuses_is_told_in_one_sentence(self, study, tmp_path, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="out cannot be written: No space left on device; choose"):
            compare([str(study)], out=tmp_path / "out", console=Console(quiet=True))
        assert not list(tmp_path.iterdir())

    def test_an_interruption_leaves_the_earlier_report(self, report, study, monkeypatch):
        before = (report / "report.html").read_bytes()

        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(present, "report_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare([str(study)], out=report, console=Console(quiet=True))
        assert (report / "report.html").read_bytes() == before
        assert not [path for path in report.parent.iterdir() if path.name.startswith(".report")]


class TestTerminal:
    def printed(self, study, tmp_path, capsys, **options):
        compare(
            [str(study)], out=tmp_path / "out", console=Console(width=options.pop("width", 120)), **options
        )
        return capsys.readouterr().out

    def test_table_notes_and_place_are_printed(self, study, tmp_path, capsys):
        text = self.printed(study, tmp_path, capsys)
        assert "GIPO, buffer 20k" in text
        assert "Only 3 seeds" in text
        assert "report.html" in text
        assert "reading runs" not in text

    def test_damaged_runs_are_named(self, tmp_path, capsys):
        write_study(tmp_path / "runs", buffers=(2000,), seeds=2, points=3)
        (tmp_path / "runs" / "reach" / "gipo-2000-1" / "eval.csv").write_text("step,success\n1,")
        text = self.printed(tmp_path / "runs", tmp_path, capsys)
        assert "left out" in text
        assert "gipo-2000-1: damaged: eval.csv is cut off" in text.replace("\n", " ").replace("  ", " ")


@pytest.fixture(scope="module")
def planned():
    fixed = ["env=gymnasium", "env.id=Pendulum-v1", "total_steps=2000", "buffer.size=null"]
    return plan([*fixed, "objective=gipo,ppo_clip", "seed=1,2,3,4"], name="grid")


class TestStudy:
    """Four runs of a study are finished; one failed and one was interrupted elsewhere, two have not begun."""

    @pytest.fixture
    def folder(self, planned, tmp_path):
        folder = StudyDir(tmp_path / "grid")
        write_study_plan(folder, planned, command="")
        for run in planned.runs:
            if run.config.seed < 3:
                write_run(
                    folder.run(run.name), run.config.model_dump(mode="json"), [0.2, 0.5], steps=[500, 2000]
                )
        for run, state in zip(planned.runs[2:4], ("failed", "interrupted"), strict=True):
            self.attempt(folder, run, state)
        return folder

    def attempt(self, folder, run, state):
        path = folder.attempts(run.name) / "0123456789ab"
        write_run(path, run.config.model_dump(mode="json"), [0.2], steps=[700], state=state)
        status = Status(state=state, step=700, total_steps=run.total_steps)
        write_sealed(path / "status.json", status.model_dump(mode="json"))

    def left_out(self, *paths, **options):
        comparison = gather.gather(search([str(path) for path in paths]), **options)
        return {out.path.name: out.reason for out in comparison.left_out}

    def test_planned_runs_without_a_folder_are_left_out_with_what_they_are_doing(self, folder, planned):
        names = [run.name for run in planned.runs]
        expected = {
            names[2]: "failed at step 700 of 2000",
            names[3]: "interrupted at step 700 of 2000",
            names[6]: "not begun",
            names[7]: "not begun",
        }
        assert self.left_out(folder.path) == expected
        assert self.left_out(folder.path.parent) == expected
        assert self.left_out(folder.path / "*") == expected
        assert self.left_out(*(folder.run(names[index]) for index in (0, 1, 4, 5))) == {}

    def test_a_run_that_has_its_folder_is_not_missing(self, folder, planned, tmp_path):
        names = [run.name for run in planned.runs]
        finished = [names[index] for index in (0, 1, 4, 5)]
        # Elsewhere, behind a link; and not searched, where a glob meets the plan and some of the runs.
        (tmp_path / "disk").mkdir()
        folder.run(names[0]).rename(tmp_path / "disk" / names[0])
        folder.run(names[0]).symlink_to(tmp_path / "disk" / names[0])
        assert not set(self.left_out(folder.path / "*")) & set(finished)
        assert not set(self.left_out(folder.manifest, folder.run(names[1]), folder.run(names[5]))) & set(
            finished
        )

    def test_a_plan_that_cannot_be_read_is_no_run(self, folder, tmp_path):
        folder.manifest.write_text("{}")
        comparison = gather.gather(search([str(folder.path)]))
        (plan_out,) = comparison.left_out
        assert (plan_out.path.name, plan_out.kind) == ("study.json", "plan")
        assert not any("runs are left out" in note for note in notes(comparison))

    def test_filters_hold_for_them(self, folder, planned):
        names = [run.name for run in planned.runs]
        assert self.left_out(folder.path, filters=["objective=ppo_clip"]) == {
            names[6]: "not begun", names[7]: "not begun"
        }  # fmt: skip
        assert set(self.left_out(folder.path, filters=["objective!=ppo_clip", "seed=1,2,3"])) == {names[2]}
        # A null in the plan is one rollout, as in a run.
        assert len(self.left_out(folder.path, filters=["buffer=512"])) == 4

    def test_those_that_have_not_begun_are_one_line(self, folder, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(folder.path.parent)
        compare([str(folder.path)], out=tmp_path / "out", console=Console(width=200))
        text = capsys.readouterr().out
        assert "- 2 planned runs have not begun." in text
        assert "- 2 of 6 runs are left out" in text
        assert text.count(f"left out: {folder.path.name}/") == 2
        assert "failed at step 700 of 2000" in text
        assert ": not begun" not in text
        content = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert [out["reason"] for out in content["left_out"]].count("not begun") == 2
        assert "not begun</li>" in (tmp_path / "out" / "report.html").read_text()

    def test_a_finished_attempt_that_is_not_published_is_said_to_be(self, folder, planned):
        run = planned.runs[7]
        self.attempt(folder, run, "done")
        path = folder.attempts(run.name) / "0123456789ab" / "status.json"
        write_sealed(path, Status(state="done", step=2000, total_steps=2000).model_dump(mode="json"))
        assert self.left_out(folder.path)[run.name] == "done, but not in its own folder yet"

    def test_an_attempt_that_is_named_itself_is_not_missing(self, folder, planned):
        (attempt,) = folder.attempts(planned.runs[2].name).iterdir()
        found = self.left_out(folder.path, attempt, include_unfinished=True)
        assert planned.runs[2].name not in found

    def test_a_plan_that_cannot_be_read_stops_no_comparison(self, folder):
        folder.manifest.write_text(folder.manifest.read_text().replace('"seed": 1', '"seed": 9'))
        (reason,) = self.left_out(folder.path).values()
        assert reason.startswith("which of its runs are missing is not known: ")
        assert "is damaged" in reason

    def test_it_is_read_without_the_libraries_that_train(self, folder):
        code = (
            "import sys; from gipo_cli.compare.gather import gather, search; "
            "from gipo_cli.compare.gather import search; "
            "assert len(gather(search([sys.argv[1]])).left_out) == 4; "
            "sys.exit(', '.join({'torch', 'stable_baselines3', 'gymnasium'} & set(sys.modules)) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, folder.path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestBadInput:
    def refuse(self, study, words, **options):
        with pytest.raises(UserError, match=words):
            compare([str(study)], out=study.parent / "unwritten", console=Console(quiet=True), **options)
        assert not (study.parent / "unwritten").exists()

    def test_requests_that_cannot_be_met_write_nothing(self, study):
        self.refuse(study / "nowhere", "Nothing is at")
        self.refuse(study, "No run has the metric 'reward'", metric="reward")
        self.refuse(study, "No run passes", filters=["objective=spo"])
        self.refuse(study, "No group is called", baseline="spo")
        self.refuse(study, "No run has the setting", group_by=["flavour"])
        self.refuse(study, "Tasks are always panels of their own; leave env.name out", group_by=["env"])

    def test_all_runs_damaged(self, tmp_path):
        write_run(tmp_path / "runs" / "a", config(), [0.5])
        (tmp_path / "runs" / "a" / "status.json").write_text("{")
        self.refuse(tmp_path / "runs", "None of 1 run folders can be read")


def test_a_summary_starts_no_process_however_many_runs_there_are(study, capsys, monkeypatch):
    def start(*args, **kwargs):
        raise AssertionError("a process was started beside the threads of a sweep")

    monkeypatch.setattr(parallel, "MANY_RUNS", 1)
    monkeypatch.setattr("gipo_cli.compare.parallel.ProcessPoolExecutor", start)
    present.print_summary([str(study)], Console(width=100))
    assert "PPO-clip, buffer 20k" in capsys.readouterr().out


class TestWatch:
    def test_it_waits_for_runs_refreshes_and_ends_at_an_interruption(self, tmp_path, capsys, monkeypatch):
        runs, out, rounds = tmp_path / "runs", tmp_path / "out", []

        def next_round(seconds):
            rounds.append(out.exists() and len(json.loads((out / "summary.json").read_text())["runs"]))
            if len(rounds) == 3:
                raise KeyboardInterrupt
            for seed in (1, 2):
                write_run(
                    runs / f"{len(rounds)}-{seed}",
                    config(("gipo", "sapo")[len(rounds) - 1], seed=seed),
                    [0.5, 1],
                )

        runs.mkdir()
        monkeypatch.setattr(present.time, "sleep", next_round)
        compare([str(runs)], out=out, console=Console(width=100), watch=5.0)
        assert rounds == [False, 2, 4]
        text = capsys.readouterr().out
        assert "waiting: No runs found" in text
        assert "Stopped watching; the last report is in" in text

    def test_it_names_no_report_where_none_was_written(self, tmp_path, capsys, monkeypatch):
        def interrupt(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr(present.time, "sleep", interrupt)
        compare([str(tmp_path)], out=tmp_path / "out", console=Console(width=100), watch=5.0)
        assert "Stopped watching; no report was written." in capsys.readouterr().out

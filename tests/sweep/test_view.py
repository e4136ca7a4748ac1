"""What is shown of a sweep."""

import io

from rich.console import Console

from gipo_cli.sweep.state import RunState
from gipo_cli.sweep.view import View, counts, short_names, table


def state(kind: str, step: int, **more: object) -> RunState:
    return RunState(kind, step, 10_000, **more)  # type: ignore[arg-type]


def test_table_fits_80_columns_and_any_height():
    names = [f"reach-v3-gipo-sigma=0.{n}-n20000-s{n}-0123456789abcdef0123456789abcdef" for n in range(40)]
    kinds = ["done"] * 10 + ["waiting"] * 20 + ["running"] * 8 + ["failed", "interrupted"]
    states = {
        name: state(kind, 5000, speed=1234.5, success=0.25) for name, kind in zip(names, kinds, strict=True)
    }
    out = io.StringIO()
    Console(file=out, width=80).print(table("study", states, 3661.0, room=12))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    # two lines of title, the headings, the rows and how many more there are
    assert len(lines) == 2 + 1 + 12 + 1, out.getvalue()
    assert lines[0].startswith("study: 10 done, 20 waiting, 1 interrupted, 1 failed, 8 running")
    assert "1:01:01 left" in lines[1]
    shown = " ".join(lines[2:])
    # What needs attention is never cut off: 8 running, 1 failed, 1 interrupted.
    assert shown.count(" running ") == 8
    assert shown.count(" failed ") == shown.count(" interrupted ") == 1
    assert shown.count("0:00:05") == 8
    assert "and 28 more" in lines[-1]
    full = io.StringIO()
    Console(file=full, width=80).print(table("study", states))
    assert len(full.getvalue().splitlines()) == 2 + 1 + 40


def test_long_names_can_be_told_apart():
    knobs = [f"sigma=0.{n}-neg_ratio=0.{m}" for n in (2, 5) for m in (25, 50)]
    names = [f"pick-place-wall-v3-gipo-{knob}-n20000-s{s}-01234567" for knob in knobs for s in (1, 2)]
    brief = short_names(names, 38)
    assert list(brief.values())[:2] == [
        "sigma=0.2-neg_ratio=0.25-n20000-s1",
        "sigma=0.2-neg_ratio=0.25-n20000-s2",
    ]
    assert len(set(brief.values())) == len(names)
    assert short_names(["a-s1-x", "a-s1-y"], 38) == {"a-s1-x": "a-s1-x", "a-s1-y": "a-s1-y"}
    assert short_names(["abcdefghij-s1-x"], 9) == {"abcdefghij-s1-x": "abcd…j-s1"}
    assert short_names([], 38) == {}


def test_without_success_the_table_shows_returns():
    for states, shown in (
        ({"a": state("running", 5000, result=-12.345), "b": state("waiting", 0)}, "return"),
        ({"a": state("running", 5000, result=-12.345, success=0.5), "b": state("waiting", 0)}, "success"),
        ({"a": state("waiting", 0)}, "success"),
    ):
        out = io.StringIO()
        Console(file=out, width=80).print(table("study", states))
        heading, first = out.getvalue().splitlines()[-1 - len(states) :][:2]
        assert heading.split() == ["run", "state", "done", "steps/s", shown, "left"]
        assert ("-12.35" in first) == (shown == "return")


def test_nothing_is_left_once_all_is_done():
    assert counts({"a": state("done", 10_000)}, 3.0) == "1 done, 100% of all steps"


def test_counts():
    assert (
        counts({"a": state("done", 10_000), "b": state("waiting", 0)})
        == "1 done, 1 waiting, 50% of all steps"
    )


def test_plain_lines_tell_changes_only():
    out = io.StringIO()
    view = View("study", Console(file=out, width=80))
    with view.live():
        view.update({"a": state("waiting", 0)}, None)
        view.update({"a": state("running", 0)}, None)
        view.update({"a": state("running", 500)}, None)
        view.update({"a": state("failed", 700, reason="at step 700: loss is nan")}, None)
    assert out.getvalue().splitlines() == [
        "a: running, step 0 of 10000",
        "a: failed, step 700 of 10000, at step 700: loss is nan",
    ]

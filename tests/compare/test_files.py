import os

import pytest
from synthetic_runs import config, write_run

from gipo_cli.compare.files import DamagedFile, parse_yaml, read_json
from gipo_cli.compare.load import read_runs

BOMB = "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 3_000 + "]" * 3_000, "too deeply"),
        ("a: " + "[" * 50_000 + "]" * 50_000, "too deeply"),
        ("- " * 60 + "1", "no mapping"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, "too deeply"),
        ("a: &a [1]\nb: [*a]", "aliases"),
        ("a: &a [*a]", "aliases"),
        (BOMB, "aliases"),
        ("a: [", "cannot be read"),
        ("a: \x00", "cannot be read"),
        ("5", "no mapping"),
    ],
)  # fmt: skip
def test_texts_that_are_no_settings(text, words):
    with pytest.raises(DamagedFile, match=r"config\.yaml") as caught:
        parse_yaml("config.yaml", text.encode())
    assert words in str(caught.value)


def test_deep_json_is_refused(tmp_path):
    (tmp_path / "status.json").write_text("[" * 100_000)
    with pytest.raises(DamagedFile, match=r"status\.json is nested too deeply"):
        read_json(tmp_path / "status.json")


@pytest.mark.parametrize("name", ["status.json", "config.yaml", "meta.json", "eval.csv", "metrics.csv"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop"])
def test_what_is_no_plain_file_is_named_at_once(tmp_path, name, kind):
    run = write_run(tmp_path / "a", config(), [0.5])
    path = run / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else name)
    if kind == "loop" and name in ("meta.json", "eval.csv", "metrics.csv"):
        return  # a link to nothing is no file, as if it were not there
    runs, left_out = read_runs([run])
    assert runs == []
    assert left_out[0].reason.startswith(f"damaged: {name} ")

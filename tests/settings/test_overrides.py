"""What is typed: every cure that a message gives works when it is typed, and values stay what they are."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from command import gipo

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose, to_yaml, validate
from gipo_cli.settings.explain import as_text
from gipo_cli.settings.overrides import check_override, parse_overrides, refuse_dashes, value_of

ODD = ["a=b", "a#b", "(a", "~/a", "größe", "a, b", "a'b", 'a"b', "a\\", "[a", "$HOME", "a;b", "695e0514"]


def said(*overrides: str, config_dirs: tuple[Path, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        compose(overrides, config_dirs=config_dirs)
    return str(caught.value)


def cure(message: str) -> str:
    """The word that a message tells to type, without the quotes of the shell."""
    text = re.search(r".*(?:type|write) (.*)", message)[1]
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";,")
    lexer.whitespace_split, lexer.commenters = True, ""
    return next(lexer)


@pytest.mark.parametrize("value", ODD)
def test_text_is_typed_with_the_quotes_that_shell_and_parser_need(value: str):
    (word,) = shlex.split(as_text("env.task", value))
    assert parse_overrides([word])[0].value() == value


@pytest.mark.parametrize("value", ODD)
def test_the_cure_of_a_value_that_is_refused_is_accepted(value: str):
    line = f"env.task={value}"
    try:
        check_override(*parse_overrides([line]), {}, imports=False)
    except UserError as error:
        line = cure(str(error))
    assert parse_overrides([line])[0].value() == value


def test_odd_text_is_written_and_read_back():
    lines = [shlex.split(as_text(f"env.kwargs.x{n}", value))[0] for n, value in enumerate([*ODD, "true"])]
    config = compose(lines).config
    assert list(config.env.kwargs.values()) == [*ODD, "true"]
    assert validate(yaml.safe_load(to_yaml(config))) == config


@pytest.mark.parametrize("value", ["64", "a b", "größe", "(a", "x=y"])
def test_the_cure_of_a_setting_with_dashes_is_accepted(value: str):
    with pytest.raises(UserError) as caught:
        refuse_dashes(["--env.task", value], {"--name": True})
    assert parse_overrides([cure(str(caught.value))])[0].value() == (64 if value == "64" else value)
    with pytest.raises(UserError) as caught:
        refuse_dashes([f"name={value}"], {"--name": True})
    assert shlex.split(str(caught.value).partition("write ")[2]) == ["--name", value]
    with pytest.raises(UserError) as caught:
        refuse_dashes(["--sigma", value], {})
    assert shlex.split(str(caught.value).partition("mean ")[2])[0].startswith("objective.sigma=")


@pytest.mark.parametrize(
    "override",
    ["buffer=5e4", "eval=3", "agent=0.5", "total_steps=1e5", "agent.policy.hidden=256,256", "imports=os,re",
     "env.id=3", "env.success_key=true", "objective.name=sapo", "+objective=sapo", "env=Pendulum-v1"],
)  # fmt: skip
def test_the_cure_of_other_mistakes_is_accepted(override: str):
    text = said(override)
    if override.startswith("total_steps"):
        text = text.replace("write ", "write total_steps=")
    assert compose([cure(re.sub("such as |is typed ", "type ", text))])


def test_what_cannot_be_a_setting_gets_no_cure():
    assert said("größe=3") == "'größe=3' is not an override; write key=value, such as seed=3"
    assert said("seed=1,2").endswith("is one run; use `gipo sweep`")
    assert said("env.kwargs={a:[1e999]}").endswith("holds a number that is too large")
    assert "such as" not in said("buffer=-3")


@pytest.mark.parametrize(
    ("text", "value"),
    [("inf", float("inf")), ("-inf", float("-inf")), ("[1,{a:inf}]", [1, {"a": float("inf")}]), ("1e5", 1e5),
     ("010", "010"), ("no", "no"), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("null", None),
     ("0x1F", "0x1F"), ("'1e5'", "1e5"), ("1_000", 1000)],
)  # fmt: skip
def test_arguments_of_an_environment_are_read_back_as_they_were_written(text: str, value: object):
    config = compose([f"env.kwargs.x={text}"]).config
    assert config.env.kwargs == {"x": value}
    assert type(config.env.kwargs["x"]) is type(value)
    assert validate(yaml.safe_load(to_yaml(config))) == config


@pytest.mark.parametrize("value", ["nan", "[1,nan]", "{a:nan}"])
def test_arguments_that_would_not_be_read_back_are_refused(value: str):
    assert "would not be read back" in said(f"env.kwargs.x={value}")
    data = compose([]).config.model_dump()
    for other in ((1, 2), {1.5: (2,)}):
        with pytest.raises(UserError, match="would not be read back"):
            validate({**data, "env": {**data["env"], "kwargs": {"x": other}}})


@pytest.mark.parametrize(
    ("line", "value"),
    [("buffer.size=1e5", 100_000), ("objective.sigma=5e-1", 0.5), ("env.name=no", "no"),
     ("env.id=123", "123"),
     ("seed=3", 3), ("total_steps=2.5e6", 2_500_000), ("foreign.lr=1e-3", 0.001), ("foreign.tag=off", "off"),
     ("agent.policy.hidden=[64,64]", [64, 64]), ("eval.interval=null", None), ("env.task=007", "007")],
)  # fmt: skip
def test_a_value_outside_a_run_has_the_type_of_the_setting(line: str, value: object):
    key, found = value_of(line)
    assert (key, found, type(found)) == (line.partition("=")[0], value, type(value))
    assert yaml.safe_load(yaml.safe_dump(found)) == value


@pytest.mark.parametrize(
    "line", ["seed=010", "seed=1,2", "git=695e0514", "objective.sigma=wide", "~seed", "seed"]
)
def test_what_is_no_value_of_a_setting_is_refused(line: str):
    with pytest.raises(UserError):
        value_of(line)


def test_a_file_with_a_byte_order_mark_is_named_and_its_cure_works(tmp_path: Path):
    for group, text in {"preset": "# @package _global_\nseed: 7\n", "buffer": "size: 20000\n"}.items():
        (tmp_path / "my conf" / group).mkdir(parents=True)
        file = tmp_path / "my conf" / group / "mine.yaml"
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())
        message = said(f"{group}=mine", config_dirs=(tmp_path / "my conf",))
        assert "begins with a byte-order mark" in message
        subprocess.run(message.partition("type ")[2], shell=True, check=True)
        assert file.read_bytes() == text.encode()
    config = compose(["preset=mine", "buffer=mine"], config_dirs=[tmp_path / "my conf"]).config
    assert (config.seed, config.buffer.size) == (7, 20_000)


@pytest.mark.parametrize("file", ["preset/mine.yaml", "objective/mine.yaml", "config.yaml"])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, file: str):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes("# @package _global_\n# größe\nseed: 7\n".encode("latin-1"))
    group = file.partition("/")[0]
    message = said(*([f"{group}=mine"] if "/" in file else []), config_dirs=(tmp_path,))
    assert message == f"{(tmp_path / file).resolve()} is not UTF-8 text (line 2); save it as UTF-8"


def test_odd_values_and_files_on_the_command_line(tmp_path: Path):
    (tmp_path / "conf" / "preset").mkdir(parents=True)
    (tmp_path / "conf/preset/bom.yaml").write_bytes(b"\xef\xbb\xbf# @package _global_\n")
    (tmp_path / "conf/preset/latin.yaml").write_bytes("# größe\n".encode("latin-1"))

    def run(line: str) -> subprocess.CompletedProcess[str]:
        """What a shell makes of the line, typed in this process."""
        return gipo("train", "--dry-run", "--config-dir", "conf", *shlex.split(line), cwd=tmp_path)

    refused = run("'env.success_key=a#(b=~ü'").stderr.strip()
    assert refused.endswith("""cannot be read; type 'env.success_key="a#(b=~ü"' if the value is text""")
    typed = refused.partition("; type ")[2].partition(" if the")[0]
    accepted = run(f"{typed} env.kwargs.limit=inf env.kwargs.commit='\"695e0514\"'")
    env = yaml.safe_load(accepted.stdout)["env"]
    assert (env["success_key"], env["kwargs"]) == ("a#(b=~ü", {"limit": float("inf"), "commit": "695e0514"})
    assert "conf/preset/bom.yaml begins with a byte-order mark" in run("preset=bom").stderr
    assert "conf/preset/latin.yaml is not UTF-8 text (line 1); save it as UTF-8" in run("preset=latin").stderr

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import RICH_ENV, gipo, surroundings
from typer.testing import CliRunner

from gipo_cli.commands.app import app, listing
from gipo_cli.commands.parsing import INSTEAD
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.manifest import write_config
from gipo_cli.runs.status import SILENT_SECONDS, StatusFile
from gipo_cli.settings.compose import compose

HEAVY = ("torch", "gymnasium", "mujoco", "stable_baselines3", "matplotlib", "scipy", "numpy")


def gipo_apart(*args: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "gipo_cli", *args]
    return subprocess.run(
        command, cwd=cwd, env=surroundings(**extra), capture_output=True, text=True, timeout=120
    )


def modules_after(*args: str, cwd: Path) -> set[str]:
    """Top-level packages that a command had imported when it ended."""
    code = (
        "import sys\nfrom gipo_cli.commands.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def run_folder(root: Path, name: str, *overrides: str) -> RunDir:
    run = RunDir(root / name)
    run.path.mkdir(parents=True)
    write_config(run, compose(overrides).config)
    return run


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(tmp_path: Path, args: list[str]):
    loaded = modules_after(*args, cwd=tmp_path)
    assert not loaded & {*HEAVY, "hydra", "omegaconf"}


def test_dry_run_and_lists_import_neither_torch_nor_simulators(tmp_path: Path):
    for args in (["train", "--dry-run"], ["list", "envs"], ["list", "objectives"], ["list", "presets"]):
        assert not modules_after(*args, cwd=tmp_path) & set(HEAVY), args


def test_completion_does_not_import_hydra(tmp_path: Path):
    code = (
        "import sys\nfrom gipo_cli.settings.complete import complete\n"
        "assert complete('env=fetch_r') == ['env=fetch_reach']\n"
        "assert not {'hydra', 'omegaconf', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_dry_run_prints_plain_yaml_and_the_destination_and_writes_nothing(tmp_path: Path):
    done = gipo_apart(
        "train", "env=fetch_push", "seed=3", "--dry-run", "--device", "cpu", "--name", "one", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    data = yaml.safe_load(done.stdout)
    assert (data["env"]["name"], data["seed"], data["runtime"]["device"]) == ("fetch_push", 3, "cpu")
    assert done.stdout.rstrip().endswith(f"# would be written to {Path('runs', 'one')}")
    assert list(tmp_path.iterdir()) == []


def test_runs_root_by_flag_and_by_environment_variable(tmp_path: Path):
    by_flag = gipo("train", "--dry-run", "--name", "x", "--runs", "elsewhere", cwd=tmp_path)
    by_variable = gipo("train", "--dry-run", "--name", "x", cwd=tmp_path, GIPO_RUNS="else where")
    assert f"written to {Path('elsewhere', 'x')}" in by_flag.stdout
    assert f"written to {Path('else where', 'x')}" in by_variable.stdout


def test_config_folders_by_flag_and_by_environment_variable(tmp_path: Path):
    for folder, size in (("one", 1001), ("two", 1002)):
        (tmp_path / folder / "buffer").mkdir(parents=True)
        (tmp_path / folder / "buffer" / "mine.yaml").write_text(f"size: {size}\n")
    flags = ["--config-dir", "two", "--config-dir", "one"]
    by_flag = gipo("train", "buffer=mine", "--dry-run", *flags, cwd=tmp_path)
    variable = os.pathsep.join(["one", "two"])
    by_variable = gipo("train", "buffer=mine", "--dry-run", cwd=tmp_path, GIPO_CONFIG_DIR=variable)
    assert yaml.safe_load(by_flag.stdout)["buffer"]["size"] == 1002
    assert yaml.safe_load(by_variable.stdout)["buffer"]["size"] == 1001
    # A run has its configuration: a folder typed for it is a mistake, one set for all commands is not.
    resumed = ["train", "--resume", "x"]
    assert "--config-dir cannot be used with --resume" in gipo(*resumed, *flags, cwd=tmp_path).stderr
    assert "no runs" in gipo(*resumed, cwd=tmp_path, GIPO_CONFIG_DIR=variable).stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "env=fetch_rech"], ["fetch_reach"]),
        (["train", "env=metaworld", "env.task=reach-v2"], ["reach-v3"]),
        (["train", "env=reach-v3"], ["type env=metaworld env.task=reach-v3"]),
        (["sweep", "env=FetchReach-v4", "seed=1,2"], ["type env=fetch_reach env.reward=sparse"]),
        (["train", "env=gymnasium"], ["env.id"]),
        (["train", "objective.sigma=-1"], ["> 0"]),
        (["train", "--device", "gpu"], ["--device gpu is not one of", "did you mean cuda?"]),
        (["eval", "x", "--device", "gpu"], ["--device gpu is not one of", "did you mean cuda?"]),
        (["train", "runtime.device=gpu"], ["runtime.device=gpu is not one of", "did you mean cuda?"]),
        (["train", "--name", "größe"], ["ASCII letters"]),
        (["tain"], ["there is no command 'tain' (did you mean train?)", "`gipo -h`"]),
        (["list", "nothing"], ["there is no command 'nothing'", "`gipo list -h`"]),
        (["show"], ["missing argument 'RUN'", "type gipo show RUN"]),
        (["import-tb", "x"], ["'--out'", "type gipo import-tb SOURCE --out PATH --set KEY=VALUE"]),
        (["show", "x", "--no-such"], ["no such option: --no-such", "`gipo show -h`"]),
        (["--no-such"], ["no such option: --no-such", "`gipo -h`"]),
        (["show", "one", "two"], ["unexpected extra argument", "two"]),
        (["eval", "x", "--seed", "one"], ["'--seed'", "integer", "`gipo eval -h`"]),
        (["train", "--name"], ["option '--name' requires an argument"]),
        (["train", "--name", "a/b"], ["a/b"]),
        (["train", "--name", "../up"], ["../up"]),
        (["train", "--name", ""], ["name"]),
        (["train", "--config-dir", "absent"], ["absent"]),
        (["train", "--allow-changes"], ["--resume"]),
        (["train", "--resume", "x", "--dry-run"], ["--dry-run"]),
        (["train", "--resume", "no-such-run"], ["no runs"]),
        (["show", "no-such-run"], ["no runs"]),
        (["eval", "no-such-run"], ["no runs"]),
        (["video", "no-such-run"], ["no runs"]),
    ],
)
def test_mistakes_exit_2_with_one_line_and_write_nothing(tmp_path: Path, args: list[str], words: list[str]):
    done = gipo(*args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [[], ["list"]])
def test_without_arguments_there_is_help_and_no_error(tmp_path: Path, args: list[str]):
    done = gipo(*args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    assert "Commands" in done.stdout
    asked = gipo(*args, "--help", cwd=tmp_path)
    assert (asked.returncode, asked.stdout.rstrip()) == (0, done.stdout.rstrip())


def test_exit_codes_and_tracebacks(tmp_path: Path):
    """UserError is 2 and RunFailed 1, both without a traceback; anything else keeps its own."""
    code = (
        "import sys\nfrom gipo_cli.commands import app as cli\n"
        "from gipo_cli.errors import RunFailed, UserError\n"
        "@cli.app.command()\ndef boom(kind: str) -> None:\n"
        "    raise {'user': UserError, 'run': RunFailed, 'bug': KeyError}[kind]('what happened')\n"
        "cli.main()"
    )
    results = {}
    for kind in ("user", "run", "bug"):
        command = [sys.executable, "-c", code, "boom", kind]
        results[kind] = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (results["user"].returncode, results["user"].stderr) == (2, "error: what happened\n")
    assert (results["run"].returncode, results["run"].stderr) == (1, "error: what happened\n")
    assert results["bug"].returncode == 1
    assert "Traceback" in results["bug"].stderr
    assert "KeyError" in results["bug"].stderr


def test_lists_fit_80_columns_and_name_everything(tmp_path: Path):
    from gipo_cli.core.objectives import OBJECTIVES
    from gipo_cli.envs.registry import ENVIRONMENTS, METAWORLD_TASKS

    expected = {
        "envs": [*ENVIRONMENTS, *METAWORLD_TASKS, "released"],
        "objectives": [*OBJECTIVES, "sigma=0.5", "sg[w(r)] r A", "sg[min(r, c)] A log pi"],
        "presets": ["default", "sb3_ppo", "authors"],
    }
    for what, words in expected.items():
        done = gipo("list", what, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert max(len(line) for line in done.stdout.splitlines()) <= 80
        for word in words:
            assert "test" in word or word in done.stdout, word


def test_lists_of_settings_studies_and_metrics(tmp_path: Path):
    said = {words: gipo("list", *words.split(), cwd=tmp_path) for words in (
        "settings lag", "settings clip_range", "studies", "metrics lag", "settings --json",
        "metrics effective --json", "envs --json", "objectives --json", "presets --json", "studies --json",
        "runs --json")}  # fmt: skip
    assert all(done.returncode == 0 for done in said.values())
    assert "actors.lag=0 " in said["settings lag"].stdout
    assert "gae_lambda" not in said["settings lag"].stdout
    assert "ppo_clip: clip range below 1" in said["settings clip_range"].stdout
    assert "health/lag_mean" in said["metrics lag"].stdout
    rows = {words: json.loads(done.stdout) for words, done in said.items() if "--json" in words}
    settings = {row["key"]: row for row in rows["settings --json"]}
    assert settings["seed"] == {"key": "seed", "default": "1", "allowed": ">= 0 and < 2147483648",
                                "meaning": "of networks, sampling and environments"}  # fmt: skip
    assert "env.name" not in settings
    assert next(row["column"] for row in rows["metrics effective --json"]) == "health/ess"
    assert {row["name"]: row["tasks"][:1] for row in rows["envs --json"]}["metaworld"] == ["assembly-v3"]
    assert "gipo" in [row["name"] for row in rows["objectives --json"]]
    assert "sb3_ppo" in [row["name"] for row in rows["presets --json"]]
    assert "smoke" in [row["name"] for row in rows["studies --json"]]
    assert "smoke" in said["studies"].stdout
    assert rows["runs --json"] == []


def test_list_runs_and_show(tmp_path: Path):
    run = run_folder(tmp_path / "runs", "first", "objective=sapo", "buffer.size=4000", "total_steps=8000")
    status = StatusFile(run.status, total_steps=8000)
    status.beat(2000, latest={"return": -7.5, "eval_success": 0.95, "eval_return": -2})
    status.finish("interrupted", "SIGINT at step 2000")
    run_folder(tmp_path / "runs" / "study", "second", "seed=5")
    listed = gipo("list", "runs", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    first, second = (line.split() for line in listed.stdout.splitlines()[1:3])
    assert first == ["first", "fetch_reach", "sapo", "4000", "1", "interrupted", "25%", "-2", "95%"]
    assert second == ["study/second", "fetch_reach", "gipo", "2048", "5", "unknown"]

    shown = gipo("show", "first", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    rows = {" ".join(line.split()) for line in shown.stdout.splitlines()}
    assert "buffer.size 4000 (default 2048)" in rows
    assert "objective.name sapo (default gipo)" in rows
    assert "state interrupted: SIGINT at step 2000" in rows
    assert "evaluation success 95.0%" in rows
    assert "training return -7.5" in rows
    assert "gipo train --resume first" in rows
    assert not any(row.startswith("seed ") for row in rows)


def test_in_a_pipe_the_names_of_runs_are_whole(tmp_path: Path):
    names = [f"study/{'long-' * 15}s{seed}" for seed in (1, 2)]
    for name in names:
        run_folder(tmp_path / "runs", name)
    lines = gipo_apart("list", "runs", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == names


HELP = ["", "train", "eval", "video", "export", "diagnose", "sweep", "tune", "show", "compare", "import-tb",
        "demos", "clone", "posttrain", "list", "list settings",
        "list studies", "list metrics", "list envs", "list objectives", "list presets",
        "list runs", "plot", "list demos"]  # fmt: skip


@pytest.mark.parametrize("words", HELP)
def test_help_fits_80_columns_and_says_what_options_take(words: str):
    shown = CliRunner(env=RICH_ENV).invoke(app, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "--help" in shown.output
    assert not re.search(r"<\w+", shown.output), "a type stands where the help should say what is meant"


def test_help_of_every_command_was_looked_at():
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    commands += ["list", *(f"list {command.name}" for command in listing.registered_commands)]
    assert set(HELP) - {""} == set(commands)


def test_environments_tell_for_which_presets_settings_were_found(tmp_path: Path):
    tuned = {
        row["name"]: row["tuned"] for row in json.loads(gipo("list", "envs", "--json", cwd=tmp_path).stdout)
    }
    assert tuned["fetch_reach"] == ["default", "default_0_1"]
    assert "posttrain" in tuned["metaworld"]
    assert tuned["hand_reach"] == []
    assert "preset=default_0_1" in gipo("list", "envs", cwd=tmp_path).stdout


def test_a_finished_run_is_not_offered_for_resuming_and_a_silent_one_is_lost(tmp_path: Path):
    done = run_folder(tmp_path, "done")
    StatusFile(done.status, total_steps=100, step=100).finish("done")
    silent = run_folder(tmp_path, "silent")
    status = StatusFile(silent.status, total_steps=100)
    runner = CliRunner(env=RICH_ENV)
    assert "--resume" not in runner.invoke(app, ["show", "done", "--runs", str(tmp_path)]).output
    status.beat(10, force=True)
    assert "running" in runner.invoke(app, ["list", "runs", "--runs", str(tmp_path)]).output
    from gipo_cli.runs.status import state_now

    old = status.status.model_copy(update={"heartbeat": status.status.heartbeat - 2 * SILENT_SECONDS})
    assert state_now(silent, old) == "lost"
    assert state_now(silent, status.status) == "running"
    with run_lock(silent.lock):
        # An evaluation of many minutes: no iteration ends, and the lock beats.
        assert state_now(silent, old) == "running"
    assert state_now(silent, old) == "lost"


def test_an_empty_runs_folder_says_how_to_start(tmp_path: Path):
    done = gipo("list", "runs", cwd=tmp_path)
    assert done.returncode == 0
    assert "gipo train" in done.stdout


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("gipo train env = fetch_pi", "4", ["fetch_pick_and_place"]),
        (
            "gipo train preset",
            "2",
            ["preset=authors", "preset=default", "preset=default_0_1", "preset=posttrain", "preset=sb3_ppo"],
        ),
        ("gipo show fir", "2", ["first"]),
        ("gipo eval first --checkpoint b", "4", ["best"]),
        ("gipo train env = metaworld env.task = soc", "7", ["soccer-v3"]),
        ("gipo sweep study = smo", "4", ["smoke"]),
        ("gipo compare fi", "2", ["first"]),
    ],
)
def test_bash_completion(tmp_path: Path, words: str, position: str, expected: list[str]):
    run_folder(tmp_path / "runs", "first")
    asked = {"_GIPO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
    # One of them as the shell asks: in a process of its own.
    done = (gipo_apart if "fetch_pi" in words else gipo)(cwd=tmp_path, GIPO_RUNS="runs", **asked)
    assert done.stdout.split() == expected


def test_completion_can_be_installed(tmp_path: Path):
    extra = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = gipo_apart("--install-completion", "bash", cwd=tmp_path, **extra)
    assert done.returncode == 0, done.stderr
    scripts = list(tmp_path.rglob("*.sh"))
    assert scripts
    assert any("_GIPO_COMPLETE" in script.read_text() for script in scripts)


def test_version_is_the_packages(tmp_path: Path):
    from gipo_cli import __version__

    assert gipo("--version", cwd=tmp_path).stdout.strip() == f"gipo {__version__}"


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["train", "--env", "fetch_push"], "write env=fetch_push instead of --env"),
        (["train", "--seed=3"], "write seed=3 instead of --seed=3"),
        (["sweep", "--buffer.size", "500"], "write buffer.size=500 instead of --buffer.size"),
        (
            ["train", "--diagnostics.interval", "5"],
            "write diagnostics.interval=5 instead of --diagnostics.interval",
        ),
        (["train", "--runtime.device=cpu"], "write runtime.device=cpu instead of --runtime.device=cpu"),
        (["sweep", "--study", "smoke"], "write study=smoke instead of --study"),
        (["train", "--sigma", "0.3"], "(did you mean objective.sigma=0.3?); settings are typed key=value"),
        (["train", "--lr", "3"], "(did you mean agent.update.actor_lr=3?)"),
        (["train", "--learning-rate", "3"], "(did you mean agent.update.actor_lr=3?)"),
        (["train", "--steps", "1000"], "(did you mean total_steps=1000?)"),
        (["train", "--nmae", "foo"], "there is no option --nmae (did you mean --name?)"),
        (["train", "-j", "4"], "there is no option -j; settings are typed key=value, without dashes"),
        (["train", "-seed", "4"], "write seed=4 instead of -seed"),
        (["sweep", "--qqq"], "there is no option --qqq; settings are typed key=value, without dashes"),
        (["train", "name=foo"], "write --name foo"),
        (["train", "quiet=true"], "write --quiet"),
        (["sweep", "config_dir=mine"], "write --config-dir mine"),
        (["train", "--name", "x", "--resume", "a=b", "trust=1"], "write --trust"),
        (["train", "--dry-run", "--resume", "x"], "--dry-run cannot be used with --resume: `gipo show`"),
        (["train", "buffer=50000"], "such as buffer.size=50000"),
        (["show", "runs/nope/r"], "there is no folder runs/nope/r"),
        (["resume", "latest"], "there is no command 'resume'; type `gipo train --resume RUN`"),
        (["help"], "there is no command 'help'; type `gipo -h`"),
        (["list", "ls"], "there is no command 'ls'"),
        (["train", "-n", "foo"], "there is no option -n; write --name foo"),
        (["sweep", "seed=1,2", "-n"], "there is no option -n; write --name NAME"),
        (["train", "-m", "seed=1,2"], "there is no option -m; several runs are `gipo sweep`"),
        (["train", "algo=ppo"], "there is no key 'algo' (did you mean objective=ppo_clip?)"),
        (["train", "objective=ppo"], "(did you mean ppo_clip?)"),
        (["train", "objective=dapo"], "(did you mean ppo_clip?)"),
        (["train", "--wandb"], "there is no option --wandb (did you mean logging=wandb?)"),
        (["train", "--algo", "sapo"], "(did you mean objective=sapo?)"),
        (["train", "eval_freq=100"], "(did you mean eval.interval?)"),
        (["train", "env.max_steps=9"], "(did you mean env.max_episode_steps?)"),
        (["train", "--total-timesteps", "9"], "(did you mean total_steps=9?)"),
        (["list", "settings", "zzqq"], "no setting has to do with 'zzqq'; leave the word out"),
    ],
)
def test_common_guesses_are_told_what_to_type(words, cure, tmp_path):
    done = gipo(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert cure in done.stderr
    assert not list(tmp_path.iterdir())


def test_commands_of_other_tools_stand_for_commands_of_this_one():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert not commands & INSTEAD.keys()
    named = [words[1] for words in map(str.split, INSTEAD.values()) if words[0] == "gipo"]
    assert set(named) <= commands | {"-h", "list"}

"""``gipo posttrain``: demonstrations, their clone and training from it, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option, echo

from gipo_cli.commands.clone import assumed
from gipo_cli.commands.options import ConfigDir, Overrides, Quiet, RunsRoot
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.data.demos import Demonstrations
    from gipo_cli.settings.schema import RunConfig

_LIMITS = 80, 200


def posttrain(
    overrides: Overrides = None,
    demos: Annotated[
        str,
        Option(metavar="N|DEMOS", help="how many of the scripted policy, or a file, or a name of list demos"),
    ] = "5",
    name: Annotated[str | None, Option(help="name of the run (made from its settings)")] = None,
    quiet: Quiet = False,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
) -> None:
    """Clone demonstrations, train on from the clone, and show success before and after.

    gipo posttrain env.task=coffee-button-v3 --demos 5; Meta-World and preset=posttrain unless typed.
    """
    from gipo_cli.loggers.terminal import success_lines
    from gipo_cli.runs import layout
    from gipo_cli.runs.durable import read_sealed
    from gipo_cli.settings.explain import text_override
    from gipo_cli.training.initial import shared_clone
    from gipo_cli.training.session import train

    root, typed, folders = layout.runs_root(runs), overrides or [], config_dir or []
    if name is not None:
        layout.check_name(name)
        if (root / name).exists():
            raise UserError(f"{root / name} already exists and is not overwritten; give another name")
    path, lines = _demonstrations(demos, typed, root, folders)
    lines, config, found = _obtained([*lines, *typed, text_override("demos.path", str(path))], folders)
    clone = shared_clone(config, found, root)
    if not quiet:
        echo(f"{path}: {len(found)} demonstrations; clone {clone.path}")
        echo("\n".join(f"before: {line}" for line in success_lines(read_sealed(clone.clone).get("success"))))
    code = train(
        config,
        run_dir=root / (name or layout.default_name(config)),
        overrides=lines,
        command=["gipo", *sys.argv[1:]],
        quiet=quiet,
        unique=name is None,
        root=root,
    )
    raise Exit(code)


def _demonstrations(demos: str, typed: list[str], root: Path, folders: list[Path]) -> tuple[Path, list[str]]:
    """The file that is meant, recorded if it is a number, and the settings that are not typed."""
    from gipo_cli.commands.demos import scripted_name
    from gipo_cli.data import demos as record
    from gipo_cli.data.demo_files import SUFFIX, find, folder_of
    from gipo_cli.data.formats import read
    from gipo_cli.settings.compose import compose
    from gipo_cli.training.record import record_scripted

    if not demos.isdecimal():
        path = find(root, demos)
        return path, assumed(read(path), typed)
    if not int(demos):
        raise UserError("--demos 0 leaves nothing to clone; give 1 or more")
    keys = {line.partition("=")[0] for line in typed}
    usual = {"preset": "posttrain", "env": "metaworld"}
    lines = [f"{key}={value}" for key, value in usual.items() if key not in keys]
    config = compose([*lines, *typed], config_dirs=folders).config
    path = folder_of(root) / (scripted_name(config, int(demos), config.demos.noise, successful=True) + SUFFIX)
    if not path.exists():
        made = record_scripted(config.env, episodes=int(demos), seed=config.seed, noise=config.demos.noise)
        record.save(made, path)
    return path, lines


def _obtained(lines: list[str], folders: list[Path]) -> tuple[list[str], RunConfig, Demonstrations]:
    """The settings, with a time limit for Meta-World where none is typed, and the demonstrations."""
    from gipo_cli.settings.compose import compose
    from gipo_cli.training.clone import obtain

    config = compose(lines, config_dirs=folders).config
    found = obtain(config)
    if config.env.max_episode_steps is None and config.env.name == "metaworld":
        lines = [*lines, f"env.max_episode_steps={_limit(found) * config.env.action.repeat}"]
        config = compose(lines, config_dirs=folders).config
    return lines, config, found


def _limit(found: Demonstrations) -> int:
    """About twice the longest demonstration, in steps."""
    least, most = _LIMITS
    return max(least, min(most, -(-2 * int(found.length.max()) // 10) * 10))

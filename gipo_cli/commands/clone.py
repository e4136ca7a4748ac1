"""``gipo clone``: a policy from demonstrations."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from gipo_cli.commands.options import ConfigDir, Overrides, Quiet, RunsRoot
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.data.demos import Demonstrations


def clone(
    demos: Annotated[
        str,
        Argument(metavar="DEMOS", help="a name of `gipo list demos`, a file, or a Minari dataset"),
    ],
    overrides: Overrides = None,
    name: Annotated[str | None, Option(help="name of the clone (made from the demonstrations)")] = None,
    quiet: Quiet = False,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
) -> None:
    """Train a policy to do what demonstrations do, into a run folder like any other.

    Settings are those of preset=posttrain unless a preset is typed; clone.* says how it is done.
    """
    from gipo_cli.data.demo_files import find
    from gipo_cli.data.formats import read
    from gipo_cli.loggers.terminal import success_lines
    from gipo_cli.runs import layout
    from gipo_cli.settings.compose import compose
    from gipo_cli.settings.explain import text_override

    root = layout.runs_root(runs)
    if name is not None:
        layout.check_name(name)
    path = find(root, demos)
    typed = [*assumed(read(path), overrides or []), *(overrides or [])]
    lines = [*typed, text_override("demos.path", str(path))]
    config = compose(lines, config_dirs=config_dir or []).config
    from gipo_cli.training.clone import make_clone, obtain

    found = obtain(config)
    stem = name or f"clone-{path.stem}-s{config.seed}"[:140]
    folder = layout.create(root, stem, unique=name is None)
    try:
        with told(config.clone.steps, quiet) as on_check:
            command = ["gipo", *sys.argv[1:]]
            facts = make_clone(folder, config, found, overrides=lines, command=command, on_check=on_check)
    except BaseException:
        if not folder.clone.exists():
            shutil.rmtree(folder.path)
        raise
    if not quiet:
        echo(f"{folder.path}: {_fit(facts)}")
        echo("\n".join(success_lines(facts.get("success"))))
        echo(f"type next: gipo train {shlex.join(typed)} init={folder.name}")


def _fit(facts: dict[str, Any]) -> str:
    fit = facts["fit"]
    held = fit["validation_loss"]
    words = f"{facts['demonstrations']} demonstrations, {fit['steps']} steps, loss {fit['loss']:.3g}"
    return words if held is None else f"{words}, {held:.3g} on validation episodes"


def assumed(found: Demonstrations, overrides: Sequence[str]) -> list[str]:
    """The preset and the environment that are not typed: preset=posttrain, and that of the demonstrations.

    Raises: UserError if neither says which environment it is, or only the demonstrations name code.
    """
    from gipo_cli.settings.explain import as_text, text_override
    from gipo_cli.settings.imports import modules_of

    keys = {line.partition("=")[0].lstrip("+") for line in overrides}
    lines = [] if "preset" in keys else ["preset=posttrain"]
    if "env" in keys:
        return lines
    env = found.about.get("env")
    if not env:
        raise UserError(
            "the demonstrations do not say which environment they are of; type it, such as "
            "env=gymnasium env.id=... or env=metaworld env.task=..."
        )
    if modules := modules_of({"env": env}):
        raise UserError(
            f"the demonstrations need the code of {', '.join(modules)}: if you trust it, type "
            f"env={env['name']} {as_text('env.id', str(env.get('id')))}"
        )
    lines.append(f"env={env['name']}")
    for key in ("task", "id"):
        if env.get(key) and f"env.{key}" not in keys:
            lines.append(text_override(f"env.{key}", env[key]))
    return lines


@contextmanager
def told(steps: int, quiet: bool) -> Iterator[Callable[[int, float], None]]:
    """Show the steps and the loss, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("cloning", total=steps)

        def update(step: int, loss: float) -> None:
            bar.update(task, completed=step, description=f"cloning (loss {loss:.3g})")

        yield update

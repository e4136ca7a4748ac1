"""``gipo demos``: record demonstrations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

from gipo_cli.commands.options import ConfigDir, Deterministic, Overrides, Quiet, RunsRoot, Trust
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.data.demos import Demonstrations
    from gipo_cli.settings.schema import RunConfig

Progress = Callable[[int, int], None]


def demos(
    overrides: Overrides = None,
    episodes: Annotated[int, Option(min=1, metavar="N", help="demonstrations to record")] = 10,
    noise: Annotated[
        float, Option(min=0.0, metavar="DEVIATION", help="of Gaussian noise on each action")
    ] = 0.0,
    keep_all: Annotated[bool, Option("--all", help="keep failures too")] = False,
    source: Annotated[
        str | None,
        Option("--from", metavar="RUN|FILE", help="record a run, or convert a file (the scripted policy)"),
    ] = None,
    deterministic: Deterministic = True,
    checkpoint: Annotated[str, Option(help="with --from RUN: last, best or a step")] = "last",
    name: Annotated[str | None, Option(help="name of the demonstrations (made from their source)")] = None,
    quiet: Quiet = False,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Record demonstrations of a scripted policy, or of a run, or convert a file.

    gipo demos env=metaworld env.task=push-v3 --episodes 10; Meta-World's 50 tasks have scripted policies.
    """
    from gipo_cli.data import demos as record
    from gipo_cli.data.demo_files import SUFFIX, folder_of
    from gipo_cli.runs.layout import runs_root

    root = runs_root(runs)
    if name is not None:
        _check_free(root, name)
    if source is not None:
        _check_record_of_a_run(overrides, noise)
    with _told(episodes, quiet) as progress:
        if source is None:
            made, stem = _scripted(overrides or [], config_dir or [], episodes, noise, not keep_all, progress)
        else:
            made, stem = _from(
                root,
                source,
                episodes=episodes,
                deterministic=deterministic,
                checkpoint=checkpoint,
                successful=not keep_all,
                trust=trust,
                progress=progress,
            )
    path = folder_of(root) / f"{name or stem}{SUFFIX}"
    record.save(made, path)
    if not quiet:
        _say(path, made)


def _check_record_of_a_run(overrides: list[str] | None, noise: float) -> None:
    if overrides:
        raise UserError("--from brings its own settings; leave the overrides out")
    if noise:
        raise UserError("--noise is for the scripted policy; use --stochastic with --from RUN")


def _say(path: Path, made: Demonstrations) -> None:
    rate = f"{int(made.successful.sum())} successful of {made.about.get('played', len(made))} played"
    echo(f"{path}: {len(made)} episodes, {made.steps} steps, {rate}")
    echo(f"type next: gipo clone {path.stem}")


def _scripted(
    overrides: list[str],
    config_dirs: list[Path],
    episodes: int,
    noise: float,
    successful: bool,
    progress: Progress,
) -> tuple[Demonstrations, str]:
    from gipo_cli.settings.compose import compose
    from gipo_cli.training.record import record_scripted

    config = compose(overrides, config_dirs=config_dirs).config
    made = record_scripted(
        config.env,
        episodes=episodes,
        seed=config.seed,
        noise=noise,
        successful=successful,
        progress=progress,
    )
    return made, scripted_name(config, episodes, noise, successful=successful)


def scripted_name(config: RunConfig, episodes: int, noise: float, *, successful: bool) -> str:
    """Name demonstrations of a scripted policy by what they depend on."""
    parts = [config.env.subject, "scripted", str(episodes)]
    parts += [f"noise{noise:g}"] if noise else []
    parts += [] if successful else ["all"]
    return "-".join([*parts, f"s{config.seed}"])


def _from(
    root: Path,
    source: str,
    *,
    episodes: int,
    deterministic: bool,
    checkpoint: str,
    successful: bool,
    trust: bool,
    progress: Progress,
) -> tuple[Demonstrations, str]:
    from gipo_cli.runs.layout import RunDir, find

    path = Path(source).expanduser()
    if path.exists() and not RunDir(path).exists():
        from gipo_cli.data.formats import read

        return read(path), path.stem
    from gipo_cli.training.record import record_run

    run = find(root, source)
    made = record_run(
        run.path,
        episodes=episodes,
        seed=None,
        deterministic=deterministic,
        checkpoint=checkpoint,
        successful=successful,
        trust=trust,
        progress=progress,
    )
    return made, f"{run.name[:120]}-{episodes}"


def _check_free(root: Path, name: str) -> None:
    from gipo_cli.data.demo_files import SUFFIX, check_name, folder_of

    check_name(name)
    path = folder_of(root) / f"{name}{SUFFIX}"
    if path.exists():
        raise UserError(f"{path} already exists and is not overwritten; give another name with --name")


@contextmanager
def _told(episodes: int, quiet: bool) -> Iterator[Progress]:
    """Show how many demonstrations are recorded, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("recording", total=episodes)

        def update(kept: int, played: int) -> None:
            bar.update(task, completed=kept, description=f"recording ({played} played)")

        yield update


def list_demos(runs: RunsRoot = None) -> None:
    """Demonstrations that `gipo demos` recorded."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.commands.columns import aligned
    from gipo_cli.data import demos as record
    from gipo_cli.data.demo_files import folder_of, listed
    from gipo_cli.runs.layout import runs_root
    from gipo_cli.text import printable

    console, root = Console(highlight=False), runs_root(runs)
    files = listed(root)
    if not files:
        console.print(
            Text(f"no demonstrations in {folder_of(root)}; record some with: gipo demos env=metaworld")
        )
        return
    rows = [["demonstrations", "episodes", "steps", "success", "source"]]
    for file in files:
        try:
            found = record.load(file)
        except UserError:
            rows.append([file.stem, "", "", "", "damaged"])
            continue
        counts = (str(len(found)), str(found.steps), f"{found.successful.mean():.0%}")
        rows.append([file.stem, *counts, str(found.about.get("source", "unknown"))])
    width = console.width if console.is_terminal else None
    cells = [[printable(cell) for cell in row] for row in rows]
    console.print(Text("\n".join(aligned(cells, width, optional=[4, 2]))), soft_wrap=True)


def show_demos(path: Path) -> None:
    """Print what demonstrations hold, and what to type next."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.commands.list import plain_table
    from gipo_cli.data.formats import read
    from gipo_cli.text import printable

    console, found = Console(highlight=False), read(path)
    console.print(Text(printable(str(path)), style="bold"))
    facts = plain_table(indent=2, values=1)
    for name, value in _facts(found):
        facts.add_row(name, Text(printable(value)))
    console.print(facts)
    console.print(Text(f"\ntype next:\n  gipo clone {printable(shlex.quote(str(path)))}"), soft_wrap=True)
    if found.about.get("env"):
        console.print(Text(f"  gipo video {printable(shlex.quote(str(path)))}"), soft_wrap=True)


def _facts(found: Demonstrations) -> Iterator[tuple[str, str]]:
    about, lengths = found.about, found.length
    env = about.get("env") or {}
    if env:
        yield "what", " ".join(str(env[key]) for key in ("name", "task", "id") if env.get(key))
    yield "source", str(about.get("source", "unknown"))
    played = f", {about['played']} played" if "played" in about else ""
    yield "episodes", f"{len(found)}, of which {int(found.successful.sum())} succeed{played}"
    yield "steps", f"{found.steps}, from {lengths.min()} to {lengths.max()} an episode"
    if (returns := found.returns) is not None:
        yield "return", f"mean {returns.mean():.4g}, from {returns.min():.4g} to {returns.max():.4g}"
    actions = found.action
    yield "actions", f"{actions.shape[1]}, from {actions.min():.4g} to {actions.max():.4g}"
    if (found.goal >= 0).any():
        yield "goals", f"{len(set(found.goal.tolist()))} different ones of task seed {about.get('task_seed')}"
    if "seed" in about:
        yield "seed", str(about["seed"])
    if about.get("noise"):
        yield "noise", f"{about['noise']:g}"
    if versions := about.get("versions"):
        names = ("gipo", "mujoco", "metaworld", "gymnasium", "gymnasium-robotics")
        yield "versions", ", ".join(f"{name} {versions[name]}" for name in names if versions.get(name))

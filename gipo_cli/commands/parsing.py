"""How the words of a command line are read, and what is said about mistakes in them."""

from __future__ import annotations

from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from gipo_cli.errors import UserError, suggest

USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])
"""What Typer raises for mistakes in the words of a command line; it exports this subclass alone."""


INSTEAD = {
    "help": "gipo -h",
    "run": "gipo train",
    "learn": "gipo train",
    "resume": "gipo train --resume RUN",
    "continue": "gipo train --resume RUN",
    "evaluate": "gipo eval RUN",
    "test": "gipo eval RUN",
    "enjoy": "gipo video RUN",
    "render": "gipo video RUN",
    "plot": "gipo compare RUN ...",
    "ls": "gipo list runs",
    "config": "gipo train --dry-run",
    "tensorboard": "tensorboard --logdir runs",
}
"""Commands of other tools, and what does the same here."""


LETTERS = {"-n": "--name"}
"""Options of one letter that other tools have, and what does the same here."""


def _is_flag(param: Any) -> bool:
    return bool(getattr(param, "is_flag", False))


def _without_flag_types(params: list[Any]) -> list[Any]:
    """A flag takes no value, so its help names no type, which Typer would print as ``<bool>``."""
    for param in params:
        if _is_flag(param):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command whose help names no type for flags."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: D102
        return _without_flag_types(super().get_params(ctx))


class SettingsCommand(Command):
    """A command that takes overrides."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: D102
        from gipo_cli.settings.typed import refuse_dashes

        if not ctx.resilient_parsing:
            _refuse_letters(args)
            options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
            names = {name: not _is_flag(option) for option in options for name in option.opts}
            refuse_dashes(args, names)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands that suggests the one that was probably meant."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: D102
        return _without_flag_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: D102
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            near = suggest(args[0], self.commands)
            raise UserError(f"there is no command {args[0]!r}{near}; `{ctx.command_path} -h` lists them all")
        return super().resolve_command(ctx, args)


class App(Group):
    """The whole tool, which knows the words of other tools too."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: D102
        if args[0] in INSTEAD:
            raise UserError(f"there is no command {args[0]!r}; type `{INSTEAD[args[0]]}`")
        return super().resolve_command(ctx, args)


def _refuse_letters(words: list[str]) -> None:
    """Name the option that stands here for one of another tool."""
    settled = words.index("--") if "--" in words else len(words)
    for word, value in zip(words[:settled], [*words[1:], "NAME"], strict=False):
        if word in LETTERS:
            raise UserError(f"there is no option {word}; write {LETTERS[word]} {value}")


def usage(error: Any) -> str:
    """A mistake in the words of a command line as one sentence; empty if help was printed instead."""
    said = " ".join(error.format_message().split()).rstrip(".")
    said = said[:1].lower() + said[1:]
    if not said or error.ctx is None:
        return said
    command, needed = error.ctx.command_path, [p for p in error.ctx.command.params if p.required]
    type_this = f"; `{command} -h` lists what it takes"
    if said.startswith("missing"):
        words = [
            f"{'' if p.param_type_name == 'argument' else p.opts[0] + ' '}{_stands_for(p)}" for p in needed
        ]
        type_this = f"; type {' '.join([command, *words])}"
    return said + type_this


def _stands_for(param: Any) -> str:
    return str(param.metavar or param.name.upper())

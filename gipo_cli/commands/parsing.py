"""How the words of a command line are read, and what is said about mistakes in them."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, cast

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup

from gipo_cli.errors import UserError, suggest
from gipo_cli.streams import waiting

USAGE_ERROR = cast(type[Exception], BadParameter.__mro__[1])
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
    "ls": "gipo list runs",
    "config": "gipo train --dry-run",
    "tensorboard": "tensorboard --logdir runs",
}
"""Commands of other tools, and what does the same here."""
LETTERS = {"-n": "write --name {}", "-m": "several runs are `gipo sweep`"}
"""One-letter options of other tools, and what does the same here with what follows."""


_PLACES = {"int": "N", "float": "NUMBER", "Path": "PATH"}
"""What stands for an option's value in its help, by type; an option of text has its own name."""


class _PlainTypes:
    """Says in the help what an option takes, where Typer would print ``<str>``, and nothing for a flag."""

    help: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
            argument = param.param_type_name == "argument"
            if param.metavar is None:
                named = param.name.upper()
                param.metavar = named if argument else _PLACES.get(param.bare_type(), named)
            if argument:
                # Its name, in the column before, says it all.
                param.display_type_rich = lambda ctx: None
                shown = param.metavar if param.required else f"[{param.metavar}]..."
                param._usage_display_name = lambda shown=shown: shown
            # A value out of range is told what is allowed.
            param._get_number_range_help_str = lambda: None
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, whose paragraphs are filled to the width of the terminal."""
        paragraphs = cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(_PlainTypes, TyperCommand):
    """A command."""

    def invoke(self, ctx: Any) -> Any:
        """Run it; what it needs may take seconds to load."""
        waiting("starting ...")
        try:
            return super().invoke(ctx)
        finally:
            waiting("")


class SettingsCommand(Command):
    """A command that takes overrides."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse settings that are typed as options, and say how they are typed."""
        from gipo_cli.settings.overrides import refuse_dashes

        if not ctx.resilient_parsing:
            own = args[: args.index("--")] if "--" in args else args
            for word, value in zip(own, [*args[1:], "NAME"], strict=False):
                if word in LETTERS:
                    raise UserError(f"there is no option {word}; {LETTERS[word].format(value)}")
            options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
            refuse_dashes(args, {name: not option.is_flag for option in options for name in option.opts})
        return super().parse_args(ctx, args)


class Group(_PlainTypes, TyperGroup):
    """Commands, of which the nearest is suggested for one that does not exist."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is meant."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            if args[0] in INSTEAD and ctx.parent is None:
                raise UserError(f"there is no command {args[0]!r}; type `{INSTEAD[args[0]]}`")
            near = suggest(args[0], self.commands)
            raise UserError(f"there is no command {args[0]!r}{near}; `{ctx.command_path} -h` lists them all")
        return super().resolve_command(ctx, args)


def usage(error: Any) -> str:
    """Turn a mistake in the words of a command line into one sentence; empty if help was printed instead."""
    said = " ".join(error.format_message().split()).rstrip(".")
    said = said[:1].lower() + said[1:]
    if not said or error.ctx is None:
        return said
    command = error.ctx.command_path
    if not said.startswith("missing"):
        return f"{said}; `{command} -h` lists what it takes"
    words = [command]
    for param in error.ctx.command.params:
        if param.required:
            option = "" if param.param_type_name == "argument" else f"{param.opts[0]} "
            words.append(f"{option}{param.metavar or param.name.upper()}")
    return f"{said}; type {' '.join(words)}"

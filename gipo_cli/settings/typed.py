"""Settings are typed without dashes and options with them; who mixes them up is told what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gipo_cli.errors import UserError, nearest


def refuse_dashes(words: Sequence[str], options: Mapping[str, bool]) -> None:
    """Check the words of a command that takes overrides.

    Args:
        words: what was typed after the command's name.
        options: the command's options with their dashes, and whether each takes a value.

    Raises:
        UserError: a setting with dashes, an option without them, or an option that there is not.
    """
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in options:
            del rest[: int(options[name] and not equals)]
        elif name.startswith("-") and name[:2] not in options:
            raise UserError(_unknown(name, value if equals else next(iter(rest), "VALUE"), word, options))
        elif equals and (option := f"--{name.replace('_', '-')}") in options:
            example = f"{option} {value}" if options[option] else option
            raise UserError(f"{name} is an option of this command and no setting; write {example}")


def _unknown(option: str, value: str, word: str, options: Mapping[str, bool]) -> str:
    from gipo_cli.settings.explain import known_keys
    from gipo_cli.settings.groups import STUDIES, group_choices
    from gipo_cli.settings.schema import RunConfig

    key = option.lstrip("-")
    if "." in key or key in {STUDIES, *RunConfig.model_fields, *group_choices()}:
        return f"settings have no dashes; write {key}={value} instead of {word}"
    near = nearest(option, options)[:1]
    near = near or [f"{name}={value}" for name in nearest(key.replace("-", "_"), known_keys(RunConfig))]
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"there is no option {option}{guess}; settings are typed key=value, without dashes"

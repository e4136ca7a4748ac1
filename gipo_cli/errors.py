"""The two ways a command ends badly, and what to suggest for a word that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """The request cannot be carried out as typed; nothing was started or written.

    The message is one clear sentence: what was wrong, what is allowed and what to type instead.
    The command line prints it without a traceback and exits with code 2.
    """


class UnknownChoice(UserError):  # noqa: N818 - a kind of user error
    """A group of settings has no such choice; a caller may know more about what was meant."""

    def __init__(self, message: str, group: str, value: str) -> None:
        super().__init__(message)
        self.group, self.value = group, value


class StoppedError(Exception):
    """Somebody asked to stop before something was over; it is to be dropped."""


class RunFailed(Exception):  # noqa: N818 - a state of a run, named as the status file names it
    """A run that had started could not go on; its last good state is on disk.

    The message names the environment step and the quantity or component at fault.
    The command line prints it without a traceback and exits with code 1.
    """


ALIASES = {
    "steps": "total_steps",
    "timesteps": "total_steps",
    "total_timesteps": "total_steps",
    "n_steps": "agent.rollout_steps",
    "max_steps": "env.max_episode_steps",
    "eval_freq": "eval.interval",
    "save_freq": "checkpoint.interval",
    "env_id": "env.id",
    "algo": "objective",
    "algorithm": "objective",
    "loss": "objective",
    "lr": "agent.update.actor_lr",
    "learning_rate": "agent.update.actor_lr",
    "clip": "objective.eps",
    "clip_range": "objective.eps",
    "n_epochs": "agent.update.epochs",
    "ent_coef": "agent.update.entropy_coef",
    "vf_coef": "agent.update.value_coef",
    "target_kl": "agent.update.kl_stop",
    "net_arch": "agent.policy.hidden",
    "num_envs": "env.n_envs",
    "buffer_size": "buffer.size",
    "discount": "agent.advantage.gamma",
    "ppo": "ppo_clip",
    "dapo": "ppo_clip",
    "false": "never",
    "off": "never",
    "gpu": "cuda",
}
"""What other tools call our settings and choices, in lower case."""


def suggest(word: str, options: Iterable[str]) -> str:
    """`` (did you mean a or b?)`` with the options nearest to ``word``, or nothing if none is near."""
    return guess([name if not re.search(r"\s", name) else repr(name) for name in nearest(word, options)])


def guess(near: Sequence[str]) -> str:
    """The same of words that were found already."""
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def nearest(word: str, options: Iterable[str]) -> list[str]:
    """At most three options that ``word`` may stand for, in any case; the likeliest first.

    An alias comes before the same letters, those before the beginning of a word in the option, and that
    before similar letters. What follows the last dot or slash counts most.
    """
    names = list(dict.fromkeys(options))
    low, leaf = word.lower(), _leaf(word.lower())
    if ALIASES.get(leaf) in names:
        return [ALIASES[leaf]]
    letters = {_letters(low), _letters(leaf)}
    same = [name for name in names if letters & {_letters(name), _letters(_leaf(name))}]
    begins = [name for name in names if len(leaf) > 2 and f"_{leaf}" in f"_{_leaf(name).lower()}"]
    if found := same or begins:
        return _by_likeness(low, found)[:3]
    by_leaf = {_leaf(name).lower(): name for name in reversed(_by_likeness(low, names))}
    near = [by_leaf[key] for key in difflib.get_close_matches(leaf, by_leaf, n=2, cutoff=0.7)]
    return near or difflib.get_close_matches(word, names, n=2, cutoff=0.6)


def _leaf(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _by_likeness(word: str, names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: -difflib.SequenceMatcher(None, word, name.lower()).ratio())

"""Checkpoints: atomic, durable, verified, and unable to run code.

A checkpoint is a folder of plain files: JSON for the state, ``torch.save`` of plain containers of tensors
(read back with ``weights_only``), one ``.npy`` per array (read back without pickle), and a sealed list of
their digests.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gipo_cli import __version__
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.bundle import FORMAT, Contents, Damaged, Tree, read_bundle, read_contents, write_bundle
from gipo_cli.runs.durable import TEMPORARY, fsync_dir, remove_leftovers, write_sealed, writing

__all__ = ["Checkpoint", "CheckpointStore", "Tree"]

BEST_FILE = "best.json"
_REPLACED = ".old-"
_FOLDER = re.compile(r"step_(\d{12})")

Score = float | Sequence[float] | None


@dataclass
class Checkpoint(Tree):
    """A checkpoint read back; tensors are on the CPU.

    Attributes:
        step: Environment steps done.
        path: Its folder.
        gipo: Version that wrote it.
        notes: What the user should know, such as a damaged newer checkpoint that was passed over.
    """

    step: int = 0
    path: Path = field(default_factory=Path)
    gipo: str = __version__
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def reading(self, failure: type[Exception] = UserError) -> Iterator[None]:
        """Turn whatever the body, which takes this apart, fails with into one sentence.

        Its digests are right, but it may be of another configuration, or made by a stranger.

        Raises:
            UserError, or ``failure``.
        """
        try:
            yield
        except (UserError, RunFailed):
            raise
        except Exception as error:
            why = f"it holds no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise failure(f"checkpoint {self.path} does not fit this configuration: {why}") from error


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: Where they lie; made by the first ``save``.
        keep_last: Newest checkpoints kept.
        every: Keep the first checkpoint of each so many steps for good; None: none.
        best: Keep the one with the best score.
    """

    def __init__(
        self, folder: Path, *, keep_last: int = 1, every: int | None = None, best: bool = True
    ) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._every = every
        self._best = best

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, good or damaged, oldest first."""
        try:
            names = [_FOLDER.fullmatch(entry.name) for entry in os.scandir(self.folder) if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):  # none yet, or going at this moment
            return []
        return sorted(int(name[1]) for name in names if name)

    def best_step(self) -> int | None:
        """Step of the checkpoint with the best score; None if none was evaluated."""
        return _best(self._scores())

    def path(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.folder / f"step_{step:012d}"

    def recover(self) -> None:
        """Clean up after a killed ``save``; only the run's one writer may call this.

        Raises:
            RunFailed: The disk refused.
        """
        if not self.folder.is_dir():
            return
        with writing(self.folder):
            for leftover in list(self.folder.iterdir()):
                original = self.folder / leftover.name.removeprefix(_REPLACED)
                if leftover.name.startswith(_REPLACED) and not original.exists():
                    leftover.rename(original)
                elif leftover.name.startswith((_REPLACED, TEMPORARY)):
                    _remove(leftover)
            remove_leftovers(self.folder)
            fsync_dir(self.folder)

    def save(self, step: int, tree: Tree, *, score: Score = None) -> Path:
        """Write a checkpoint and drop those that the policy does not keep; returns its folder.

        Args:
            step: Environment steps done; an existing checkpoint of that step is replaced.
            tree: What to save.
            score: Evaluation result, larger is better; several numbers compare in order, and of equals the
                earlier checkpoint stays the best. NaN is never the best.

        Raises:
            RunFailed: The disk refused; the earlier checkpoints are still there.
            TypeError: The tree holds something that could not be read back.
        """
        final = self.path(step)
        aside = self.folder / f"{TEMPORARY}{os.getpid()}-{final.name}"
        with writing(final):
            self.folder.mkdir(exist_ok=True)
            try:
                write_bundle(aside, step, _score(score), tree)
                replaced = self.folder / f"{_REPLACED}{final.name}"
                if final.exists():
                    final.rename(replaced)
                aside.rename(final)
                fsync_dir(self.folder)
                _remove(replaced)
            except BaseException:
                with suppress(OSError):
                    _remove(aside)
                raise
            self._prune(step)
        return final

    def load(
        self,
        which: int | str = "last",
        *,
        only: Collection[str] | None = None,
        needs: Collection[str] = (),
    ) -> Checkpoint:
        """Read a checkpoint whose every byte is as it was written.

        Args:
            which: ``last`` passes over damaged ones, newest first, and says so in ``notes``; ``best`` is the
                one with the best score; a number, also as text, is that step.
            only: Outermost names of the tensors and arrays to read; None: all of them. The state is always
                read.
            needs: Names without which the checkpoint is of no use.

        Raises:
            UserError: There is none, or it is damaged, incomplete or from another version.
        """
        if which != "last":
            return self._read(self._step_of(which), only, needs)
        notes: list[str] = []
        for step in reversed(self.steps()):
            try:
                checkpoint = self._read(step, only, needs)
            except _DamagedError as error:
                notes.append(f"{error}; the one before it is used")
                continue
            checkpoint.notes = notes
            return checkpoint
        damage = f": {notes[0].partition(';')[0]}" if notes else ""
        raise UserError(f"there is no usable checkpoint in {self.folder}{damage}")

    def _step_of(self, which: int | str) -> int:
        if which == "best":
            best = self.best_step()
            if best is None:
                raise UserError(
                    f"no checkpoint in {self.folder} was evaluated, so none is the best; use last"
                )
            return best
        if not str(which).isdecimal():
            raise UserError(f"{which!r} names no checkpoint; use last, best or a step: {self._known()}")
        return int(which)

    def _known(self) -> str:
        return ", ".join(map(str, self.steps())) or "there is none yet"

    def _read(self, step: int, only: Collection[str] | None, needs: Collection[str]) -> Checkpoint:
        path = self.path(step)
        if not path.is_dir():
            raise UserError(f"{self.folder} holds no checkpoint of step {step}; it holds: {self._known()}")
        try:
            contents = read_contents(path)
            _check_contents(path, contents, step, only, needs)
            tree = read_bundle(path, contents, only)
        except Damaged as error:
            raise _DamagedError(f"checkpoint {path} is damaged ({error})") from error
        return Checkpoint(tree.state, tree.tensors, tree.arrays, step=step, path=path, gipo=contents.gipo)

    def _scores(self, newest: int | None = None) -> dict[int, list[float]]:
        scores = {}
        for step in self.steps():
            if newest is None or step <= newest:
                with suppress(Damaged, UserError):
                    scores[step] = read_contents(self.path(step)).score
        return {step: score for step, score in scores.items() if score}

    def _prune(self, newest: int) -> None:
        # Checkpoints beyond the newest belong to a future that a damaged one cut off: they are left alone
        # until the run passes them again.
        steps = [step for step in self.steps() if step <= newest]
        keep = set(steps[-self._keep_last :])
        if self._every is not None:
            firsts = {step // self._every: step for step in reversed(steps)}
            keep |= {step for window, step in firsts.items() if window > 0}
        scores = self._scores(newest)
        best = _best(scores)
        if best is not None and self._best:
            keep.add(best)
        if best in keep:
            write_sealed(self.folder / BEST_FILE, {"format": 1, "step": best, "score": scores[best]})
        for step in set(steps) - keep:
            _remove(self.path(step))


class _DamagedError(UserError):
    """A checkpoint is not what was written; an older one may serve."""


def _check_contents(
    path: Path, contents: Contents, step: int, only: Collection[str] | None, needs: Collection[str]
) -> None:
    if contents.step != step:
        raise Damaged(f"it is of step {contents.step}")
    if contents.format < FORMAT and not (only and set(only) <= {"policy"}):
        raise UserError(
            f"checkpoint {path} was written by gipo {contents.gipo}: this version reads its policy and "
            f"nothing else; install gipo-cli=={contents.gipo} to resume or diagnose the run"
        )
    missing = sorted(set(needs) - contents.names())
    if missing:
        raise UserError(f"checkpoint {path} holds no {', '.join(missing)}; it was saved without")


def _best(scores: dict[int, list[float]]) -> int | None:
    return max(scores, key=lambda step: (scores[step], -step), default=None)


def _score(score: Score) -> list[float]:
    if score is None:
        return []
    numbers = [float(score)] if isinstance(score, int | float) else [float(number) for number in score]
    return numbers if all(map(math.isfinite, numbers)) else []


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        # Out of sight first: a kill in between must not leave half a checkpoint under a good name.
        hidden = folder.with_name(f"{TEMPORARY}{os.getpid()}-gone-{folder.name}")
        folder.rename(hidden)
        shutil.rmtree(hidden)

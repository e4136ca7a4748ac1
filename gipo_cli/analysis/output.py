"""Folders of results, which replace earlier ones as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.compare.output import writing
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_free(out: Path, record: str, what: str, *, force: bool) -> None:
    """Refuse an output folder with something in it, unless ``record`` shows an earlier ``what`` to replace.

    Raises: UserError.
    """
    if not out.exists() or (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir())):
        return
    # The folder of a run may hold a file of that name too.
    if RunDir(out).exists() or not (out / record).is_file():
        raise UserError(
            f"{out} already exists and is no earlier {what}, so it is not overwritten; name another folder "
            "with --out"
        )
    if not force:
        raise UserError(
            f"{out} already holds a {what} and is not overwritten; add --force to replace it, or name "
            "another folder with --out"
        )


@contextmanager
def writing_whole(out: Path) -> Iterator[Path]:
    """A folder to write into; its files replace those of ``out`` once all are there.

    Raises: UserError if the disk refuses.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as scratch:
            yield Path(scratch)
            for file in Path(scratch).iterdir():
                file.replace(out / file.name)


def draw(folder: Path, figures: Mapping[str, Callable[[], Figure]]) -> None:
    """Save figures by name, as PNG and SVG, in the style of all others."""
    import matplotlib as mpl

    from gipo_cli.compare.style import RC

    with mpl.rc_context(RC):
        for name, make in figures.items():
            figure = make()
            figure.savefig(folder / f"{name}.png", dpi=120)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})

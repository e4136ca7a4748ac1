"""Folders of results, which replace earlier ones as a whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.compare.output import check_output, write_folder
from gipo_cli.runs.layout import RunDir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_free(out: Path, record: str, what: str) -> None:
    """Refuse an output folder with something in it, unless ``record`` shows an earlier ``what``.

    Raises: UserError.
    """
    # The folder of a run may hold a file of that name too.
    check_output(out, what, lambda folder: (folder / record).is_file() and not RunDir(folder).exists())


def replace(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a result's files; others that are there stay.

    Raises: UserError if the disk refuses.
    """
    write_folder(out, files, lambda name: False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def drawn(figures: Mapping[str, Callable[[], Figure]]) -> dict[str, bytes]:
    """Figures by name as PNG and SVG files, in the style of all others."""
    import matplotlib as mpl

    from gipo_cli.compare.style import RC

    files = {}
    with mpl.rc_context(RC):
        for name, make in figures.items():
            figure = make()
            for kind in ("png", "svg"):
                buffer = io.BytesIO()
                dated = {"Date": None} if kind == "svg" else None
                figure.savefig(buffer, format=kind, dpi=120, metadata=dated)
                files[f"{name}.{kind}"] = buffer.getvalue()
    return files

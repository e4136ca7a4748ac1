"""``python -m gipo_cli``: the ``gipo`` command, and the door by which this package's own processes start."""

from __future__ import annotations

import sys

from gipo_cli.children import HIDDEN, end_with, protect

# Not from typing: a file of that name in the current directory would be imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def child(role: str, arguments: list[str]) -> NoReturn:
    """Play the part of a child process (see ``gipo_cli.children``)."""
    if role == "watchdog":
        from gipo_cli.runs import watchdog

        watchdog.main(arguments)
        sys.exit()
    if role == "sweep-worker":
        from gipo_cli.commands import sweep_worker

        sys.exit(sweep_worker.main(arguments))
    if role == "actor":
        # Before what is imported for seconds.
        end_with(int(arguments[-1]))
        from gipo_cli.actors import processes

        processes.main(arguments)
        sys.exit()
    if role == "render-probe":
        from gipo_cli.commands import renderer

        renderer.probe()
        sys.exit()
    sys.exit(f"error: there is no child process {role!r}")


if __name__ == "__main__":
    protect()
    if sys.argv[1:2] == [HIDDEN]:
        child(sys.argv[2], sys.argv[3:])
    from gipo_cli.commands.app import main

    main()

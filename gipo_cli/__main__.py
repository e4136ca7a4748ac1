"""``python -m gipo_cli`` is the ``gipo`` command."""

from gipo_cli.commands.app import main

if __name__ == "__main__":
    main()

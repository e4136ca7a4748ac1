"""What the pages tell a reader to type."""

import re
import shlex
from pathlib import Path

from typer.main import get_command

from gipo_cli.commands.app import app

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`(gipo [a-z-]+ [^`]+)`")
_FILE = re.compile(r"(?:# @package _global_\n)?# (\S+\.(?:py|yaml))\n")


def blocks(page, *languages):
    """Texts of a page's fenced blocks in those languages."""
    found = _FENCED.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def without_blocks(page):
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def lines(text):
    """The commands of a shell block, without comments and with continued lines joined."""
    joined = text.replace("\\\n", " ").splitlines()
    return [line for line in (shlex.join(shlex.split(raw, comments=True)) for raw in joined) if line]


def gipo_commands(page):
    """Every whole `gipo` command of a page, in a block or in running text, as words."""
    fenced = [line for text in blocks(page, "bash", "") for line in lines(text) if line.startswith("gipo ")]
    rest = without_blocks(page)
    indented = [
        raw
        for text in _INDENTED.findall(rest)
        for raw in text.replace("\\\n", " ").splitlines()
        if raw.strip()
    ]
    shown = [raw.strip() for raw in indented if raw.strip().startswith("gipo ")]
    found = [*fenced, *shown, *_INLINE.findall(rest)]
    # An ellipsis or a choice stands for something, so that is no command yet; N stands for a number.
    whole = [one for one in found if "..." not in one and "|" not in one]
    return [["2" if word == "N" else word for word in shlex.split(one, comments=True)[1:]] for one in whole]


def parse(words):
    """The command line's own reading of words, without doing anything; an error if they are wrong."""
    group = get_command(app)
    context = group.make_context("gipo", list(words))
    _, command, rest = group.resolve_command(context, list(words))
    if hasattr(command, "commands"):
        _, command, rest = command.resolve_command(context, rest)
    return command.make_context(command.name, rest, parent=context).params


def files(folder):
    """Write the files that pages show, each of which names itself at its head."""
    for page in PAGES:
        for text in blocks(page, "python", "yaml"):
            if named := _FILE.match(text):
                target = folder / named[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")


def snippets(page):
    """The Python of a page that is no file, in order."""
    return [text for text in blocks(page, "python") if not _FILE.match(text)]

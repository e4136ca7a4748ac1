"""The documentation agrees with the code and with itself."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from gipo_cli.cli import app
from gipo_cli.config.compose import compose
from gipo_cli.sweep.plan import plan

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

BLOCK = re.compile(r"^```(?:bash)?\n(.*?)^```|((?:^ {4}.*\n)+)", re.DOTALL | re.MULTILINE)


def commands(page):
    """The `gipo` commands of a page's fenced and indented blocks, without those that hold a placeholder."""
    text = re.sub(
        r"^```(?!bash\n|\n)\w+\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M
    )
    lines = "\n".join(fenced or indented for fenced, indented in BLOCK.findall(text))
    words = [
        shlex.split(line, comments=True)
        for line in lines.replace("\\\n", " ").splitlines()
        if "gipo " in line
    ]
    return [line[1:] for line in words if line[:1] == ["gipo"] and "..." not in line]


COMMANDS = [(page, line) for page in PAGES for line in commands(page)]


def anchors(page):
    """GitHub's names of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[" ".join(line)[:60] for _, line in COMMANDS])
def test_commands_parse_and_compose(page, words):
    group = get_command(app)
    context = group.make_context("gipo", list(words))
    _, command, rest = group.resolve_command(context, words)
    if hasattr(command, "commands"):
        _, command, rest = command.resolve_command(context, rest)
    given = command.make_context(command.name, rest, parent=context).params
    # Users' own modules and folders are run by the pages' own tests.
    lines = [line for line in given.get("overrides") or [] if not line.startswith("env.imports")]
    if words[0] == "train" and not given["config_dir"] and not given["resume"]:
        compose(lines)
    if words[0] == "sweep" and lines:
        assert plan(lines).runs


def test_commands_are_found():
    assert len(COMMANDS) >= 10


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [link.partition("#")[0] for link in LINK.findall(text) if "://" not in link]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing
    for target, _, anchor in (link.partition("#") for link in LINK.findall(text) if "://" not in link):
        assert not anchor or anchor in anchors((page.parent / target) if target else page), anchor


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / link).resolve() for link in links if link and "://" not in link]
    assert set(PAGES) <= seen

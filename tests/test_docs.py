"""The documentation agrees with the code and with itself."""

import ast
import re
import subprocess
import sys
from functools import lru_cache

import pytest
from doc_blocks import PAGES, ROOT, files, gipo_commands, parse, snippets, without_blocks
from warm import finish

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.settings.compose import compose
from gipo_cli.sweep.plan import plan

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = sorted({(page, tuple(words)) for page in PAGES for words in gipo_commands(page)})
# Snippets are run with these instead, to take seconds.
SMALLER = {"20_000": "512", "step_000000015000": "step_000000000400"}


def anchors(page):
    """GitHub's names of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", without_blocks(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[" ".join(line)[:60] for _, line in COMMANDS])
def test_commands_parse_and_compose(page, words):
    given = parse(words)
    # Users' own modules and folders: tests/test_readme.py runs such commands.
    lines = [line for line in given.get("overrides") or [] if not line.startswith("env.imports")]
    if words[0] == "train" and not given["config_dir"] and not given["resume"]:
        compose(lines)
    if words[0] == "sweep" and lines:
        assert runs_of(tuple(lines))


@lru_cache
def runs_of(lines):
    return plan(lines).runs


def test_commands_are_found():
    assert len(COMMANDS) >= 40


def test_python_of_the_pages_runs(tmp_path):
    """Each page's snippets in order and in one namespace, beside the files that pages show and a real run."""
    files(tmp_path)
    tiny = ["total_steps=400", "eval.episodes=1", "--name", "default", "--quiet"]
    assert finish(["train", *tiny], cwd=tmp_path).returncode == 0
    pages = {str(page): "\n".join(snippets(page)) for page in PAGES if snippets(page)}
    assert len(pages) >= 4
    for full, small in SMALLER.items():
        assert any(full in code for code in pages.values()), full
        pages = {page: code.replace(full, small) for page, code in pages.items()}
    driver = (
        "import sys\nfor page, code in eval(sys.argv[1]).items():\n    exec(compile(code, page, 'exec'), {})"
    )
    done = subprocess.run(
        [sys.executable, "-c", driver, repr(pages)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_messages_in_troubleshooting_are_those_of_the_program():
    """What stands between the dots and capitals of a quoted message is in some string of the code."""
    strings = []
    for source in (ROOT / "gipo_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                strings.append(
                    "".join(
                        getattr(part, "value", "\0") if isinstance(part, ast.Constant) else "\0"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.append(node.value)
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(quoted) >= 15
    unknown = []
    for message in quoted:
        pattern = ".*?".join(re.escape(part) for part in re.split(r"'?\.\.\.'?|\b[A-Z]+\b", message))
        if not any(re.search(pattern, one, flags=re.DOTALL) for one in strings):
            unknown.append(message)
    assert unknown == []


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = without_blocks(page)
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


def test_the_tests_that_reliability_names_are_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    assert len(named) > 15
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named <= set(re.findall(r"def (test_\w+)\(", sources))


def test_every_page_is_in_the_site():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in PAGES if ROOT / "docs" in path.parents]
    assert [page for page in pages if f" {page}\n" not in text and "/example/" not in page] == []


def test_every_objective_has_a_page_and_a_curve():
    """Pictures are those of docs/pictures.py."""
    pages = ROOT / "docs" / "objectives"
    shipped = {name for name, kind in OBJECTIVES.items() if kind.__module__.startswith("gipo_cli.")}
    assert {path.stem for path in pages.glob("*.md")} == {"index", *shipped}
    for name in shipped:
        text = (pages / f"{name}.md").read_text(encoding="utf-8")
        assert f"](../images/objectives/{name}.png)" in text
        assert f"(../configuration.md#{name})" in text
        assert f"]({name}.md)" in (pages / "index.md").read_text(encoding="utf-8")


def test_every_environment_has_a_picture():
    text = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    names = set(ENVIRONMENTS) - {"gymnasium"}
    assert {name for name in names if f"(images/environments/{name}.jpg)" not in text} == set()


def test_the_table_of_results_is_that_of_the_studies():
    """Every interval of the summary stands in the page that its row names."""
    folder = ROOT / "docs" / "results"
    checked = 0
    for line in (folder / "index.md").read_text(encoding="utf-8").splitlines():
        if found := re.search(r"\(([a-z_]+\.md)\)", line):
            page = (folder / found[1]).read_text(encoding="utf-8")
        for cell in re.findall(r"-?[\d.]+ \[[^\]]+\]", line) if line.startswith("|") else ():
            assert cell in page, cell
            checked += 1
    assert checked == 52

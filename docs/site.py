"""What the documentation's site does differently from the same files read in the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")
FORMULA = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
EXCLUDED = ("results/example", "results/data", "generate.py", "pictures.py", "results/study.py")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add CONTRIBUTING.md as a page."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Draw formulas without a script, and turn links to files that are not part of the site into text."""

    def kept(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[2]))
        if target == "../CONTRIBUTING.md":
            return f"[{found[1]}](contributing.md{found[3] or ''})"
        return found[1] if target.startswith(("..", *EXCLUDED)) else found[0]

    def drawn(found: re.Match[str]) -> str:
        return f'<div class="formula">{convert(found[1].strip(), display="block")}</div>'

    return FORMULA.sub(drawn, LINK.sub(kept, markdown))

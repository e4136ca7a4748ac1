"""What the documentation's site does differently from the same files read in the repository."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")
EXCLUDED = ("results/example", "results/data", "generate.py", "results/study.py")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository that are not part of the site into text."""

    def kept(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[2]))
        return found[1] if target.startswith(("..", *EXCLUDED)) else found[0]

    return LINK.sub(kept, markdown)

"""What makes a browser ask another machine when a page is opened."""

from __future__ import annotations

import re

ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|(?:@import\s+|url\()[\"']?(?:https?:)?//[^;)]*"
)


def asked(text: str) -> str | None:
    """The first script, style, font or picture of a page or style sheet that lies on another machine, or none."""
    found = ELSEWHERE.search(text)
    return found and found[0]

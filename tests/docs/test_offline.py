"""What a page would ask another machine for is seen, and what it has with it or merely links to is not."""

from __future__ import annotations

import pytest

from docs.offline import asked


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example/mathjax.js"></script>',
        "<link rel='stylesheet' href='//fonts.example/css'>",
        '<img alt="" src="http://example/a.png">',
        "@import 'https://fonts.example/css';",
        "src: url(https://fonts.example/a.woff2)",
    ],
)
def test_a_thing_from_elsewhere_is_seen(text: str) -> None:
    assert asked(f"<p>before</p>{text}") is not None


@pytest.mark.parametrize(
    "text",
    [
        '<script src="_static/a.js"></script>',
        '<link rel="stylesheet" href="../_static/a.css">',
        '<a href="https://arxiv.org/abs/1">a link</a>',
        "src: url(\"data:image/svg+xml;charset=utf-8,<svg xmlns='http://www.w3.org/2000/svg'>\")",
    ],
)
def test_what_comes_with_the_site_is_not(text: str) -> None:
    assert asked(text) is None

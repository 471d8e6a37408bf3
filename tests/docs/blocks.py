"""Runs the code blocks of a page of the documentation, in order, in a temporary folder.

A fenced block is a file where its first line is a comment that names one (or, for JSON, where the name follows the
language), a command where it is ``bash``, and Python to run otherwise. ``text`` and indented blocks are not run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

from lit_curriculum.cli import main

ROOT = Path(__file__).parents[2]
NOT_RUN = ("text", "{toctree}")
FILE_NAME = re.compile(r"# ([\w./]+\.\w+)$")
FOR = re.compile(r"for (\w+) in ([^;]+); do\n(.*?)\ndone", re.DOTALL)
ELSEWHERE = ("pip install ", "tensorboard ", "git clone ", "cd ", "make ")
"""Beginnings of commands that a reader gives once, or that do not end."""


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    name: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for token in MarkdownIt().parse(markdown):
        if token.type == "fence":
            language, _, name = token.info.partition(" ")
            named = FILE_NAME.match(token.content.partition("\n")[0])
            found.append(Block(language, named[1] if named else name.strip(), token.content))
    return found


def commands(script: str) -> list[str]:
    """The commands of a block: continued lines joined, loops over words unrolled."""
    script = script.replace("\\\n", " ")
    unrolled = FOR.sub(lambda loop: "\n".join(loop[3].replace(f"${loop[1]}", word) for word in loop[2].split()), script)
    return [line.strip() for line in unrolled.splitlines() if line.strip() and not line.startswith("#")]


def run_command(command: str, place: Path) -> None:
    """Run a command of the package in this process, and ``python -m`` in another one, with ``place`` on the path.

    Names of files with a star are those that there are.
    """
    if command.startswith(ELSEWHERE):
        return
    if command.startswith("python -m "):
        paths = os.pathsep.join([str(place), str(ROOT)])
        python = [sys.executable, *shlex.split(command)[1:]]
        subprocess.run(python, cwd=place, env={**os.environ, "PYTHONPATH": paths}, check=True)
        return
    words = [
        w for word in shlex.split(command, comments=True) for w in (_matching(word, place) if "*" in word else [word])
    ]
    assert words[0] == "lit-curriculum", f"nothing runs the command {command!r}"
    assert main(words[1:]) == 0, command


def run_page(markdown: str, place: Path) -> int:
    """Run every block of a page in ``place``, the working directory; how many there were."""
    names: dict[str, Any] = {}
    found = [block for block in blocks(markdown) if block.language not in NOT_RUN]
    for block in found:
        if block.name:
            (place / block.name).parent.mkdir(parents=True, exist_ok=True)
            (place / block.name).write_text(block.text)
        elif block.language == "bash":
            for command in commands(block.text):
                run_command(command, place)
        else:
            assert block.language == "python", f"a block of {block.language!r} without the name of a file"
            exec(compile(block.text, "page", "exec"), names)
    return len(found)


def _matching(pattern: str, place: Path) -> list[str]:
    found = sorted(str(path.relative_to(place)) for path in place.glob(pattern))
    assert found, f"no file is called {pattern!r}"
    return found

"""The code on the pages of docs/guides is run unchanged, with a tiny model in place of SmolLM2."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.commands.tiny_commands import CONFIGS, make_model
from tests.docs.blocks import Block, blocks, commands, run_page

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
QUIET = {"trainer": {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the configurations, as in a copy of the repository; what pages import is forgotten."""
    shutil.copytree(CONFIGS, tmp_path / "configs")
    model = make_model(tmp_path / "model", context_length=512)
    path = tmp_path / "configs" / "model" / "smollm2.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"]["source"] = str(model)
    path.write_text(json.dumps(config | QUIET))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


# Numbers of a page that the test makes smaller.
SMALLER = {"0 1 2 3 4": "0", "num_train: 2000": "num_train: 200", "max_epochs: 6": "max_epochs: 2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    ["your_metric", "your_policy", "your_observer", "your_experiment", "your_data", "your_module", "afternoon"],
)
def test_the_code_of_a_page_runs(page: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (GUIDES / f"{page}.md").read_text()
    for number, less in SMALLER.items():
        text = text.replace(number, less)
    assert run_page(text, place) >= 3


def test_blocks_have_a_language_and_the_name_of_their_file() -> None:
    page = "```python\n# a.py\nx = 1\n```\n\n    no\n\n```json b.jsonl\n{}\n```\n```bash\nlit-curriculum plan\n```\n"
    found = blocks(page)
    assert found[:2] == [Block("python", "a.py", "# a.py\nx = 1\n"), Block("json", "b.jsonl", "{}\n")]
    assert found[2].name == ""


def test_commands_are_joined_and_loops_unrolled() -> None:
    script = "a --x \\\n  1\nfor s in 0 1; do\n  b --s $s\n  c\ndone\n# a comment\n"
    assert commands(script) == ["a --x    1", "b --s 0", "c", "b --s 1", "c"]


def test_a_command_that_nothing_runs_and_a_block_without_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nothing runs the command 'rm all'"):
        run_page("```bash\nrm all\n```\n", tmp_path)
    with pytest.raises(AssertionError, match="without the name of a file"):
        run_page("```yaml\na: 1\n```\n", tmp_path)

"""What a command imports, seen from outside: commands that need no model start without Lightning and transformers."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lit_curriculum
from lit_curriculum import CurriculumCallback
from lit_curriculum.cli import main
from lit_curriculum.commands.select import make_planner
from tests.commands.tiny_commands import arguments, make_place, score

_PROBE = """
import json, sys
from lit_curriculum.cli import main
status = main(sys.argv[2:])
heavy = ("torch", "lightning", "transformers", "sklearn", "matplotlib", "jsonargparse")
open(sys.argv[1], "w").write(json.dumps([status, [name for name in heavy if name in sys.modules]]))
"""


def imports_of(tmp_path: Path, *args: str) -> tuple[int, set[str]]:
    """Exit status of a command in a separate process, and which heavy packages it has imported."""
    out = tmp_path / "imports.json"
    subprocess.run([sys.executable, "-c", _PROBE, str(out), *args], check=True, capture_output=True, timeout=240)
    status, found = json.loads(out.read_text())
    return status, set(found)


@pytest.mark.parametrize(("args", "status"), [(["--help"], 0), ([], 0), (["--version"], 0), (["fitt"], 2)])
def test_help_version_and_a_wrong_command_import_nothing_heavy(tmp_path: Path, args: list[str], status: int) -> None:
    assert imports_of(tmp_path, *args) == (status, set())


def test_commands_on_files_import_neither_lightning_nor_transformers(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    score(place, "out")
    run = ["--trainer.max_epochs=1", f"--trainer.logger.init_args.save_dir={place}"]
    assert main(["fit", *arguments(place, *run)]) == 0
    folder, scores = str(place / "version_0"), str(place / "out" / "scores.parquet")
    assert imports_of(tmp_path, "explain", folder, "--stage", "0") == (0, set())
    assert imports_of(tmp_path, "report", folder, "--out", str(place / "page")) == (0, {"matplotlib"})
    merge = imports_of(tmp_path, "merge", scores, scores, "--out", str(place / "merged.parquet"))
    select = imports_of(tmp_path, "select", "--scores", scores, "--out", str(place / "s.jsonl"), *arguments(place))
    for status, found in (merge, select):
        assert status == 0
        assert not found & {"lightning", "transformers", "sklearn", "matplotlib"}


def test_select_chooses_the_same_with_and_without_lightning(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    score(place, "out")
    # A longer path of the same class is none that select knows without Lightning.
    for name, extra in (("light", []), ("full", ["--model=lit_curriculum.models.causal_lm.CausalLMModule"])):
        own = ["--scores", str(place / "out" / "scores.parquet"), "--out", str(place / name)]
        assert main(["select", *own, *arguments(place, "--seed_everything=3", *extra)]) == 0
    assert (place / "light").read_bytes() == (place / "full").read_bytes()


def test_select_knows_all_options_of_a_curriculum() -> None:
    ours, theirs = (inspect.signature(made).parameters for made in (make_planner, CurriculumCallback))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_policies_are_imported_without_lightning_and_scikit_learn() -> None:
    policies = ", ".join(f"package.{name}" for name in lit_curriculum.__all__ if name.endswith("Policy"))
    heavy = "{'lightning', 'transformers', 'sklearn'}"
    code = f"import sys, lit_curriculum as package; {policies}; sys.exit(' '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr.strip() == ""

"""The command line: a run on a file given by path, and one clear sentence for everything that can be wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lit_curriculum.cli import main
from tests.commands.tiny_commands import make_model

CONFIGS = Path(__file__).parents[1] / "configs"
README = (CONFIGS.parent / "README.md").read_text()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a tiny random model and its tokenizer."""
    return make_model(tmp_path / "model", context_length=64)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def rows(num: int) -> list[dict[str, str]]:
    return [{"instruction": f"say {i}", "input": "", "output": "blue fish " * (1 + i % 3)} for i in range(num)]


def fit(source: Path, data: Path, *extra: str, method: str = "iterit") -> int:
    layers = ["base.yaml", f"curriculum/{method}.yaml"]
    args = [a for layer in layers for a in ("--config", str(CONFIGS / layer))]
    out = source.parent / "runs"
    args += [f"--model.source={source}", f"--data.path={data}"]
    args += [f"--trainer.default_root_dir={out}", f"--trainer.logger.init_args.save_dir={out}"]
    args += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    args += [f"--data.cache_dir={source.parent / 'cache'}", "--data.batch_size=4", *extra]
    return main(["fit", *args])


def test_iterit_trains_on_a_file_given_by_path_and_exports(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(source.parent / "data.jsonl", rows(60))
    assert fit(source, data, "--curriculum.policy.fraction=0.2") == 0
    run = source.parent / "runs" / "version_0"
    assert (run / "checkpoints" / "last.ckpt").exists()
    saved = (run / "config.yaml").read_text()
    assert "fraction: 0.2" in saved
    assert main(["export", f"--run={run}", f"--out={source.parent / 'exported'}"]) == 0
    exported = AutoModelForCausalLM.from_pretrained(source.parent / "exported")
    start = AutoModelForCausalLM.from_pretrained(source)
    assert not torch.equal(exported.lm_head.weight, start.lm_head.weight)
    again = ["fit", "--config", str(run / "config.yaml"), "--trainer.max_epochs=1"]
    assert main(again) == 0, "a saved configuration runs again"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--curriculum.policy.fractoin=0.1"], "fractoin"),
        (["--curriculum.policy.fraction=0"], "fraction must be in (0, 1], got 0"),
        (["--curriculum.policy.fraction=1.5"], "fraction must be in (0, 1], got 1.5"),
        (["--model.packing=true", "--model.torch_compile=true"], "exclude each other"),
        (["--data.batch_size=0"], "data.batch_size"),
        (["--data.max_length=8"], "data.jsonl:1"),
        (["--trainer.limit_train_batches=2"], "trainer.limit_train_batches=2 would cut"),
        (["--ckpt_path=nowhere.ckpt"], "nowhere.ckpt"),
    ],
)
def test_wrong_options_stop_early_with_one_sentence(
    source: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    data = write(source.parent / "data.jsonl", rows(60))
    assert refusal(capsys, source, data, *extra).count(message) >= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["{not json", *rows(3)], "data.jsonl:1"),
        ([{"instruction": "no output"}, *rows(3)], "data.jsonl:1"),
        ([{"instruction": "empty", "output": ""}], "data.path"),
        ([], "data.path"),
    ],
)
def test_wrong_data_stop_early_with_one_sentence(
    source: Path, capsys: pytest.CaptureFixture[str], content: list[Any], message: str
) -> None:
    data = write(source.parent / "data.jsonl", content)
    assert message in refusal(capsys, source, data)


def test_a_missing_file_is_named(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.jsonl" in refusal(capsys, source, source.parent / "missing.jsonl")


def test_weights_of_nan_are_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        model.lm_head.weight[3, 3] = torch.nan
    model.save_pretrained(source)
    data = write(source.parent / "data.jsonl", rows(60))
    assert "NaN or infinite" in refusal(capsys, source, data)


def refusal(capsys: pytest.CaptureFixture[str], source: Path, data: Path, *extra: str) -> str:
    """What is printed on standard error for a run that must not start; no traceback, no checkpoint."""
    capsys.readouterr()
    assert fit(source, data, *extra) == 2
    assert not list((source.parent / "runs").rglob("*.ckpt"))
    printed = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(printed) == 1
    return printed[0]


def readme_block(language: str, first_line: str) -> str:
    """The code block of the README that starts with ``first_line``."""
    return README.split(f"```{language}\n{first_line}\n")[1].split("```")[0]


def test_the_metric_and_the_policy_of_the_readme_run_from_outside_the_package(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my_curriculum.py").write_text(readme_block("python", "# my_curriculum.py"))
    (tmp_path / "mine.yaml").write_text(readme_block("yaml", "# mine.yaml, one more --config").replace("500", "8"))
    monkeypatch.syspath_prepend(str(tmp_path))
    data = write(source.parent / "data.jsonl", rows(20))
    assert fit(source, data, "--config", str(tmp_path / "mine.yaml"), "--trainer.max_epochs=2") == 0
    last = source.parent / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True, map_location="cpu")["callbacks"]["CurriculumCallback"]
    assert set(state["sampler"]["indices"].tolist()) == {0, 3, 6, 9, 12, 15, 18, 1}
    sys.modules.pop("my_curriculum", None)


def test_a_run_is_continued_by_the_name_of_its_folder(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(source.parent / "data.jsonl", rows(60))
    options = ("--curriculum.policy.fraction=0.2", "--trainer.max_epochs=4")
    assert fit(source, data, *options, "--trainer.max_epochs=2") == 0
    run = source.parent / "runs" / "version_0"
    capsys.readouterr()
    assert fit(source, data, *options, f"--ckpt_path={source.parent / 'cache'}") == 2
    assert "no checkpoint in" in capsys.readouterr().err
    assert fit(source, data, *options, f"--ckpt_path={run}") == 0
    last = sorted((source.parent / "runs").glob("version_*"))[-1]
    stages = [p.name for p in sorted((last / "selection").glob("*.jsonl"))]
    assert stages[-1] == "stage-3.jsonl"
    assert "stage-0.jsonl" not in stages


@pytest.mark.parametrize(
    ("option", "place", "nearest"),
    [
        ("--curriculum.policy.fracton=0.2", "curriculum.policy", "fraction"),
        ("--curriculum.polcy=x", "--curriculum.polcy", "--curriculum.policy"),
        ("--curriculm.policy=x", "--curriculm.policy", "--curriculum.policy"),
        ("--data.pth=x", "data", "path"),
        ("--model.sorce=x", "model", "source"),
        ("--model.lora.rnk=3", "model.lora", "rank"),
        ("--model.optimizer.lrr=3", "model.optimizer", "lr"),
        ("--trainer.max_epoch=3", "--trainer.max_epoch", "--trainer.max_epochs"),
        ("--curriculum.policy=lit_curriculum.IterITPolic", "curriculum.policy", "lit_curriculum.IterITPolicy"),
        ("--curriculum.policy=UniformPolic", "curriculum.policy", "lit_curriculum.UniformPolicy"),
        ("--model=lit_curriculum.CausalModule", "model", "lit_curriculum.CausalLMModule"),
        ("--curriculum.metrics={a: {class_path: lit_curriculum.Lenth}}", "curriculum.metrics", "lit_curriculum.Length"),
        ("--trainer.callbacks+=lit_curriculum.LedgerWrter", "trainer.callbacks", "lit_curriculum.LedgerWriter"),
    ],
)
def test_what_does_not_exist_gets_the_nearest_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, place: str, nearest: str
) -> None:
    error = refusal(capsys, tmp_path / "model", tmp_path / "data.jsonl", option)
    assert place in error
    assert f"did you mean {nearest}?" in error


def test_a_wrong_name_in_a_layer_gets_the_nearest_name_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = tmp_path / "mine.yaml"
    for text, nearest in (("trainr: {max_epochs: 3}", "--trainer.max_epochs"), ("data: {pth: x}", "path")):
        layer.write_text(text)
        error = refusal(capsys, tmp_path / "model", tmp_path / "data.jsonl", "--config", str(layer))
        assert f"did you mean {nearest}?" in error


@pytest.mark.parametrize(
    ("args", "nearest"),
    [
        (["fitt"], "fit"),
        (["explan", "runs"], "explain"),
        (["merge", "a", "--out", "b", "--outt", "c"], "--out"),
        (["select", "--out", "x", "--scroes", "y"], "--scores"),
        (["plan", "--simulat", "y"], "--simulate"),
    ],
)
def test_commands_and_their_own_options_get_the_nearest_name(
    capsys: pytest.CaptureFixture[str], args: list[str], nearest: str
) -> None:
    assert main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"did you mean {nearest}?" in line


@pytest.mark.parametrize("option", ["--trainer.max_epochs=a", "--curriculum.policy.fraction=a", "--curriculum.seed=a"])
def test_a_value_of_another_type_is_refused_with_place_and_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    error = refusal(capsys, tmp_path / "model", tmp_path / "data.jsonl", option)
    assert option[2:].partition("=")[0] in error
    assert "got a;" in error


def test_an_error_points_to_a_help_that_has_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refusal(capsys, tmp_path / "model", tmp_path / "data.jsonl", "--curriculum.policy.fracton=0.2")
    command = error.rpartition("lit-curriculum ")[2].removesuffix(" lists its options.").split()
    assert main(command) == 0
    assert "--curriculum.policy.fraction" in capsys.readouterr().out


def test_help_of_fit_lists_the_options_of_the_default_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    printed = capsys.readouterr().out
    for option in ("--data.path ", "--model.source ", "--trainer.max_epochs ", "--curriculum.policy ", "--ckpt_path "):
        assert option in printed
    assert "--optimizer" not in printed
    assert "--lr_scheduler" not in printed


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("fit", "validate", "score", "select", "export"))

"""Plans of what cannot be run here: configurations of papers, and whole runs of the demos, held against the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from lit_curriculum.cli import main
from lit_curriculum.commands.plan import make_plan
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.methods.doit.command import cell_options
from lit_curriculum.methods.doit.study.study import cells, load_study
from lit_curriculum.report.ledger import Ledger
from tests.configs.config_layers import CONFIGS, check_plan, layers
from tests.data.toy_tokenizers import byte_level
from tests.methods.baselines.tiny_scorer import save_scorer
from tests.methods.doit.doit_files import FILES

WEIGHTS = 6_738_415_616  # of LLaMA 7B, by the published shapes


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration of LLaMA 7B, a small tokenizer and no weights; beside it 400 rows as Alpaca's."""
    folder = tmp_path_factory.mktemp("llama")
    LlamaConfig(architectures=["LlamaForCausalLM"], max_position_embeddings=4096).save_pretrained(folder / "model")
    byte_level().save_pretrained(folder / "model")
    rows = [{"instruction": f"Name {k} things that float.", "input": "", "output": "boat " * (1 + k % 9)}
            for k in range(400)]  # fmt: skip
    (folder / "alpaca.json").write_text(json.dumps(rows))
    return folder


def planned(stand_in: Path, method: str, *more: str) -> dict[str, Any]:
    """The plan that the command in the head of ``configs/paper/<method>.yaml`` makes, with small replacements."""
    names = ["base", f"paper/{method}", f"curriculum/{method}"]
    args = [
        "plan", "--out", str(stand_in / "plan.json"), *(f"--config={CONFIGS / name}.yaml" for name in names),
        f"--model.source={stand_in / 'model'}", f"--data.path={stand_in / 'alpaca.json'}",
        f"--data.cache_dir={stand_in / 'cache'}", *more,
    ]  # fmt: skip
    assert main(args) == 0
    found: dict[str, Any] = json.loads((stand_in / "plan.json").read_text())
    assert found["model"]["parameters"] == WEIGHTS
    return found


def test_iterit_at_the_papers_scale(stand_in: Path) -> None:
    found = planned(stand_in, "iterit")
    assert [(s["examples"], s["steps"]) for s in found["stages"]] == [(20, 1)] * 3  # 5 % of 400, 32 rows a step
    assert [s["candidates"] for s in found["stages"]] == [400, 60, 60]
    # bf16-true: weights, gradients and both moments of AdamW in two bytes each.
    assert [found["memory_bytes"][n] // WEIGHTS for n in ("weights", "gradients", "optimizer moments")] == [2, 2, 4]


def test_tapir_at_the_papers_scale(stand_in: Path) -> None:
    found = planned(stand_in, "tapir")
    assert [(s["examples"], s["steps"]) for s in found["stages"]] == [(400, 4)] * 6  # 25 batches, 8 a step
    assert found["steps"] == 24
    assert any("the data grow during the run" in w for w in found["warnings"])


def test_campus_at_the_papers_scale(stand_in: Path) -> None:
    found = planned(stand_in, "campus")
    assert found["examples"] == 1200  # three passes over 400
    assert found["accumulate_grad_batches"] == 16
    assert found["memory_bytes"]["weights"] == 4 * WEIGHTS


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_plan_for_a_machine_with_gpus_is_made_without_one(stand_in: Path) -> None:
    assert planned(stand_in, "tapir", "--trainer.accelerator=gpu", "--trainer.devices=4")["ranks"] == 4


def test_a_cell_of_the_growth_study_is_as_planned(tmp_path: Path) -> None:
    study = load_study(CONFIGS / "growth" / "embedded.yaml")
    small = ["--data.num_train=300", "--data.num_val_per_ability=2", "--trainer.limit_val_batches=0"]
    study = replace(study, args=[*study.args, *small], rungs=(4, 16), updates=9)
    for cell in cells(study)[:2]:
        options = [*cell_options(study, cell), f"--data.cache_dir={tmp_path}", f"--trainer.default_root_dir={tmp_path}"]
        cli = CurriculumCLI(options, run=False)
        plan = make_plan(cli.trainer, cli.model, cli.datamodule)
        cli.trainer.fit(cli.model, cli.datamodule)
        assert plan["steps"] == cli.trainer.global_step == 9
        assert [s["examples"] for s in plan["stages"]] == [len(cli.datamodule.sampler.plan)]
        assert plan["stages"][0]["distinct"] == 3 * cell.rung


@pytest.mark.slow
def test_all_rounds_of_the_tapir_demo_are_as_planned(tmp_path: Path) -> None:
    small = ["--trainer.callbacks.pool_sizes=[50,70,90]", "--data.num_train=50", "--trainer.limit_val_batches=0"]
    plan, ledger = plan_and_run(tmp_path, [*layers("tiny", "abilities", "tapir_demo"), *small])
    check_plan(plan, ledger)
    assert [(s["examples"], s["steps"]) for s in plan["stages"]] == [(50, 2)] * 12


@pytest.mark.filterwarnings("ignore:data.root")
def test_data_of_ones_own_and_a_model_folder_are_as_planned(tmp_path: Path) -> None:
    root = tmp_path / "doit"
    for name, rows in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    own = [f"--model.source={save_scorer(tmp_path / 'model', context=1024)}", f"--data.root={root}"]
    own += ["--data.max_length=1000", "--data.batch_size=2", "--data.template=plain"]
    plan, ledger = plan_and_run(tmp_path, [*layers("smollm2", "doit", "easy_to_hard"), *own])
    check_plan(plan, ledger)
    assert plan["data"]["validation"] > 0


def plan_and_run(folder: Path, args: list[str]) -> tuple[dict[str, Any], Ledger]:
    """The plan of a configuration, and the ledger of its run."""
    own = [
        "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={folder}",
        f"--trainer.logger.init_args.save_dir={folder}", f"--data.cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    cli = CurriculumCLI([*args, *own], run=False)
    plan = make_plan(cli.trainer, cli.model, cli.datamodule)
    cli.trainer.fit(cli.model, cli.datamodule)
    return plan, Ledger(folder / "version_0")

"""Real loggers other than TensorBoard hold what the ledger says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lit_curriculum import CurriculumMonitor, LedgerWriter
from lit_curriculum.report.ledger import Ledger
from lit_curriculum.types import Example
from tests.callbacks.ledger_runs import curriculum, ordered
from tests.loop.loss_runs import LossModule
from tests.toy import ToyData, toy_trainer


def run(folder: Path, examples: list[Example], logger: Logger) -> Ledger:
    callbacks = [CurriculumMonitor(), LedgerWriter(str(folder)), curriculum(ordered())]
    trainer = toy_trainer(folder, 3, callbacks=callbacks, logger=[logger], log_every_n_steps=1)
    trainer.fit(LossModule(), ToyData(examples))
    return Ledger(folder)


def test_a_csv_file_has_the_values_of_the_ledger(tmp_path: Path, toy_examples: list[Example]) -> None:
    ledger = run(tmp_path, toy_examples, CSVLogger(tmp_path, name="csv"))
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    planned = [r for r in rows if r["curriculum/selected"]]
    assert [int(r["step"]) for r in planned] == [ledger.planned_info(s)["step"] for s in ledger.stages]
    for row, stage in zip(planned, ledger.stages, strict=True):
        info, scores = ledger.planned_info(stage), ledger.state(stage).scores["nll"]
        assert float(row["curriculum/selected"]) == info["selected"]
        assert float(row["curriculum/scored_tokens"]) == info["scored_tokens"]
        assert float(row["drift/nll/median"]) == pytest.approx(np.nanmedian(scores))
    options = (tmp_path / "csv" / "version_0" / "hparams.yaml").read_text().splitlines()
    assert {"curriculum.policy: OrderedPolicy", "curriculum.policy.fraction: 0.3", "data.examples: 40"} <= set(options)


@pytest.mark.slow
def test_weights_and_biases_gets_all_of_it(
    tmp_path: Path, toy_examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True, project="curricula")
    ledger = run(tmp_path, toy_examples, logger)
    last, summary = ledger.state(2), logger.experiment.summary
    assert summary["curriculum/selected"] == ledger.planned_info(2)["selected"]
    assert summary["drift/nll/median"] == pytest.approx(np.median(last.scores["nll"]))
    assert logger.experiment.config["curriculum.policy"] == "OrderedPolicy"
    histogram = summary["difficulty/nll"]
    assert sum(histogram["values"]) == np.isfinite(last.scores["nll"]).sum()
    assert histogram["bins"][-1] == pytest.approx(last.scores["nll"].max())
    logger.experiment.finish()
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    assert len(list(media.glob("images/figures/drift/nll_*.png"))) == 1
    tables = [json.loads(f.read_text()) for f in media.glob("table/examples/hardest_*.json")]
    assert len(tables) == 3
    assert f"toy-{np.argmax(last.scores['nll'])}" in [row[0] for table in tables for row in table["data"]]

"""The monitor reports the scores of the whole validation data, ability by ability, and remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lit_curriculum.callbacks.ability_monitor import AbilityMonitor, Outcomes
from lit_curriculum.types import Batch, Example
from tests.callbacks.scoring_toys import ScoringModule, ValidatedData
from tests.conftest import ListStore, make_example
from tests.toy import ToyData, toy_trainer


def _examples() -> list[Example]:
    rows = [("aaa", "as"), ("bb", "bs"), ("aaaa", "as"), ("b", "bs"), ("c", None)] * 7
    examples = [make_example(i, text * (1 + i % 3), ability=ability) for i, (text, ability) in enumerate(rows)]
    return [replace(e, meta={"chance": 0.25} if e.ability == "as" else {}) for e in examples]


def _reference_results(module: ScoringModule, store: ListStore) -> dict[str, dict[str, float]]:
    found: dict[str, list[tuple[bool, float, int]]] = {}
    for e in store.examples:
        view = store.encoded(e.index, "conditioned")
        logs = module.table.detach().log_softmax(-1)
        places = [i for i in range(1, len(view.input_ids)) if view.scored[i]]
        nll = sum(-float(logs[view.input_ids[i - 1], view.input_ids[i]]) for i in places)
        exact = all(int(logs[view.input_ids[i - 1]].argmax()) == view.input_ids[i] for i in places)
        found.setdefault(e.ability or "other", []).append((exact, nll, len(places)))
    return {
        name: {
            "accuracy": sum(x for x, _, _ in rows) / len(rows),
            "nll": sum(n for _, n, _ in rows) / sum(k for _, _, k in rows),
        }
        for name, rows in found.items()
    }


def _fit(tmp_path: Path, monitor: AbilityMonitor, epochs: int = 2, **options: Any) -> tuple[Trainer, ScoringModule]:
    module = ScoringModule()
    trainer = toy_trainer(tmp_path, epochs, callbacks=[monitor], limit_val_batches=1.0, **options)
    trainer.fit(module, ValidatedData(_examples()))
    return trainer, module


def test_scores_of_the_whole_data_are_logged(tmp_path: Path) -> None:
    monitor = AbilityMonitor()
    trainer, module = _fit(tmp_path, monitor)
    expected = _reference_results(module, ListStore(_examples()))
    assert set(monitor.results) == {"as", "bs", "other"}
    for name, values in expected.items():
        assert monitor.results[name]["accuracy"] == values["accuracy"]
        assert monitor.results[name]["nll"] == pytest.approx(values["nll"], rel=1e-5)
        assert float(trainer.callback_metrics[f"val/accuracy/{name}"]) == pytest.approx(values["accuracy"])
        assert float(trainer.callback_metrics[f"val/nll/{name}"]) == pytest.approx(values["nll"], rel=1e-5)
    assert 0 < sum(v["accuracy"] for v in expected.values()) < 3
    mean = sum(v["accuracy"] for v in expected.values()) / 3
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(mean)
    assert monitor.results["as"]["chance"] == 0.25
    assert monitor.results["bs"]["chance"] != monitor.results["bs"]["chance"]
    assert [h["epoch"] for h in monitor.history] == [0, 1]
    assert monitor.history[-1]["results"] == monitor.results


def test_the_sanity_check_is_left_out(tmp_path: Path) -> None:
    monitor = AbilityMonitor()
    _fit(tmp_path, monitor, epochs=1, num_sanity_val_steps=2)
    assert len(monitor.history) == 1
    assert sum(r["num_examples"] for r in monitor.results.values()) == 35


def test_validating_before_training_gives_the_first_entry(tmp_path: Path) -> None:
    monitor, module, data = AbilityMonitor(), ScoringModule(), ValidatedData(_examples())
    trainer = toy_trainer(tmp_path, 1, callbacks=[monitor], limit_val_batches=1.0)
    trainer.validate(module, data, verbose=False)
    before = monitor.results
    trainer.fit(module, data)
    assert [h["step"] for h in monitor.history] == [0, trainer.global_step]
    assert monitor.history[0]["results"] == before
    assert monitor.results["as"]["nll"] < before["as"]["nll"]


def test_the_history_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="val/accuracy", mode="max", filename="best")
    monitor = AbilityMonitor()
    module = ScoringModule()
    trainer = toy_trainer(
        tmp_path, 2, callbacks=[monitor, checkpoint], limit_val_batches=1.0, enable_checkpointing=True
    )
    trainer.fit(module, ValidatedData(_examples()))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    resumed = AbilityMonitor()
    again = toy_trainer(tmp_path, 3, callbacks=[resumed], limit_val_batches=1.0)
    again.fit(ScoringModule(), ValidatedData(_examples()), ckpt_path=str(tmp_path / "end.ckpt"), weights_only=True)
    assert [h["epoch"] for h in resumed.history] == [0, 1, 2]
    assert [_without_nan(h) for h in resumed.history[:2]] == [_without_nan(h) for h in monitor.history]
    fresh = AbilityMonitor()
    fresh.load_state_dict(AbilityMonitor().state_dict())
    assert fresh.results == {}


def _without_nan(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {a: {k: v for k, v in r.items() if v == v} for a, r in entry["results"].items()}
    return {**entry, "results": kept}


def test_data_without_validation_examples_are_refused(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, 1, callbacks=[AbilityMonitor()], limit_val_batches=1.0)
    with pytest.raises(MisconfigurationException, match=r"val_store holds .*, but ToyData has none"):
        trainer.fit(ScoringModule(), ToyData(_examples()))


class Silent(ScoringModule):
    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | Mapping[str, Any] | None:
        return None


class Terse(ScoringModule):
    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | Mapping[str, Any] | None:
        return {"index": batch.index}


@pytest.mark.parametrize("module", [Silent, Terse])
def test_a_module_that_returns_no_sums_is_refused(tmp_path: Path, module: type[LightningModule]) -> None:
    trainer = toy_trainer(tmp_path, 1, callbacks=[AbilityMonitor()], limit_val_batches=1.0)
    with pytest.raises(MisconfigurationException, match=f"index, nll_sum, num_scored, exact, which {module.__name__}"):
        trainer.fit(module(), ValidatedData(_examples()))


def test_an_item_that_a_rank_repeats_counts_once() -> None:
    store = ListStore(_examples())
    rows = np.array([[3, 0, 3, 4], [0.3, 0.0, 0.3, 0.1], [1, 1, 1, 2], [1, 0, 1, 1]], dtype=np.float64)
    found = Outcomes.from_rows(rows, store)
    assert found.index.tolist() == [0, 3, 4]
    assert found.abilities.tolist() == ["as", "bs", "other"]
    assert (found.nll_sum.tolist(), found.right.tolist()) == ([0.0, 0.3, 0.1], [False, True, True])
    assert found.chance[0] == 0.25
    some = found.only(np.array([0, 4]))
    assert (some.index.tolist(), some.num_scored.tolist()) == ([0, 4], [1.0, 2.0])
    assert found.scores()["bs"]["accuracy"] == 1.0

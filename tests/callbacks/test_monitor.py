"""The event files of a run hold what its ledger says; other loggers get what they can show."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from lit_curriculum import CurriculumMonitor, ExceptionCheckpoint, LedgerWriter
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.report.ledger import Ledger, StageState
from lit_curriculum.types import Example
from tests.callbacks.ledger_runs import KillAt, curriculum, ordered
from tests.loop.loss_runs import LossModule
from tests.toy import ToyData, toy_trainer

CONFIGS = Path(__file__).parents[2] / "configs"
STAGES = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    names = ["base", "model/tiny", "data/abilities", "curriculum/iterit", "quickstart"]
    metrics = {
        "ifd": {"class_path": "lit_curriculum.InstructionFollowingDifficulty"},
        "nll": {"class_path": "lit_curriculum.NegativeLogLikelihood"},
    }
    cli = CurriculumCLI(
        [
            *(f"--config={CONFIGS / name}.yaml" for name in names), f"--trainer.max_epochs={STAGES}",
            "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false",
            f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}",
            "--curriculum.policy.fraction=0.2", f"--curriculum.metrics={json.dumps(metrics)}", "--data.num_train=160",
            "--data.num_val_per_ability=3", f"--data.cache_dir={folder / 'cache'}",
        ],
        run=False,
    )  # fmt: skip
    cli.trainer.fit(cli.model, cli.datamodule)
    return folder / "version_0"


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run), size_guidance=dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0))
    found.Reload()
    return found


@pytest.fixture(scope="module")
def states(run: Path) -> list[StageState]:
    return list(Ledger(run).states())


def values(events: EventAccumulator, tag: str) -> list[float]:
    return [e.value for e in events.Scalars(tag)]


def test_scalars_and_histograms_agree_with_the_ledger(
    run: Path, events: EventAccumulator, states: list[StageState]
) -> None:
    ledger = Ledger(run)
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "val/loss", "val/accuracy", "val/accuracy/echo", "val/nll/noise"} <= scalars
    for tag in ("selected", "candidates", "scored_tokens", "scoring_seconds"):
        expected = [ledger.planned_info(s)[tag] for s in ledger.stages]
        assert np.allclose(values(events, f"curriculum/{tag}"), expected, rtol=1e-6)
    assert [e.step for e in events.Scalars("curriculum/selected")] == [ledger.planned_info(s)["step"] for s in range(3)]
    plans = [set(ledger.order(s).tolist()) for s in range(STAGES)]
    overlaps = [len(b & a) / len(b) for a, b in itertools.pairwise(plans)]
    assert np.allclose(values(events, "curriculum/overlap"), overlaps)
    new = [len(p - set().union(*plans[:s])) / len(p) for s, p in enumerate(plans)]
    assert np.allclose(values(events, "turnover/new"), new)
    for metric, state in itertools.product(("ifd", "nll"), states):
        everything, chosen = state.scores[metric], state.scores[metric][ledger.order(state.stage)]
        for name, q in (("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
            assert np.isclose(values(events, f"drift/{metric}/{name}")[state.stage], np.quantile(everything, q))
        assert np.isclose(values(events, f"drift/{metric}/selected_median")[state.stage], np.median(chosen))
        for tag, there in (("difficulty", everything), ("difficulty_selected", chosen)):
            histogram = events.Histograms(f"{tag}/{metric}")[state.stage]
            assert histogram.step == state.stage
            assert np.isclose(histogram.histogram_value.sum, there.sum(), rtol=1e-5)
    agreement = [spearmanr(s.scores["ifd"], s.scores["nll"]).statistic for s in states]
    assert np.allclose(values(events, "views/ifd~nll"), agreement, atol=1e-6)


def test_drift_turnover_and_difficulty_of_batches_by_slow_twins(
    run: Path, events: EventAccumulator, states: list[StageState]
) -> None:
    ledger = Ledger(run)
    ifd = [s.scores["ifd"] for s in states]
    assert np.allclose(
        values(events, "drift/ifd/with_last"),
        [spearmanr(b, a).statistic for a, b in itertools.pairwise(ifd)],
        atol=1e-6,
    )
    assert np.isclose(values(events, "drift/ifd/with_first")[-1], spearmanr(ifd[2], ifd[0]).statistic, atol=1e-6)
    for number, (before, now) in enumerate(itertools.pairwise(ifd)):
        hard, was = (set(sorted(range(len(v)), key=lambda i: -v[i])[:32]) for v in (now, before))
        assert np.isclose(values(events, "turnover/newly_hard/ifd")[number], len(hard - was) / 32, atol=1e-6)
    batches = list(events.Scalars("training/difficulty/ifd"))
    step = 0
    for state in states:
        order = ledger.order(state.stage)
        for low in range(0, len(order), 32):
            assert np.isclose(batches[step].value, state.scores["ifd"][order[low : low + 32]].mean(), rtol=1e-5)
            step += 1
    assert step == len(batches) == 3


def test_cost_is_the_sum_of_the_ledger(run: Path, events: EventAccumulator) -> None:
    ledger = Ledger(run)
    trained = [ledger.trained_info(s) for s in range(STAGES)]
    assert values(events, "cost/training_tokens")[-1] == sum(t["tokens"] for t in trained)
    assert values(events, "cost/scoring_tokens")[-1] == sum(
        ledger.planned_info(s)["scored_tokens"] for s in range(STAGES)
    )
    assert np.isclose(values(events, "cost/training_seconds")[-1], sum(t["seconds"] for t in trained), rtol=0.2)
    assert values(events, "machine/limit_flops")[-1] > 1e8
    for kind in ("training", "scoring"):
        assert 0 < values(events, f"machine/{kind}_share_of_limit")[-1] < 1
    assert 0 < values(events, "cost/refresh_share")[-1] < 1


def test_figures_texts_and_layout(run: Path, events: EventAccumulator, states: list[StageState]) -> None:
    tags = events.Tags()
    figures = {"drift/ifd", "drift/nll", "agreement_of_stages/ifd", "agreement_of_views", "shared_examples"}
    assert {f"figures/{name}" for name in figures} <= set(tags["images"])
    assert events.Images("figures/drift/ifd")[-1].step == STAGES - 1
    names = Ledger(run).examples(["id"]).column("id").to_pylist()
    text = events.Tensors("examples/hardest/text_summary")[-1].tensor_proto.string_val[0].decode()
    hardest = names[int(np.argmax(states[-1].scores["ifd"]))]
    assert text.splitlines()[0] == "| id | instruction | response | ifd | stages |"
    assert text.splitlines()[2].startswith(f"| {hardest} |")
    assert {f"examples/{k}/text_summary" for k in ("easiest", "most_often_chosen")} <= set(tags["tensors"])
    layout = layout_pb2.Layout()
    layout.ParseFromString(events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    assert [c.title for c in layout.category] == ["Learning", "What is chosen", "What it costs", "Difficulty"]
    charts = {chart.title: list(chart.multiline.tag) for c in layout.category for chart in c.chart}
    for patterns in (p for p in charts.values() if p):
        assert any(re.fullmatch(p, tag) for p in patterns for tag in tags["scalars"]), patterns
    assert {"accuracy by ability", "turnover", "rank correlation of views", "share of refreshes"} <= set(charts)
    assert not {"schedules", "mixture"} & set(charts)  # of other policies
    (margin,) = [c.margin for c in layout.category[-1].chart if c.title == "ifd: median and quartiles"]
    series = margin.series[0]
    assert {series.value, series.lower, series.upper} <= set(tags["scalars"])


def test_hyperparameters_stand_beside_what_was_reached(run: Path, events: EventAccumulator) -> None:
    def content(name: str) -> plugin_data_pb2.HParamsPluginData:
        data = events.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(data)

    options = dict(content("session_start_info").session_start_info.hparams)
    assert options["curriculum.policy"].string_value == "IterITPolicy"
    assert (options["curriculum.policy.fraction"].number_value, options["data.examples"].number_value) == (0.2, 160)
    reached = {info.name.tag for info in content("experiment").experiment.metric_infos}
    assert reached == {"train/loss", "val/loss", "val/accuracy"}
    (validated,) = [v["metrics"]["val/loss"] for v in json.loads((run / "run.json").read_text())["validations"]]
    assert values(events, "val/loss") == [pytest.approx(validated)] * 2  # as validated, and in the table


class TrackingLogger(Logger):
    """A logger with the two methods by which Lightning's logger for Weights & Biases takes figures and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars: list[dict[str, float]] = []
        self.images: dict[str, list[Any]] = {}
        self.texts: dict[str, list[Any]] = {}

    @property
    def name(self) -> str:
        return "tracking"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.scalars.append(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.images.setdefault(key, []).extend(images)

    def log_text(
        self, key: str, columns: list[str] | None = None, data: list[list[str]] | None = None,
        dataframe: Any = None, step: int | None = None,
    ) -> None:  # fmt: skip
        assert columns is not None
        assert data is not None
        assert all(len(row) == len(columns) for row in data)
        self.texts.setdefault(key, []).extend(data)


def test_other_loggers_get_what_they_can_show(tmp_path: Path, toy_examples: list[Example]) -> None:
    tracking = TrackingLogger()
    callbacks = [CurriculumMonitor(), LedgerWriter(str(tmp_path)), curriculum(ordered())]
    trainer = toy_trainer(tmp_path, 3, callbacks=callbacks, logger=[tracking], log_every_n_steps=1)
    trainer.fit(LossModule(), ToyData(toy_examples))
    selected = [m["curriculum/selected"] for m in tracking.scalars if "curriculum/selected" in m]
    assert selected == [12.0] * 3
    assert all(isinstance(i, Figure) for i in tracking.images["figures/drift/nll"])
    ledger = Ledger(tmp_path)
    hardest = int(np.argmax(ledger.state(2).scores["nll"]))
    assert f"toy-{hardest}" in [row[0] for row in tracking.texts["examples/hardest"]]
    assert len(tracking.images["figures/drift/nll"]) == 1  # at the end alone: the run is too short for more


def test_a_continued_run_logs_what_the_undisturbed_one_does(tmp_path: Path, toy_examples: list[Example]) -> None:
    def log(folder: Path, *more: Any, ckpt: Path | None = None) -> list[dict[str, float]]:
        logger = TrackingLogger()
        callbacks = [CurriculumMonitor(), *more, curriculum(ordered())]
        trainer = toy_trainer(folder, 4, callbacks=callbacks, logger=[logger], enable_checkpointing=bool(more))
        trainer.fit(LossModule(), ToyData(toy_examples), ckpt_path=ckpt)
        rows = [m for m in logger.scalars if "curriculum/stage" in m]
        # Times differ from run to run.
        return [{k: v for k, v in m.items() if not k.startswith(("cost/", "machine/")) and "seconds" not in k}
                for m in rows]  # fmt: skip

    whole = log(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        log(tmp_path / "first", KillAt(2, 1), ExceptionCheckpoint(str(tmp_path)))
    assert log(tmp_path / "second", ckpt=tmp_path / "exception.ckpt") == whole[3:]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"CurriculumMonitor\.examples must be at least 0, got -1"):
        CurriculumMonitor(examples=-1)

"""The event files of a run hold what the run did."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_curriculum.cli import CurriculumCLI

CONFIGS = Path(__file__).parents[2] / "configs"


def test_scalars_histograms_and_selection_files_agree_with_the_run(tmp_path: Path) -> None:
    names = ["base", "model/tiny", "data/abilities", "curriculum/iterit", "quickstart"]
    cli = CurriculumCLI(
        [
            *(f"--config={CONFIGS / name}.yaml" for name in names),
            "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false",
            f"--trainer.default_root_dir={tmp_path}", f"--trainer.logger.init_args.save_dir={tmp_path}",
            "--curriculum.policy.fraction=0.2", "--data.num_train=160", "--data.num_val_per_ability=3",
            f"--data.cache_dir={tmp_path / 'cache'}",
        ],
        run=False,
    )  # fmt: skip
    cli.trainer.fit(cli.model, cli.datamodule)
    events = EventAccumulator(str(tmp_path / "version_0"), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"train/loss", "val/loss", "val/accuracy", "val/accuracy/echo", "val/nll/noise"} <= set(scalars)
    assert {f"curriculum/{n}" for n in ("selected", "overlap", "refresh_seconds", "candidates", "eligible")} <= set(
        scalars
    )
    selected = [e.value for e in events.Scalars("curriculum/selected")]
    assert selected == [32.0, 32.0, 32.0]
    assert [e.step for e in events.Scalars("curriculum/selected")] == [0, 1, 2]
    assert len(events.Scalars("train/loss")) == 3
    assert {"difficulty/ifd", "difficulty_selected/ifd"} <= set(events.Tags()["histograms"])
    assert [h.step for h in events.Histograms("difficulty/ifd")] == [0, 1, 2]
    plans = []
    for stage in range(3):
        lines = (tmp_path / "version_0" / "selection" / f"stage-{stage}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        plans.append({r["index"] for r in rows})
        assert [r["place"] for r in rows] == list(range(32))
        assert all(r["scores"]["ifd"] < 1 for r in rows)
        histogram = events.Histograms("difficulty_selected/ifd")[stage].histogram_value
        assert np.isclose(histogram.sum, sum(r["scores"]["ifd"] for r in rows), rtol=1e-5)
    overlap = [e.value for e in events.Scalars("curriculum/overlap")]
    expected = [len(b & a) / 32 for a, b in itertools.pairwise(plans)]
    assert np.allclose(overlap, expected)

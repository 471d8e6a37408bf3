"""The default callbacks on two processes: none waits for the other, and one ledger comes out, that of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lit_curriculum.report.ledger import Ledger

CONFIGS = Path(__file__).parents[2] / "configs"


def fit(folder: Path, ranks: int) -> Ledger:
    layers = ["base", "model/tiny", "data/abilities", "curriculum/iterit_demo"]
    options = [
        *(f"--config={CONFIGS / layer}.yaml" for layer in layers), f"--trainer.default_root_dir={folder}",
        f"--trainer.logger.init_args.save_dir={folder}", "--trainer.accelerator=cpu", f"--trainer.devices={ranks}",
        f"--trainer.strategy={'ddp' if ranks > 1 else 'auto'}", "--trainer.max_epochs=2", "--data.num_train=160",
        "--data.num_val_per_ability=2", f"--data.cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "lit_curriculum", "fit", *options],
        capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "\r" not in "".join(line for line in done.stderr.splitlines() if "Stage " in line)
    assert (folder / "version_0" / "run.json").exists()
    return Ledger(folder / "version_0")


@pytest.mark.slow
def test_two_processes_write_the_ledger_of_one(tmp_path: Path) -> None:
    one, two = fit(tmp_path / "one", 1), fit(tmp_path / "two", 2)
    assert one.stages == two.stages == one.trained_stages == two.trained_stages == [0, 1]
    assert one.order(0).tolist() == two.order(0).tolist()
    trained, state = (one.trained(0), two.trained(0)), (one.state(0), two.state(0))
    assert trained[0].column("times").equals(trained[1].column("times"))
    losses = [rows.column("loss").to_numpy() for rows in trained]
    assert np.allclose(losses[0], losses[1], rtol=1e-4)
    assert np.allclose(state[0].scores["ifd"], state[1].scores["ifd"], rtol=1e-5)
    assert state[0].reason.tolist() == state[1].reason.tolist()

"""What all rows of the ablation share: model, data, budget, and how much of the data is scored."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from experiments.campus_ablation.real_rows import write_rows
from experiments.common import SILENT

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass(frozen=True)
class Setting:
    """One profile; the defaults are those of the embedded default."""

    examples: int = 1600
    """Training examples (N)."""
    passes: int = 3
    """Budget of every row, in passes over the data."""
    bands: int = 10
    """Bands of a schedule (T)."""
    held_out: int = 60
    """Held-out examples of each ability or source."""
    field: Literal["response", "both"] = "response"
    """Text whose length and lexical diversity are taken."""
    rescore_every: int = 1
    """Stages between two re-scorings and two updates of the scorer (K)."""
    ppl_count: int | None = None
    """Examples of a band that are measured; none measures all."""
    scorer_losses: int | None = None
    """Fresh losses at least of an update of the scorer; none leaves its default."""
    model: str = "tiny"
    """A file of configs/model."""
    real: bool = False
    """Real instruction data instead of generated abilities."""
    chat: str = "chatml"
    """Template of real rows."""
    accelerator: str = "cpu"
    precision: str = "32-true"

    @property
    def template(self) -> str:
        """Of real rows: the model's own would put the same system turn before every short one."""
        return self.chat if self.real else "auto"

    @property
    def config(self) -> dict[str, Any]:
        """What has to be equal for cells to be compared: the main options, and those that are not the default."""
        main = {"examples": self.examples, "passes": self.passes, "bands": self.bands, "model": f"model/{self.model}"}
        named = {*main, "accelerator"}
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name not in named}
        return main | {name: value for name, (value, usual) in values.items() if usual is MISSING or value != usual}

    def arguments(self, seed: int, folder: Path, data: Path | None) -> list[str]:
        """Options of the command line that every cell of a seed has; all that it writes goes below ``folder``.

        Initial weights are the same for all seeds.
        """
        layers = ["base", f"model/{self.model}", *([] if self.real else ["data/abilities"])]
        args = [f"--config={CONFIGS / layer}.yaml" for layer in layers]
        args += [f"--trainer.accelerator={self.accelerator}", f"--trainer.precision={self.precision}", *SILENT]
        args += ["--trainer.callbacks=[]", f"--trainer.default_root_dir={folder}"]
        args += [f"--seed_everything={seed}", "--model.init_seed=0"]
        if not self.real:
            args += [f"--data.num_train={self.examples}", f"--data.num_val_per_ability={self.held_out}"]
            return [*args, f"--data.data_seed={seed}"]
        assert data is not None
        train, held_out = write_rows(data, folder / "rows", self.examples, self.held_out, seed)
        args += [f"--data.path={train}", f"--data.val_path={held_out}", f"--data.cache_dir={folder / 'rows' / 'cache'}"]
        args += [f"--data.template={self.template}", "--data.batch_size=8", "--data.eval_batch_size=16"]
        return [*args, *(["--curriculum.autocast=bfloat16"] if self.precision.startswith("bf16") else [])]


PROFILES = {
    "abilities": Setting(),
    "views": Setting(field="both"),
    "long": Setting(examples=4800, field="both"),
    "real": Setting(
        examples=90, bands=5, held_out=40, field="both", rescore_every=5, ppl_count=8, scorer_losses=32,
        model="smollm2_top", real=True, precision="bf16-mixed",
    ),
}  # fmt: skip
QUICK = {
    "abilities": {"examples": 300, "passes": 1, "bands": 3, "held_out": 5},
    "views": {"examples": 300, "passes": 1, "bands": 3, "held_out": 5},
    "long": {"examples": 300, "passes": 1, "bands": 3, "held_out": 5},
    "real": {"examples": 12, "passes": 1, "bands": 2, "held_out": 2, "scorer_losses": 4},
}

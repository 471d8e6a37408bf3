"""The examples run, and the loops of others really see the rows of the selection, in its order."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, TrainingArguments

from experiments.examples import hf_trainer, plain_lightning
from lit_curriculum import SelectionSampler
from lit_curriculum.cli import main as lit_curriculum
from lit_curriculum.data.selection import content_hashes
from lit_curriculum.data.tiny_tokenizer import TINY_VOCAB_SIZE, build_tiny_tokenizer
from lit_curriculum.types import CONDITIONED, Batch

CONFIGS = Path(__file__).parents[2] / "configs"
RECORDS = [{"instruction": f"Say {i}.", "output": "go " * (1 + i % 5) + str(i)} for i in range(21)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a tiny model, and the selection of a Lightning run of two stages."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    config = LlamaConfig(
        vocab_size=TINY_VOCAB_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    build_tiny_tokenizer().save_pretrained(folder / "model")
    args = [f"--config={CONFIGS / name}.yaml" for name in ("base", "model/tiny", "curriculum/competence", "debug")]
    args += [f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}"]
    args += [f"--data.path={folder / 'data.jsonl'}", f"--data.tokenizer={folder / 'model'}", "--data.template=plain"]
    args += [f"--data.cache_dir={folder / 'cache'}", "--data.batch_size=4"]
    assert lit_curriculum(["fit", *args]) == 0
    return folder


def selected(folder: Path) -> list[list[str]]:
    """Content hashes that the stages of the run trained on."""
    files = [folder / "version_0" / "selection" / f"stage-{stage}.jsonl" for stage in range(2)]
    return [[json.loads(line)["content_hash"] for line in file.read_text().splitlines()] for file in files]


class Recording(hf_trainer.SelectionTrainer):
    """Keeps what the model is given."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[list[list[int]]] = []

    def training_step(self, model: Any, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        rows = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True)
        self.seen.append([row[:length] for row, length in rows])
        return super().training_step(model, inputs, *rest)


def expected_batches(order: list[str], batch_size: int) -> list[list[list[int]]]:
    tokens = [hf_trainer.tokenise(record, build_tiny_tokenizer())["input_ids"] for record in RECORDS]
    by_hash = dict(zip(content_hashes(RECORDS), tokens, strict=True))
    rows = [by_hash[key] for key in order]
    return [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]


def test_the_trainer_of_hugging_face_sees_the_selection(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_trainer, "SelectionTrainer", Recording)
    args = [f"--selection={work / 'version_0' / 'selection'}", f"--data={work / 'data.jsonl'}", "--batch_size=4"]
    trainer: Any = hf_trainer.main([*args, f"--model={work / 'model'}", f"--out={work / 'hf'}"])
    stages = selected(work)
    assert stages[0] != stages[1]
    assert trainer.seen == expected_batches(stages[0] + stages[1], 4)
    assert trainer.state.global_step == trainer.state.max_steps == 11


def _trainer(work: Path, out: Path, **options: Any) -> Recording:
    tokenizer = build_tiny_tokenizer()
    trainer = Recording(
        model=AutoModelForCausalLM.from_pretrained(work / "model"),
        args=TrainingArguments(
            output_dir=str(out), num_train_epochs=2, report_to=[], use_cpu=True, disable_tqdm=True,
            **{"per_device_train_batch_size": 4, **options},
        ),
        train_dataset=[hf_trainer.tokenise(record, tokenizer) for record in RECORDS],
        data_collator=hf_trainer.pad,
    )  # fmt: skip
    files = work / "version_0" / "selection"
    trainer.selection = SelectionSampler(files, content_hashes(RECORDS), by="content_hash")
    return trainer


def test_a_stage_is_an_epoch_and_a_resume_goes_on_in_its_middle(work: Path, tmp_path: Path) -> None:
    straight = _trainer(work, tmp_path / "a", save_strategy="steps", save_steps=8)
    straight.train()
    stages = selected(work)
    expected = expected_batches(stages[0], 4) + expected_batches(stages[1], 4)
    assert straight.seen == expected
    resumed = _trainer(work, tmp_path / "a", save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-8"))
    assert resumed.seen == expected[8:]


def test_rows_that_were_packed_or_filtered_away_are_noticed(work: Path, tmp_path: Path) -> None:
    trainer = _trainer(work, tmp_path, save_strategy="no")
    trainer.train_dataset = trainer.train_dataset[:5]  # type: ignore[index]
    with pytest.raises(ValueError, match="the selection is of 21 rows, the training data have 5 now"):
        trainer.train()


def test_the_sft_trainer_of_trl_sees_the_selection(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="TRL is not installed (pip install trl)")
    from experiments.examples import trl_sft

    seen: list[list[list[int]]] = []

    class RecordingSFT(trl_sft.SelectionSFTTrainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
            rows = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True)
            seen.append([row[:length] for row, length in rows])
            loss: Tensor = super().training_step(model, inputs, *rest)
            return loss

    monkeypatch.setattr(trl_sft, "SelectionSFTTrainer", RecordingSFT)
    args = [f"--selection={work / 'version_0' / 'selection'}", f"--data={work / 'data.jsonl'}", "--batch_size=4"]
    trl_sft.main([*args, f"--model={work / 'model'}", f"--out={work / 'trl'}"])
    stages = selected(work)
    assert seen == expected_batches(stages[0] + stages[1], 4)


def test_a_plain_module_and_data_module_follow_the_curriculum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    class RecordingModule(plain_lightning.CurriculumModule):
        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            seen.extend(batch["input_ids"].tolist())
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr(plain_lightning, "CurriculumModule", RecordingModule)
    module = plain_lightning.main([f"--out={tmp_path}", "--rows=40"])
    rows = plain_lightning.sums(40)
    order = [
        json.loads(line)["index"]
        for stage in range(3)
        for line in (tmp_path / "selection" / f"stage-{stage}.jsonl").read_text().splitlines()
    ]
    assert len(order) == 120
    for tokens, index in zip(seen, order, strict=True):
        whole = rows[index]["input_ids"]
        assert tokens[: len(whole)] == whole
        assert not any(tokens[len(whole) :])
    # The method that it gained agrees with its own loss.
    batch = plain_lightning.pad(rows[:1])
    store = plain_lightning.TokenStore(rows[:1])
    nll = module.token_nll(Batch.from_views([(0, 1.0, store.encoded(0, CONDITIONED))])).nll  # type: ignore[operator]
    logits = module(batch["input_ids"])[:, :-1]
    own = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(nll.mean(), own)


_TWO_RANKS = """
import json, sys
from pathlib import Path
from tests.experiments.test_examples import _trainer
work, out = Path(sys.argv[1]), Path(sys.argv[2])
trainer = _trainer(work, out, per_device_train_batch_size=2, save_strategy="no", ddp_backend="gloo")
trainer.train()
(out / f"seen-{trainer.args.process_index}.json").write_text(json.dumps(trainer.seen))
"""


@pytest.mark.slow
def test_two_ranks_of_hugging_face_share_the_selection(work: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = []
    for rank in ("0", "1"):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-c", _TWO_RANKS, str(work), str(tmp_path)]
        ranks.append(subprocess.Popen(command, cwd=CONFIGS.parent, env={**os.environ, "OMP_NUM_THREADS": "1", **own}))
    assert [process.wait(timeout=300) for process in ranks] == [0, 0]
    seen = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    stages = selected(work)
    together = [first + second for first, second in zip(*seen, strict=True)]
    # Five whole global batches of four; accelerate fills the last, of one row, up with the first rows of the epoch.
    for epoch, order in enumerate(stages):
        expected = expected_batches(order, 4)
        found = together[6 * epoch : 6 * (epoch + 1)]
        assert found[:5] == expected[:5]
        assert found[5][0] == expected[5][0]

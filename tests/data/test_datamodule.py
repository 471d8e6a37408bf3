"""The data module without a run: what it reads, keeps and refuses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from typing_extensions import override

from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.encode import Encoder
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.records import Split
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.types import CONDITIONED, Example
from tests.data.toy_files import opened, write_records
from tests.data.toy_tokenizers import CHATML_WITH_DEFAULT_SYSTEM, byte_level


def test_stores_sampler_and_batches(data: dict[str, Any], tmp_path: Path) -> None:
    module = opened(**data, val_path=write_records(tmp_path / "val.jsonl", 5, "Other"), batch_size=4, eval_batch_size=3)
    assert [e.id for e in module.train_store] == [f"Ask{n}" for n in range(12)]
    assert module.val_store is not None
    assert [e.id for e in module.val_store] == [f"Other{n}" for n in range(5)]
    assert isinstance(module.sampler, CurriculumSampler)
    assert (module.sampler.num_examples, module.sampler.batch_size) == (12, 4)
    batches = list(module.train_dataloader())
    assert [len(b) for b in batches] == [4, 4, 4]
    assert sorted(i for b in batches for i in b.index.tolist()) == list(range(12))
    expected = module.train_store.encoded(int(batches[0].index[1]), CONDITIONED)
    length = len(expected.input_ids)
    assert batches[0].input_ids[1, :length].tolist() == expected.input_ids.tolist()
    assert batches[0].attention_mask[1].sum() == length
    loader = module.val_dataloader()
    assert not isinstance(loader, list)
    assert [b.index.tolist() for b in loader] == [[0, 1, 2], [3, 4]]
    assert module.problems.num_read == 17


def test_without_validation_data_there_is_no_loader(data: dict[str, Any]) -> None:
    module = opened(**data)
    assert module.val_store is None
    assert module.val_dataloader() == []


def test_reading_and_tokenising_happen_once(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(**data)

    def refuse(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(InstructionDataModule, "load_examples", refuse)
    monkeypatch.setattr(Encoder, "encode", refuse)
    second = opened(**data)
    assert second.train_store.fingerprint == first.train_store.fingerprint
    assert second.problems.summary() == first.problems.summary()
    changes: list[dict[str, Any]] = [
        {"limit": 3}, {"input_join": " "}, {"ability_field": "source"}, {"turn_end": "excluded"}, {"template": "plain"},
        {"max_length": 99}, {"duplicate": "skip"}, {"val_fraction": 0.5},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(AssertionError, match="read again"):
            opened(**{**data, **change})
    write_records(Path(data["path"]), 13)
    with pytest.raises(AssertionError, match="read again"):
        opened(**data)


def test_setup_alone_builds_what_is_missing(data: dict[str, Any]) -> None:
    module = InstructionDataModule(**data)
    module.setup("fit")
    store, sampler = module.train_store, module.sampler
    assert len(store) == 12
    module.setup("validate")
    assert module.train_store is store
    assert module.sampler is sampler


def test_without_model_and_option_there_is_no_tokenizer(data: dict[str, Any]) -> None:
    del data["tokenizer"]
    with pytest.raises(ValueError, match=r"data\.tokenizer is not set and the model names none"):
        opened(**data)


def test_the_tokenizer_carries_the_template_in_use(data: dict[str, Any], tmp_path: Path) -> None:
    module = opened(**data)
    assert module.tokenizer is not None
    module.tokenizer.save_pretrained(tmp_path / "export")
    again = AutoTokenizer.from_pretrained(tmp_path / "export")
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    assert again.apply_chat_template(turns, tokenize=False) == "# Request\nQ\n\n# Reply\nA"
    own = byte_level()
    own.chat_template = CHATML_WITH_DEFAULT_SYSTEM
    own.save_pretrained(tmp_path / "own")
    module = opened(**{**data, "tokenizer": str(tmp_path / "own"), "max_length": 200})
    assert module.tokenizer is not None
    assert module.tokenizer.chat_template == CHATML_WITH_DEFAULT_SYSTEM


def test_a_split_by_content(data: dict[str, Any], tmp_path: Path) -> None:
    data["path"] = [write_records(tmp_path / "a.jsonl", 60, "A"), write_records(tmp_path / "b.jsonl", 60, "B")]
    module = opened(**data, val_fraction=0.25)
    assert module.val_store is not None
    train, val = [e.id for e in module.train_store], [e.id for e in module.val_store]
    assert len(train) + len(val) == 120
    assert 15 <= len(val) <= 45
    assert sorted(train + val) == sorted(f"{w}{n}" for w in "AB" for n in range(60))
    # Another order of the files gives the same split.
    other = opened(**{**data, "path": data["path"][::-1]}, val_fraction=0.25)
    assert other.val_store is not None
    assert {e.id for e in other.val_store} == set(val)
    assert "120 records read, 120 examples kept" in module.problems.summary()
    # Nothing of two examples falls on this side.
    with pytest.raises(ValueError, match=r"^data\.val_fraction: no example is left; 0 records read"):
        opened(**data, val_fraction=0.001, limit=2)


def test_problems_stop_or_are_told(data: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(data["path"])
    file.write_text(file.read_text() + "\n{broken\n" + '{"instruction": "Q", "output": ""}')
    with pytest.raises(ValueError, match=r"train\.jsonl:13: the record is not JSON .* data\.malformed: skip\.$"):
        opened(**data)
    module = opened(**data, malformed="skip", limit=14)
    assert module.problems.counts == {"malformed": 1, "empty_response": 1}
    assert len(module.train_store) == 12
    with pytest.raises(ValueError, match=r"data\.max_length=25.*data\.too_long: truncate or skip"):
        opened(**{**data, "max_length": 25}, malformed="skip")


def test_the_summary_is_said_once(data: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    opened(**data)
    said = [r.message for r in caplog.records if r.message.startswith("data: ")]
    assert said == [
        "data: 12 to train on, 0 to validate on, chat template headings, at most 100 tokens; "
        "12 records read, 12 examples kept, no problems."
    ]


def test_an_empty_or_missing_file_stops(data: dict[str, Any]) -> None:
    Path(data["path"]).write_text("")
    with pytest.raises(ValueError, match=r"^data\.path: no example is left; 0 records read"):
        opened(**data)
    with pytest.raises(ValueError, match=r"^data\.path: no example is left; 0 records read"):
        opened(**{**data, "path": []})
    with pytest.raises(ValueError, match=r"^data\.path/val_path: there is no file or folder .*nowhere\.jsonl"):
        opened(**{**data, "path": data["path"] + "nowhere.jsonl"})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"val_fraction": 1.0}, r"data\.val_fraction must be in \[0, 1\), got 1\.0"),
        ({"val_fraction": -0.1}, r"data\.val_fraction must be in \[0, 1\)"),
        ({"val_fraction": 0.1, "val_path": "x"}, "give either val_path or val_fraction, not both"),
        ({"batch_size": 0}, r"data\.batch_size must be at least 1, got 0"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size must be at least 1"),
        ({"limit": 0}, r"data\.limit must be at least 1"),
        ({"max_length": 0}, r"data\.max_length must be at least 2, got 0"),
        ({"malformed": "keep"}, r"data\.malformed must be one of error, skip"),
        ({"turn_end": "?"}, r"data\.turn_end must be one of"),
        ({"template": "?"}, r"data\.template: \? is none of"),
    ],
)
def test_options_out_of_range(data: dict[str, Any], option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(**{**data, **option})


class Generated(InstructionDataModule):
    """Data from nowhere: what a subclass has to write."""

    reads = 0

    @override
    def splits(self) -> tuple[Split, ...]:
        return ("train", "val")

    @override
    def load_examples(self, split: Split, report: ProblemReport) -> Iterable[Example]:
        type(self).reads += 1
        rows = [{"prompt": f"{split} {n}", "response": "ok"} for n in range(4)]
        report.num_read = len(rows)
        return [to_example(row, f"{split}:{n}", n) for n, row in enumerate(rows)]


class Named(Generated):
    @override
    def source_key(self, split: Split) -> str | None:
        return "four"


@pytest.mark.parametrize(("kind", "reads"), [(Generated, 8), (Named, 2)])
def test_a_subclass_with_data_from_elsewhere(data: dict[str, Any], kind: type[Generated], reads: int) -> None:
    kind.reads = 0
    fingerprints = set()
    for _ in range(2):
        module = kind(**{**data, "path": []})
        module.prepare_data()
        module.setup("fit")
        assert [e.instruction for e in module.train_store] == [f"train {n}" for n in range(4)]
        assert module.val_store is not None
        assert module.val_store[3].instruction == "val 3"
        fingerprints.add((module.train_store.fingerprint, module.val_store.fingerprint))
    assert len(fingerprints) == 1
    # Data with a name are read once for each split, others by every process that opens them.
    assert kind.reads == reads

"""A tiny folder in DoIT's layout: what is trained on, what is held out, under which ability, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.curriculum.quotas import recipe_counts
from lit_curriculum.data.formats import MalformedRecordError
from lit_curriculum.methods.doit.data import FULL_ROWS, DoITDataModule, doit_fields
from lit_curriculum.methods.doit.validation_items import declared_splits
from lit_curriculum.types import CONDITIONED
from tests.data.toy_tokenizers import CHATML_WITH_DEFAULT_SYSTEM, byte_level
from tests.methods.doit.doit_files import FILES, QUESTION, turns

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, rows in FILES.items():
        path = tmp_path / "doit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return tmp_path / "doit"


class Module(DoITDataModule):
    """The adapter with a tokenizer of bytes."""

    @override
    def build_tokenizer(self) -> Any:
        tokenizer = byte_level()
        tokenizer.chat_template = CHATML_WITH_DEFAULT_SYSTEM
        return tokenizer


def opened(root: Path, **options: Any) -> Module:
    module = Module(str(root), max_length=400, batch_size=1, cache_dir=str(root.parent / "cache"), **options)
    module.prepare_data()
    module.setup("fit")
    return module


@pytest.mark.filterwarnings("ignore:data.root")
def test_rows_of_all_abilities_and_turns_are_read(root: Path) -> None:
    module = opened(root, synthetic=True)
    store = module.train_store
    assert [(e.id, e.ability) for e in store] == [
        ("biology-7", "biology"), ("biology-8", "biology"), ("understanding-0", "understanding"),
        ("synthetic-0", "synthetic"),
    ]  # fmt: skip
    assert store[0].messages[0].content == QUESTION
    assert store[0].meta["question_format"] == 0
    view = store.encoded(2, CONDITIONED)
    scored = bytes(view.input_ids[view.scored].tolist()).decode()
    assert "八点" in scored
    assert "男的" in scored
    assert "谁问的" not in scored


@pytest.mark.filterwarnings("ignore:data.root")
def test_validation_rows_are_completed_with_their_gold_answer(root: Path) -> None:
    store = opened(root).val_store
    assert store is not None
    assert [(e.ability, e.response) for e in store] == [("math", "2"), ("role_play", "同学你好")]
    test = opened(root, val_part="test").val_store
    assert test is not None
    assert [e.id for e in test] == ["biology-1"]
    assert opened(root, val_part=None).val_store is None
    both = opened(root, val_part="both").val_store
    assert both is not None
    assert declared_splits(both, np.arange(3)) == ["valid", "valid", "test"]
    assert declared_splits(both, np.arange(2)) is None


def test_the_ladders_pool_is_another_folder(root: Path) -> None:
    assert len(opened(root, part="1000").train_store) == 1


def test_row_counts_that_differ_from_the_published_ones_are_said(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"biology 2 \(not 1041\), understanding 1 \(not 4885\)"):
        opened(root)


def test_the_published_counts_give_the_papers_sets_to_the_row() -> None:
    totals = {name: sum(recipe_counts(name, FULL_ROWS).values()) for name in ("reconstruct", "maximum", "mix-2560")}
    assert totals == {"reconstruct": 10_000, "maximum": 39_564, "mix-2560": 42_124}


def test_a_missing_folder_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data.root=.* has no folder curated/full"):
        DoITDataModule(str(root / "curated"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "x"}, "has no messages; is this a file of the DoIT data"),
        ({"messages": turns("x", "y")}, "has no type"),
        ({"messages": turns("x"), "type": "code"}, "has neither choices nor an answer"),
    ],
)
def test_rows_of_another_layout_are_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedRecordError, match=reason):
        doit_fields(row, "doit/curated/full/code.json:1")


@pytest.mark.filterwarnings("ignore:data.root")
def test_the_yaml_makes_the_adapter(root: Path, tmp_path: Path) -> None:
    layers = [f"--config={CONFIGS / name}.yaml" for name in ("base", "model/tiny", "data/doit", "curriculum/uniform")]
    cli = CurriculumCLI([*layers, f"--data.root={root}", f"--trainer.default_root_dir={tmp_path}"], run=False)
    assert isinstance(cli.datamodule, DoITDataModule)
    assert cli.datamodule.batch_size == 64

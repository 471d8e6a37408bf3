"""A tiny folder in DoIT's layout: what is trained on, what is held out, under which ability, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from lit_curriculum.cli import CurriculumCLI
from lit_curriculum.data.formats import MalformedRecordError
from lit_curriculum.evaluation.measured import declared_splits
from lit_curriculum.methods.doit.data import FULL_ROWS, DoITDataModule, doit_fields
from lit_curriculum.methods.doit.study.plans import AbilitySpec, recipe
from lit_curriculum.types import CONDITIONED
from tests.data.toy_tokenizers import CHATML_WITH_DEFAULT_SYSTEM, byte_level

CONFIGS = Path(__file__).parents[3] / "configs"
QUESTION = "细胞的能量工厂是什么?\nA. 线粒体\nB. 叶绿体\nC. 核糖体\nD. 高尔基体"


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


FILES: dict[str, list[dict[str, Any]]] = {
    "curated/full/biology.json": [
        {"messages": turns(QUESTION, "A"), "idx": 7, "type": "biology", "question_format": 0},
        {"messages": turns("光合作用在哪进行?\nA. 根\nB. 叶", "B"), "idx": 8, "type": "biology", "question_format": 0},
    ],
    "curated/full/understanding.json": [
        {"messages": turns("男：几点了？女：八点。\n现在几点？", "八点", "谁问的？", "男的"), "idx": 0,
         "type": "understanding", "question_format": 0},
    ],
    "curated/1000/biology.json": [
        {"messages": turns(QUESTION, "A"), "idx": 7, "type": "biology", "question_format": 0},
    ],
    "curated/valid/math.json": [
        {"messages": turns("一加一等于几？"), "idx": 0, "type": "math", "question_format": 0, "answer": "2"},
    ],
    "curated/valid/role_play.json": [
        {"messages": turns("你好，老师"), "idx": 3, "type": "role_play", "question_format": 1,
         "choices": ["同学你好", "同学再见", "今天下雨"]},
    ],
    "curated/test/biology.json": [
        {"messages": turns("细菌有细胞核吗？\nA. 有\nB. 没有", "B"), "idx": 1, "type": "biology", "question_format": 0},
    ],
    "synthetic/40960/synthetic_41k.json": [
        {"messages": turns("写一首诗", "床前明月光"), "idx": 0, "type": "general", "question_format": 1},
    ],
}  # fmt: skip


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
    specs = [AbilitySpec(key=a, available=n) for a, n in FULL_ROWS.items()]
    totals = {name: sum(recipe(name, specs).counts.values()) for name in ("reconstruct", "maximum", "mix-2560")}
    assert totals == {"reconstruct": 10_000, "maximum": 39_564, "mix-2560": 42_124}


def test_a_missing_folder_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data.root=.* has no folder curated/full; give the folder of the DoIT data"):
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

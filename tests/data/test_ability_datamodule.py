"""The data module of the embedded default: what is generated is what is trained and validated on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_curriculum import AbilityDataModule
from lit_curriculum.data.abilities import ABILITIES, generate
from lit_curriculum.data.ability_tasks import MAX_LEVEL
from lit_curriculum.types import CONDITIONED, UNCONDITIONED


def test_data_module(tmp_path: Path) -> None:
    module = AbilityDataModule(num_train=300, num_val_per_ability=8, cache_dir=str(tmp_path), data_seed=5)
    module.prepare_data()
    module.setup("fit")
    train, val = generate(300, 8, 5)
    assert module.val_store is not None
    assert len(module.train_store) == 300
    assert [module.val_store[i].response for i in range(80)] == [e.response for e in val]
    for e in train:
        assert module.train_store[e.index] == e
        view = module.train_store.encoded(e.index, CONDITIONED)
        tokenizer = module.tokenizer
        assert tokenizer is not None
        assert tokenizer.decode(view.input_ids[view.scored]) == e.response + "</s>"
        assert len(module.train_store.encoded(e.index, UNCONDITIONED).input_ids) == len(e.response) + 3
    num_duplicates = sum(e.meta["is_duplicate_of"] is not None for e in train)
    assert module.problems.counts == {"duplicate": num_duplicates}
    assert module.val_store.abilities.names == tuple(a.key for a in ABILITIES)


def test_data_module_reads_its_cache_only_for_the_same_options(tmp_path: Path) -> None:
    def store_of(**options: int) -> list[str]:
        module = AbilityDataModule(num_train=100, num_val_per_ability=4, cache_dir=str(tmp_path), **options)  # type: ignore[arg-type]
        module.setup("fit")
        return [module.train_store[i].response for i in range(100)]

    assert store_of() == store_of()
    assert store_of(data_seed=1) != store_of()
    assert store_of(levels=2) != store_of()


def test_the_longest_example_fits(tmp_path: Path) -> None:
    module = AbilityDataModule(num_train=1800, num_val_per_ability=6, levels=MAX_LEVEL, cache_dir=str(tmp_path))
    module.setup("fit")
    assert module.train_store.lengths(CONDITIONED).max() < 64


def test_data_module_refuses_bad_options() -> None:
    with pytest.raises(ValueError, match=r"data\.levels must be in \[1, 6\], got 0"):
        AbilityDataModule(levels=0)

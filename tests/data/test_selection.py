"""Selection files served to other loops: matching by id and content, epochs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.data.formats import to_example
from lit_curriculum.data.selection import SelectionSampler, content_hashes

RECORDS = [{"instruction": f"Say {i}.", "output": f"It is {i}."} for i in range(6)]
IDS = [f"r{i}" for i in range(6)]


def _file(path: Path, order: list[int], **more: Any) -> Path:
    hashes = content_hashes(RECORDS)
    lines = [{"id": IDS[i], "content_hash": hashes[i], "weight": 1.0, **more} for i in order]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _run(folder: Path, *orders: list[int]) -> Path:
    folder.mkdir()
    for stage, order in enumerate(orders):
        _file(folder / f"stage-{stage}.jsonl", order)
    return folder


def test_one_file_serves_every_epoch_by_id_or_content(tmp_path: Path) -> None:
    file = _file(tmp_path / "s.jsonl", [4, 1, 4, 0])
    for sampler in (SelectionSampler(file, IDS), SelectionSampler(file, content_hashes(RECORDS), by="content_hash")):
        assert list(sampler) == [4, 1, 4, 0]
        assert len(sampler) == 4
        sampler.set_epoch(7)
        assert list(sampler) == [4, 1, 4, 0]
    # The rows of another file order are found all the same.
    shuffled = list(reversed(RECORDS))
    assert list(SelectionSampler(file, content_hashes(shuffled), by="content_hash")) == [1, 4, 1, 5]


def test_a_line_of_select_is_matched_by_its_messages(tmp_path: Path) -> None:
    example = to_example(RECORDS[3], "x")
    line = {"id": "x", "messages": [{"role": m.role, "content": m.content} for m in example.messages], "weight": 1.0}
    path = tmp_path / "selection.jsonl"
    path.write_text(json.dumps(line) + "\n")
    assert list(SelectionSampler(path, content_hashes(RECORDS), by="content_hash")) == [3]


def test_stages_are_epochs_in_order_of_their_number_or_joined(tmp_path: Path) -> None:
    orders = [[i % 6, (i + 1) % 6] for i in range(11)]  # stage 10 comes after stage 9, not after stage 1
    sampler = SelectionSampler(_run(tmp_path / "a", *orders), IDS)
    for epoch, order in enumerate(orders):
        sampler.set_epoch(epoch)
        assert list(sampler) == order
    sampler.set_epoch(11)
    with pytest.raises(ValueError, match=r"epoch 11 \(from 0\) is not in a selection of 11 stages"):
        iter(sampler)
    uneven = _run(tmp_path / "b", [5, 4, 3], [0])
    joined = SelectionSampler(uneven, IDS, joined=True)
    assert list(joined) == [5, 4, 3, 0]
    assert len(joined) == 4
    assert list(SelectionSampler([uneven / "stage-1.jsonl"], IDS)) == [0]
    with pytest.raises(ValueError, match=r"the stages hold from 1 to 3 entries"):
        SelectionSampler(uneven, IDS)


def test_rows_of_equal_content_are_one_and_the_same(tmp_path: Path) -> None:
    file = _file(tmp_path / "s.jsonl", [2])
    assert list(SelectionSampler(file, content_hashes([*RECORDS, RECORDS[2]]), by="content_hash")) == [2]
    with pytest.raises(ValueError, match=r"rows 2 and 6 of the data set have the same id 'r2'"):
        SelectionSampler(file, [*IDS, "r2"])


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path / "s.jsonl", [2])
    with pytest.raises(ValueError, match=r"s.jsonl:1 names id 'r2', which none of the 2 rows of the data set has"):
        SelectionSampler(file, ["r0", "r1"])
    with pytest.raises(ValueError, match=r"SelectionSampler.by must be one of id"):
        SelectionSampler(file, IDS, by="index")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"there is no selection file .*none.jsonl"):
        SelectionSampler(tmp_path / "none.jsonl", IDS)
    weighted = _file(tmp_path / "w.jsonl", [1], weight=2.0)
    with pytest.raises(ValueError, match=r"w.jsonl:1 has weight 2.0, and a sampler cannot weigh"):
        SelectionSampler(weighted, IDS)
    assert list(SelectionSampler(weighted, IDS, ignore_weights=True)) == [1]
    other = tmp_path / "other.jsonl"
    other.write_text('{"name": "r1"}\n')
    with pytest.raises(ValueError, match=r"other.jsonl:1 has no field id"):
        SelectionSampler(other, IDS)
    other.write_text("")
    with pytest.raises(ValueError, match=r"other.jsonl is empty; there is nothing to train on"):
        SelectionSampler(other, IDS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no stage-<s>.jsonl"):
        SelectionSampler(tmp_path / "empty", IDS)
    gap = _run(tmp_path / "gap", [0], [1], [2])
    (gap / "stage-1.jsonl").unlink()
    with pytest.raises(ValueError, match=r"gap holds stage 2 but not stage 1"):
        SelectionSampler(gap, IDS)
    with pytest.raises(ValueError, match=r"record 1 .*; SelectionSampler cannot match it"):
        content_hashes([RECORDS[0], {"text": "no instruction"}])

"""The journal of summaries: whole batches survive anything, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lit_curriculum.difficulty.summary_cache import SummaryCache, SummaryJournal, SummaryKey

KEY = SummaryKey(model="m0", summary="sum-count/1", autocast="none", engine="1")


def batch(seed: int, size: int = 5, width: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 2**63, (size, 2)).astype(np.uint64), generator.normal(size=(size, width))


def written(path: Path, seeds: range = range(4)) -> Path:
    journal = SummaryJournal(path, KEY)
    for seed in seeds:
        journal.append(*batch(seed))
    journal.close()
    return path


def test_what_was_written_is_known_again_bit_for_bit(tmp_path: Path) -> None:
    journal = SummaryJournal(written(tmp_path / "j"), KEY)
    digests = np.concatenate([batch(s)[0] for s in (3, 9, 0)])
    mask, values = journal.known(digests)
    assert mask.tolist() == [True] * 5 + [False] * 5 + [True] * 5
    np.testing.assert_array_equal(values, np.concatenate([batch(3)[1], batch(0)[1]]))
    assert len(journal) == 20
    journal.append(*batch(9))
    assert journal.known(digests)[0].all()
    journal.close()
    assert len(SummaryJournal(tmp_path / "j", KEY)) == 25


def test_cut_anywhere_it_keeps_the_whole_batches_and_goes_on(tmp_path: Path) -> None:
    data = written(tmp_path / "whole").read_bytes()
    header = data.index(b"\n") + 1
    size = (len(data) - header) // 4
    for cut in [0, 3, header - 1, header, *range(header + 1, len(data), 37), len(data)]:
        path = tmp_path / "cut"
        path.write_bytes(data[:cut])
        journal = SummaryJournal(path, KEY)
        assert len(journal) == 5 * max(0, (cut - header) // size)
        journal.append(*batch(77))
        journal.close()
        again = SummaryJournal(path, KEY)
        assert len(again) == len(journal)
        np.testing.assert_array_equal(again.known(batch(77)[0])[1], batch(77)[1])


def test_a_flipped_bit_costs_what_follows_and_nothing_is_believed(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    journal = SummaryJournal(path, KEY)
    assert len(journal) in (5, 10)
    for seed in range(4):
        mask, values = journal.known(batch(seed)[0])
        np.testing.assert_array_equal(values, batch(seed)[1][mask])


@pytest.mark.parametrize("name", ["model", "summary", "autocast", "engine"])
def test_another_key_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "j")
    with pytest.raises(ValueError, match=rf"summaries of another {name} \(.*, now other\); name another"):
        SummaryJournal(path, replace(KEY, **{name: "other"}))


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    for content in (b"hello\n", b'{"format": "x"}\n', b"[1]\n"):
        (tmp_path / "j").write_bytes(content)
        with pytest.raises(ValueError, match="is no journal of summaries"):
            SummaryJournal(tmp_path / "j", KEY)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = SummaryJournal(tmp_path / "j", KEY)
    journal.append(*batch(0))
    monkeypatch.setattr("os.write", lambda file, data: 7)
    with pytest.raises(OSError, match=r"only 7 of \d+ bytes could be written; the disk may be full"):
        journal.append(*batch(1))


def test_of_two_summaries_the_first_stays(tmp_path: Path) -> None:
    journal = SummaryJournal(tmp_path / "j", KEY)
    digests, values = batch(0)
    journal.append(digests, values)
    journal.append(digests, values + 1)
    np.testing.assert_array_equal(journal.known(digests)[1], values)


def test_a_cache_reads_all_processes_and_needs_all_summaries(tmp_path: Path) -> None:
    for rank in range(3):
        cache = SummaryCache(tmp_path, "m0", writer=rank)
        digests, values = batch(rank)
        cache.append(digests, {"sum-count/1": values, "wide/1": values[:, [0, 1, 0]]})
        cache.close()
    cache = SummaryCache(tmp_path, "m0", writer=1)
    digests = np.concatenate([batch(s)[0] for s in range(4)])
    known, values = cache.known(["sum-count/1", "wide/1"], digests)
    assert known.tolist() == [True] * 15 + [False] * 5
    np.testing.assert_array_equal(values["sum-count/1"], np.concatenate([batch(s)[1] for s in range(3)]))
    assert values["wide/1"].shape == (15, 3)
    assert not cache.known(["sum-count/1", "third/1"], digests)[0].any()
    cache.learn(batch(3)[0], {"sum-count/1": batch(3)[1]})
    assert cache.known(["sum-count/1"], digests)[0].all()
    with pytest.raises(ValueError, match="another model"):
        SummaryCache(tmp_path, "m1").known(["sum-count/1"], digests)


def test_models_share_a_root_without_meeting(tmp_path: Path) -> None:
    for model in ("m0", "m1"):
        cache = SummaryCache.shared(tmp_path, model)
        cache.append(batch(0)[0], {"sum-count/1": batch(0)[1] + (model == "m1")})
        cache.close()
    found = SummaryCache.shared(tmp_path, "m1").known(["sum-count/1"], batch(0)[0])[1]["sum-count/1"]
    np.testing.assert_array_equal(found, batch(0)[1] + 1)
    assert not SummaryCache.shared(tmp_path, "m1", "bfloat16").known(["sum-count/1"], batch(0)[0])[0].any()


def test_a_cache_beside_is_written_to_and_read_where_wanted(tmp_path: Path) -> None:
    def own(name: str, read: bool) -> SummaryCache:
        return SummaryCache(tmp_path / name, "m0", beside=SummaryCache(tmp_path / "beside", "m0", writer=name),
                            read_beside=read)  # fmt: skip

    first = own("first", False)
    first.append(batch(0)[0], {"sum-count/1": batch(0)[1]})
    first.close()
    digests = np.concatenate([batch(s)[0] for s in range(2)])
    second = own("second", True)
    assert second.known(["sum-count/1"], digests)[0].tolist() == [True] * 5 + [False] * 5
    second.append(batch(1)[0], {"sum-count/1": batch(1)[1]})
    second.close()
    known, values = own("third", True).known(["sum-count/1"], digests)
    assert known.all()
    np.testing.assert_array_equal(values["sum-count/1"], np.concatenate([batch(s)[1] for s in range(2)]))
    assert not own("third", False).known(["sum-count/1"], digests)[0].any()
    assert own("first", True).known(["sum-count/1"], digests)[0].all(), "what is here and what is there"

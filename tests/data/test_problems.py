"""The account of problems: every one counted and located, and stopped where the policy says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.data.problems import ProblemKind, ProblemPolicy, ProblemReport
from lit_curriculum.data.records import is_validation, read_examples

LINES = [
    '{"id": "good", "instruction": "Q", "output": "A"}',
    '{"id": "none", "instruction": "Q2", "output": " "}',
    '{"instruction": "Q"',
    '{"id": "typed", "instruction": "Q3", "output": 3}',
    '{"id": "again", "prompt": "Q", "response": "A"}',
    '{"id": "last", "instruction": "Q4", "output": "A"}',
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(LINES))
    return path


def ids(file: Path, report: ProblemReport, policy: ProblemPolicy, limit: int | None = None) -> list[str]:
    return [e.id for e in read_examples([str(file)], policy, report, limit=limit)]


def test_every_problem_is_counted_and_located(file: Path) -> None:
    report = ProblemReport()
    assert ids(file, report, ProblemPolicy(malformed="skip", duplicate="skip")) == ["good", "last"]
    assert report.counts == {"malformed": 2, "empty_response": 1, "duplicate": 1}
    assert [(p.kind, p.source, p.id, p.action) for p in report.problems] == [
        ("empty_response", f"{file}:2", "none", "skip"),
        ("malformed", f"{file}:3", f"{file}:3", "skip"),
        ("malformed", f"{file}:4", "typed", "skip"),
        ("duplicate", f"{file}:5", "again", "skip"),
    ]
    assert report.problems[3].reason == f"says the same as {file}:1"
    assert report.num_read == 6


def test_kept_duplicates_are_reported_too(file: Path) -> None:
    report = ProblemReport()
    assert ids(file, report, ProblemPolicy(malformed="skip")) == ["good", "again", "last"]
    assert [(p.source, p.action) for p in report.first("duplicate")] == [(f"{file}:5", "keep")]


def test_limit_counts_records(file: Path) -> None:
    report = ProblemReport()
    assert ids(file, report, ProblemPolicy(malformed="skip"), limit=5) == ["good", "again"]
    assert report.num_read == 5


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({}, r"a\.jsonl:3: the record is not JSON .*; mend the record or set data\.malformed: skip\.$"),
        (
            {"malformed": "skip", "duplicate": "error"},
            r"a\.jsonl:5: example again says the same as .*a\.jsonl:1; .* data\.duplicate: keep or skip\.$",
        ),
        (
            {"empty_response": "error"},
            r"a\.jsonl:2: example none has an empty response; .* data\.empty_response: skip\.$",
        ),
    ],
)
def test_error_stops_with_place_id_and_option(file: Path, policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ids(file, ProblemReport(), ProblemPolicy(**policy))


@pytest.mark.parametrize("option", ["malformed", "empty_response", "duplicate", "too_long"])
def test_an_unknown_policy_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.{option} must be one of .*, got 'ignore'"):
        ProblemPolicy(**{option: "ignore"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "too_long", "action"),
    [
        ("truncated", "truncate", "truncate"),
        ("no_response_left", "truncate", "skip"),
        ("truncated", "skip", "skip"),
        ("no_response_left", "skip", "skip"),
    ],
)
def test_what_too_long_does(kind: ProblemKind, too_long: Any, action: str) -> None:
    assert ProblemReport().add(ProblemPolicy(too_long=too_long), kind, "f:1", "x", "is long") == action
    with pytest.raises(ValueError, match=r"raise data\.max_length or set data\.too_long: truncate or skip"):
        ProblemReport().add(ProblemPolicy(), kind, "f:1", "x", "is long")


def test_summary_and_file_round_trip(file: Path, tmp_path: Path) -> None:
    report = ProblemReport()
    report.num_kept = len(ids(file, report, ProblemPolicy(malformed="skip")))
    assert report.summary(locations=1) == (
        f"6 records read, 3 examples kept: 2 malformed (skipped; first at {file}:3); "
        f"1 empty_response (skipped; at {file}:2); 1 duplicate (kept; at {file}:5)."
    )
    report.save(tmp_path / "problems.json")
    again = ProblemReport.load(tmp_path / "problems.json")
    assert again.summary() == report.summary()
    assert again.problems == report.problems
    again.extend(report)
    assert again.counts["malformed"] == 4
    assert again.num_read == 12
    assert ProblemReport().summary() == "0 records read, 0 examples kept, no problems."


def test_a_split_is_decided_by_content_and_every_problem_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    rows = [f'{{"id": "{n}", "instruction": "Q{n % 150}", "output": "A"}}' for n in range(200)]
    path.write_text("\n".join([*rows, "broken"]))
    policy, reports = ProblemPolicy(malformed="skip"), (ProblemReport(), ProblemReport())
    train = list(read_examples([str(path)], policy, reports[0], split="train", val_fraction=0.25))
    val = list(read_examples([str(path)], policy, reports[1], split="val", val_fraction=0.25))
    assert sorted(e.id for e in train + val) == sorted(str(n) for n in range(200))
    assert not {e.content_hash for e in train} & {e.content_hash for e in val}
    assert 25 <= len(val) <= 75
    assert [r.counts.get("malformed", 0) for r in reports] == [1, 0]
    assert sum(r.counts["duplicate"] for r in reports) == 50
    assert sum(r.num_read for r in reports) == 201


def test_validation_share() -> None:
    hashes = [f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}" for n in range(10_000)]
    assert not any(is_validation(h, 0.0) for h in hashes)
    assert 950 <= sum(is_validation(h, 0.1) for h in hashes) <= 1050
    chosen = {h for h in hashes if is_validation(h, 0.1)}
    assert chosen <= {h for h in hashes if is_validation(h, 0.2)}

"""Building the cache: encoded once, complete or absent, and what does not fit is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.data.cache import requested_store
from lit_curriculum.data.encode import Encoder
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.store import EncodedStore, content_digest
from lit_curriculum.types import CONDITIONED, Example
from tests.data.toy_stores import assert_same, build, make_encoder, make_examples


def test_the_same_is_never_tokenised_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = make_examples(5)
    first = build(tmp_path, examples)

    def refuse(self: Encoder, *_: Any) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(Encoder, "encode", refuse)
    again = build(tmp_path, examples)
    assert again.fingerprint == first.fingerprint
    assert again.folders == first.folders
    for changed in (make_examples(5, start=1), make_examples(4)):
        with pytest.raises(AssertionError, match="tokenised again"):
            build(tmp_path, changed)
    for option in ({"max_length": 199}, {"turn_end": "excluded"}, {"boundary": "split"}, {"unconditioned": "bare"}):
        with pytest.raises(AssertionError, match="tokenised again"):
            build(tmp_path, examples, make_encoder(**option))


def test_ids_abilities_and_other_fields_belong_to_the_fingerprint(tmp_path: Path) -> None:
    def one(**more: Any) -> EncodedStore:
        return build(tmp_path, [to_example({"prompt": "Q", "response": "A", **more}, "f:1")])

    stores = [one(), one(id="1"), one(task="t"), one(level=1), one(level=2)]
    assert len({s.fingerprint for s in stores}) == 5
    assert len({content_digest(s) for s in stores}) == 1
    assert stores[4][0].meta == {"level": 2}


def test_nothing_unfinished_is_left_or_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Encoder, *_: Any) -> None:
        raise RuntimeError("out of disk")

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", broken)
        with pytest.raises(RuntimeError, match="out of disk"):
            build(tmp_path, make_examples(3))
    assert list((tmp_path / "encoded").iterdir()) == []
    store = build(tmp_path, make_examples(3))
    assert list((tmp_path / "encoded").iterdir()) == store.folders
    assert store.folders[0].name == store.fingerprint


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from lit_curriculum.data.encode import Encoder
from tests.data.toy_stores import build, make_examples
Encoder.encode = lambda *_: (print("writing", flush=True), time.sleep(60))
build(Path(sys.argv[1]), make_examples(3))
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    left = [p.name for p in (tmp_path / "encoded").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".writing-")
    assert_same(build(tmp_path, make_examples(3)), make_examples(3), make_encoder())


def test_writers_at_the_same_time_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(2)
    encode = Encoder.encode

    def together(self: Encoder, *arguments: Any) -> Any:
        meet.wait(timeout=60)
        return encode(self, *arguments)

    monkeypatch.setattr(Encoder, "encode", together)
    stores: list[EncodedStore] = []
    threads = [threading.Thread(target=lambda: stores.append(build(tmp_path, make_examples(6)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(Encoder, "encode", encode)
    assert stores[0].folders == stores[1].folders
    assert_same(stores[1], make_examples(6), make_encoder())
    assert list((tmp_path / "encoded").iterdir()) == stores[0].folders


def test_a_failed_rename_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError, match="read-only"):
        build(tmp_path, make_examples(2))


def long_and_short() -> list[Example]:
    fields = [("short", "A"), ("long", "A" * 60), ("hopeless", "A"), ("fits", "AB")]
    return [
        to_example({"id": i, "prompt": "Q" * (90 if i == "hopeless" else 1), "response": a}, f"f:{n}")
        for n, (i, a) in enumerate(fields, 1)
    ]


def test_too_long_is_an_error_that_counts_and_says_what_is_needed(tmp_path: Path) -> None:
    # "# Request\nQ\n\n# Reply\n" is 21 tokens of one byte.
    message = (
        r"^f:2: example long needs 81 tokens and would lose 31 of its response to data\.max_length=50, as would 1 more "
        r"\(111 tokens at most\); raise data\.max_length or set data\.too_long: truncate or skip\.$"
    )
    with pytest.raises(ValueError, match=message):
        build(tmp_path, long_and_short(), make_encoder(max_length=50))
    assert list((tmp_path / "encoded").iterdir()) == []


@pytest.mark.parametrize(
    ("too_long", "kept", "action"),
    [("skip", ["short", "fits"], "skip"), ("truncate", ["short", "long", "fits"], "truncate")],
)
def test_too_long_skipped_or_cut_is_reported(tmp_path: Path, too_long: Any, kept: list[str], action: str) -> None:
    report = ProblemReport()
    store = build(tmp_path, long_and_short(), make_encoder(max_length=50), report, ProblemPolicy(too_long=too_long))
    assert [e.id for e in store] == kept
    assert [e.index for e in store] == list(range(len(kept)))
    assert store.lengths(CONDITIONED).max() <= 50
    assert [(p.kind, p.source, p.id, p.action) for p in report.problems] == [
        ("truncated", "f:2", "long", action),
        ("no_response_left", "f:3", "hopeless", "skip"),
    ]
    assert (report.num_kept, report.counts) == (len(kept), {"truncated": 1, "no_response_left": 1})
    # The account lies beside the data, and the next run has it without tokenising.
    saved = json.loads((store.folders[0] / "problems.json").read_text())
    assert saved["counts"] == report.counts
    assert store.problems.summary() == report.summary()
    again = ProblemReport()
    build(tmp_path, long_and_short(), make_encoder(max_length=50), again, ProblemPolicy(too_long=too_long))
    assert again.summary() == report.summary()


def test_a_response_that_the_template_hides_is_reported(tmp_path: Path) -> None:
    encoder = make_encoder(turn_end="excluded")
    encoder.template.text = encoder.template.text.replace("message['content'] +", "(message['content'] | trim('.')) +")
    examples = [to_example({"prompt": "Q", "response": r}, f"f:{n}") for n, r in enumerate((".", "A"), 1)]
    report = ProblemReport()
    assert len(build(tmp_path, examples, encoder, report, ProblemPolicy(too_long="skip"))) == 1
    assert report.problems[0].reason.startswith("has no response token left, as the chat template shows nothing")


def test_an_empty_data_set_says_why(tmp_path: Path) -> None:
    report = ProblemReport()
    report.num_read = 2
    for line in (1, 2):
        report.add(ProblemPolicy(), "empty_response", f"f:{line}", "x", "has an empty response")
    message = (
        r"^data\.path: no example is left; 2 records read, 0 examples kept: 2 empty_response \(skipped; at f:1, f:2"
    )
    with pytest.raises(ValueError, match=message):
        build(tmp_path, [], report=report)
    skip = ProblemPolicy(too_long="skip")
    with pytest.raises(ValueError, match=r"^data\.path: no example is left; .* 1 truncated"):
        build(tmp_path, long_and_short()[1:2], make_encoder(max_length=50), policy=skip)


def test_a_request_is_remembered_until_the_data_are_gone(tmp_path: Path) -> None:
    calls = []

    def make() -> EncodedStore:
        calls.append(1)
        return build(tmp_path, make_examples(3))

    first = requested_store(["a", 1], tmp_path, make)
    assert requested_store(["a", 1], tmp_path, make).folders == first.folders
    assert len(calls) == 1
    requested_store(["a", 2], tmp_path, make)
    assert len(calls) == 2
    requested_store(None, tmp_path, make)
    requested_store(None, tmp_path, make)
    assert len(calls) == 4
    for file in sorted(first.folders[0].rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    first.folders[0].rmdir()
    assert len(requested_store(["a", 1], tmp_path, make)) == 3
    assert len(calls) == 5

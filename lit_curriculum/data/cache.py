"""Encodes a data set once and keeps it as Arrow files under a name made from everything that went into it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from lit_curriculum.data.encode import Encoder
from lit_curriculum.data.problems import ProblemKind, ProblemPolicy, ProblemReport
from lit_curriculum.data.store import DATA, INFO, PROBLEMS, EncodedStore
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Example, Message
from lit_curriculum.utils.files import atomic_path, write_atomic
from lit_curriculum.utils.progress import disable_dataset_progress, display


def requested_store(request: Any, cache_dir: Path, build: Callable[[], EncodedStore]) -> EncodedStore:
    """The store that was built for the same request, if it is still there, else a new one.

    Args:
        request: Anything JSON that names the data and all options, or none where the data have no name; then
            nothing is looked up or remembered.
        cache_dir: Where stores are built.
        build: Reads the data and makes the store.
    """
    found = known_store(request, cache_dir)
    if found is None:
        found = build()
        if request is not None:
            write_atomic(_note(request, cache_dir), found.fingerprint)
    return found


def known_store(request: Any, cache_dir: Path) -> EncodedStore | None:
    """The store that was built for the same request, if it is still there; see :func:`requested_store`."""
    note = None if request is None else _note(request, cache_dir)
    if note is None or not note.exists():
        return None
    folder = cache_dir / "encoded" / note.read_text(encoding="utf-8")
    return EncodedStore([folder]) if folder.exists() else None


def _note(request: Any, cache_dir: Path) -> Path:
    """File that holds the name of the store."""
    return cache_dir / "requests" / request_digest(request)


def request_digest(request: Any) -> str:
    """32 hexadecimal digits over anything JSON."""
    return hashlib.blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=16).hexdigest()


_ROWS = 1000  # rows written, tokenised and stored together
_TEXT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("content_hash", pa.string()),
        ("ability", pa.string()),
        ("roles", pa.list_(pa.string())),
        ("contents", pa.list_(pa.string())),
        ("meta", pa.string()),
    ]
)
_VIEW_FEATURES = {
    f"{view}_{column}": kind
    for view in (CONDITIONED, UNCONDITIONED)
    for column, kind in (
        ("ids", datasets.List(datasets.Value("int32"))),
        # Scored tokens as [start, end, start, end, ...]: a few numbers where a mask would double the file.
        ("spans", datasets.List(datasets.Value("int32"))),
        ("num_scored", datasets.Value("int32")),
    )
}
_CUT_FEATURES = {"num_tokens": datasets.Value("int32"), "num_lost": datasets.Value("int32")}


def build_store(
    examples: Iterable[Example],
    encoder: Encoder,
    policy: ProblemPolicy,
    report: ProblemReport,
    cache_dir: Path,
    option: str = "data.path",
) -> EncodedStore:
    """The encoded data set of ``examples``, from the cache where the same has been encoded before.

    The files are written to a temporary folder, which takes its final name only when complete: a writer that
    dies leaves nothing that is ever used, and of two at once the later finds the work done.

    Args:
        examples: Read once, in order; they take the indices 0, 1, ... in the store.
        encoder: Makes the tokens.
        policy: What to do about examples that are too long.
        report: Account of the reading so far; what is found here is added, and it is stored with the data.
        cache_dir: The data go into its folder ``encoded``.
        option: The yaml option that the data come from, for the message of the error.

    Raises:
        ValueError: no example is left, or one is too long and the policy says ``error``.
    """
    home = cache_dir / "encoded"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=home) as name:
        work = Path(name)
        fingerprint = _write_texts(examples, work / "texts.arrow", encoder, policy, report)
        final = home / fingerprint
        if final.exists():
            report.problems = (stored := ProblemReport.load(final / PROBLEMS)).problems
            report.num_kept = stored.num_kept
            return EncodedStore([final])
        _require_examples(report, option)
        with disable_dataset_progress():
            encoded = _encode(work, encoder, policy, report)
            _require_examples(report, option)
            with atomic_path(final) as draft:
                encoded.save_to_disk(draft / DATA)
                report.save(draft / PROBLEMS)
                info = {"fingerprint": fingerprint, "encoding": encoder.fingerprint, "identity": encoder.identity}
                (draft / INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
        return EncodedStore([final])


def _write_texts(
    examples: Iterable[Example], path: Path, encoder: Encoder, policy: ProblemPolicy, report: ProblemReport
) -> str:
    """Write what will not be encoded; return the fingerprint of the data set that it will become."""
    digest = hashlib.blake2b(digest_size=16)
    rows: list[dict[str, Any]] = []
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, _TEXT_SCHEMA) as writer:
        for example in examples:
            row = {
                "id": example.id,
                "source": example.source,
                "content_hash": example.content_hash,
                "ability": example.ability,
                "roles": [m.role for m in example.messages],
                "contents": [m.content for m in example.messages],
                "meta": json.dumps(dict(example.meta), default=str),
            }
            # The contents are in by their hash.
            named = [row[k] for k in ("id", "source", "content_hash", "ability", "meta")]
            digest.update(json.dumps(named).encode())
            rows.append(row)
            report.num_kept += 1
            if len(rows) == _ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, _TEXT_SCHEMA))
                rows.clear()
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, _TEXT_SCHEMA))
    found = [asdict(p) for p in report.problems]
    digest.update(json.dumps([encoder.fingerprint, asdict(policy), report.num_read, found]).encode())
    return digest.hexdigest()


def _encode(work: Path, encoder: Encoder, policy: ProblemPolicy, report: ProblemReport) -> datasets.Dataset:
    texts = datasets.Dataset.from_file(str(work / "texts.arrow"))
    with display("Tokenising", " examples") as advance:
        encoded = texts.map(
            partial(_encode_rows, encoder=encoder, advance=lambda done: advance(done, len(texts))),
            batched=True,
            batch_size=_ROWS,
            with_indices=True,
            features=datasets.Features({**texts.features, **_VIEW_FEATURES, **_CUT_FEATURES}),
            load_from_cache_file=False,
            cache_file_name=str(work / "tokens.arrow"),
            # A name of our own: hashing the encoder with its vocabulary would take longer than it saves.
            new_fingerprint=work.name.strip("."),
        )
    table = encoded.data.table
    num_lost = table.column("num_lost").to_numpy()
    num_tokens = table.column("num_tokens").to_numpy()
    num_left = table.column(f"{CONDITIONED}_num_scored").to_numpy()
    dropped = np.zeros(len(encoded), dtype=bool)
    for row in np.flatnonzero((num_lost > 0) | (num_left == 0)):
        kind: ProblemKind = "truncated" if num_left[row] > 0 else "no_response_left"
        if num_lost[row]:
            reason = (
                f"needs {num_tokens[row]} tokens and would lose {num_lost[row]} of its response to "
                f"data.max_length={encoder.options.max_length}"
            )
            if policy.too_long == "error" and (others := int((num_lost > 0).sum()) - 1):
                reason += f", as would {others} more ({num_tokens[num_lost > 0].max()} tokens at most)"
        else:
            reason = "has no response token left, as the chat template shows nothing of the response"
        source, name = (table.column(c)[int(row)].as_py() for c in ("source", "id"))
        dropped[row] = report.add(policy, kind, source, name, reason) == "skip"
    report.num_kept -= int(dropped.sum())
    if dropped.any():
        encoded = encoded.select(np.flatnonzero(~dropped))
    return encoded.remove_columns(list(_CUT_FEATURES))


def _encode_rows(
    rows: Mapping[str, list[Any]], indices: list[int], encoder: Encoder, advance: Callable[[int], None]
) -> dict[str, list[Any]]:
    conversations = [
        tuple(Message(role=role, content=content) for role, content in zip(roles, contents, strict=True))
        for roles, contents in zip(rows["roles"], rows["contents"], strict=True)
    ]
    where = [f"{source} ({name})" for source, name in zip(rows["source"], rows["id"], strict=True)]
    out: dict[str, list[Any]] = {name: [] for name in (*_VIEW_FEATURES, *_CUT_FEATURES)}
    for example in encoder.encode(conversations, where):
        for name, view in ((CONDITIONED, example.conditioned), (UNCONDITIONED, example.unconditioned)):
            edges = np.flatnonzero(np.diff(view.scored, prepend=False, append=False))
            out[f"{name}_ids"].append(view.input_ids)
            out[f"{name}_spans"].append(edges.astype(np.int32))
            out[f"{name}_num_scored"].append(int(view.scored.sum()))
        out["num_tokens"].append(example.num_tokens)
        out["num_lost"].append(example.num_lost)
    advance(indices[-1] + 1)
    return out


def _require_examples(report: ProblemReport, option: str) -> None:
    if report.num_kept == 0:
        raise ValueError(f"{option}: no example is left; {report.summary()}")

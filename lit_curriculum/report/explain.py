"""Answer questions from the ledger of a run: the history of an example, the choice of a stage, what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from lit_curriculum.report.ledger import Ledger, StageState, ranks

Cell = str | int | float | None


@dataclass(slots=True)
class Answer:
    """An answer: lines of text and a table."""

    lines: list[str]
    columns: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)


def overview(ledger: Ledger) -> Answer:
    """Every stage in a line, and how much of the data was never trained on or left out."""
    info = ledger.info
    answer = Answer([f"{info['policy']}, metrics: {', '.join(info['metrics']) or 'none'}"])
    answer.columns = [
        "stage",
        "examples",
        "scored",
        "chosen",
        "new",
        "trained",
        "mean loss",
        "tokens scored",
        "tokens trained",
    ]
    before = np.zeros(0, np.bool_)
    for state in ledger.states():
        chosen = state.times > 0
        before = np.append(before, np.zeros(len(chosen) - len(before), np.bool_))
        planned = ledger.planned_info(state.stage)
        row: list[Cell] = [
            state.stage,
            len(chosen),
            planned["candidates"],
            int(chosen.sum()),
            int((chosen & ~before).sum()),
        ]
        if state.stage in ledger.trained_stages:
            trained = ledger.trained_info(state.stage)
            loss = pc.mean(ledger.trained(state.stage).column("loss")).as_py()
            row += [trained["entries"], loss, planned["scored_tokens"], trained["tokens"]]
        else:
            row += [None, None, planned["scored_tokens"], None]
        answer.rows.append(row)
        before |= chosen
    never = int((ledger.times_trained() == 0).sum())
    answer.lines.append(f"{never} of {len(before)} examples were never trained on (--never-trained lists them).")
    answer.lines.append(f"{_num_dropped(ledger)} records were left out of the data (--dropped lists them).")
    return answer


def by_id(ledger: Ledger, name: str) -> NDArray[np.int64]:
    """[K] indices of the examples with the id ``name``.

    Raises:
        ValueError: there is none.
    """
    found = np.flatnonzero(pc.equal(ledger.examples(["id"]).column("id"), name).to_numpy())
    if len(found):
        return found
    problems = ledger.dropped()
    of_it = problems.filter(pc.equal(problems.column("id"), name)).to_pylist()
    if of_it:
        raise ValueError(f"record {name!r} ({of_it[0]['source']}) is not among the examples: it {of_it[0]['reason']}.")
    raise ValueError(f"no example of {ledger.folder} has the id {name!r}; --text WORDS searches what they say.")


def by_text(ledger: Ledger, words: str) -> pa.Table:
    """The examples whose instruction or response, as far as it is kept, holds ``words`` in any case.

    Raises:
        ValueError: there is none.
    """
    rows = ledger.examples(["index", "id", "source", "ability", "instruction", "response"])
    holds = [pc.match_substring(rows.column(c), words, ignore_case=True) for c in ("instruction", "response")]
    found = rows.filter(pc.or_(*holds))
    if not found.num_rows:
        raise ValueError(f"no example of {ledger.folder} holds {words!r} in the beginning of its text that is kept.")
    return found


def listing(rows: pa.Table) -> Answer:
    """Several examples, a line each."""
    answer = Answer([f"{rows.num_rows} examples:"], ["id", "source", "ability", "instruction", "response"])
    answer.rows = [[r[c] for c in answer.columns] for r in rows.to_pylist()]
    return answer


def history(ledger: Ledger, index: int, stage: int | None = None) -> Answer:
    """History of an example, in every stage or in one.

    Raises:
        ValueError: there is no such stage, or the example came later.
    """
    example = ledger.examples().slice(index, 1).to_pylist()[0]
    head = [f"{example['id']} ({example['source']})"]
    if example["ability"] is not None:
        head[0] += f", {example['ability']}"
    head[0] += f": {example['tokens']} tokens, {example['scored_tokens']} of them the response's"
    head += [f"  instruction: {_one_line(example['instruction'])}", f"  response: {_one_line(example['response'])}"]
    answer = Answer(head, ["stage", *ledger.metrics, "scored now", "place", "why", "times", "loss"])
    if stage is not None:
        ledger.planned_info(stage)
    total, last = 0, ""
    for state in ledger.states():
        if index >= len(state.times):
            continue
        row: list[Cell] = [state.stage, *(_standing(ledger, state, metric, index) for metric in ledger.metrics)]
        chosen = state.place[index] >= 0
        where = f"{state.place[index] + 1} of {ledger.planned_info(state.stage)['selected']}" if chosen else None
        row += ["yes" if state.candidate[index] else "no", where, state.reasons[state.reason[index]]]
        times, loss = _trained(ledger, state.stage, index)
        row += [times, loss]
        if times and isinstance(times, int):
            total += times
            last = "" if loss is None else f"; last loss {loss:.4g} in stage {state.stage}"
        if stage in (None, state.stage):
            answer.rows.append(row)
    if stage is not None and not answer.rows:
        raise ValueError(f"example {example['id']!r} came into the data after stage {stage}.")
    answer.lines.append(f"trained on {total} times{last}")
    return answer


def of_stage(ledger: Ledger, stage: int) -> Answer:
    """What a stage chose, in order, and how many examples there were for each reason.

    Raises:
        ValueError: there is no such stage.
    """
    state, planned = ledger.state(stage), ledger.planned_info(stage)
    counts = np.bincount(state.reason, minlength=len(state.reasons))
    answer = Answer([f"stage {stage}, planned at step {planned['step']}: {len(state.times)} examples, "
                     f"{planned['candidates']} scored for it, {planned['selected']} entries to train on"])  # fmt: skip
    answer.lines += [f"  {counts[c]:>8}  {state.reasons[c]}" for c in np.argsort(-counts, kind="stable") if counts[c]]
    answer.lines += [f"  {k} = {v:.6g}" for k, v in planned["scalars"].items()]
    if stage not in ledger.trained_stages:
        answer.lines.append("  its training has not ended")
    answer.columns = ["place", "id", *ledger.metrics, "times", "why", "loss"]
    names = ledger.examples(["id"]).column("id")
    losses = np.full(len(state.times), np.nan)
    if stage in ledger.trained_stages:
        rows = ledger.trained(stage)
        losses[rows.column("index").to_numpy()] = rows.column("loss").to_numpy()
    for i in state.chosen.tolist():
        scores: list[Cell] = [_number(values[i]) for values in state.scores.values()]
        reason = state.reasons[state.reason[i]]
        answer.rows.append(
            [int(state.place[i]) + 1, names[i].as_py(), *scores, int(state.times[i]), reason, _number(losses[i])]
        )
    return answer


def never_trained(ledger: Ledger) -> Answer:
    """The examples that no stage which has ended has trained on, with the scores and the reason of the last one."""
    state = ledger.state(max(ledger.stages))
    never = np.flatnonzero(ledger.times_trained() == 0)
    answer = Answer([f"{len(never)} of {len(state.times)} examples were never trained on:"])
    answer.columns = ["id", "source", "ability", *ledger.metrics, "why not in the last stage"]
    examples = ledger.examples(["id", "source", "ability"]).take(pa.array(never)).to_pylist()
    for i, example in zip(never.tolist(), examples, strict=True):
        scores: list[Cell] = [_number(values[i]) for values in state.scores.values()]
        reason = state.reasons[state.reason[i]]
        answer.rows.append([example["id"], example["source"], example["ability"], *scores, reason])
    return answer


def dropped(ledger: Ledger) -> Answer:
    """The records with a problem: those left out, and those that were cut or kept all the same."""
    rows = ledger.dropped().to_pylist()
    out = sum(r["action"] == "skip" for r in rows)
    answer = Answer([f"{out} records were left out of the data, {len(rows) - out} with a problem were kept:"])
    answer.columns = ["source", "id", "kind", "action", "reason"]
    answer.rows = [[r[c] for c in answer.columns] for r in sorted(rows, key=lambda r: r["action"] != "skip")]
    return answer


def write_csv(answer: Answer, path: Path) -> None:
    """Write all rows of the table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: Sequence[Sequence[Any]] = list(zip(*answer.rows, strict=True)) or [[] for _ in answer.columns]
    # By way of text: a column may hold numbers and words.
    texts = [pa.array([None if v is None else str(v) for v in column], pa.string()) for column in columns]
    pa.csv.write_csv(pa.table(texts, names=answer.columns), path)


def _standing(ledger: Ledger, state: StageState, metric: str, index: int) -> str | None:
    """Score, rank and age of an example by one metric, in words."""
    scores, at = state.scores[metric], int(state.scored_at[metric][index])
    if at < 0:
        return None
    place = int(ranks(scores, ledger.info["metrics"][metric]["higher_is_harder"])[index])
    text = f"{scores[index]:.5g}, hardest {place} of {int(np.isfinite(scores).sum())}" if place else "no score"
    return text if at == state.stage else f"{text} (of stage {at})"


def _trained(ledger: Ledger, stage: int, index: int) -> tuple[Cell, float | None]:
    if stage not in ledger.trained_stages:
        return "not ended", None
    rows = ledger.trained(stage)
    place = int(np.searchsorted(rows.column("index").to_numpy(), index))
    if place == rows.num_rows or rows.column("index")[place].as_py() != index:
        return 0, None
    return rows.column("times")[place].as_py(), rows.column("loss")[place].as_py()


def _num_dropped(ledger: Ledger) -> int:
    return int(pc.sum(pc.equal(ledger.dropped().column("action"), "skip")).as_py() or 0)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())

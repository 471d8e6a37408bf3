"""Open prompts of ``lit-curriculum evaluate``: the judge from its yaml, and the answers that it compares with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from lit_curriculum.distill.roles import JudgeItem, PairJudge
from lit_curriculum.evaluation.evaluator import Judge
from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.tasks.read import need, read_records
from lit_curriculum.progress import Show, no_display

_PART = 64
"""Pairs that the judge is given at a time."""


def read_judge(path: Path) -> PairJudge:
    """The judge that a yaml names by ``class_path`` and ``init_args``, its chat client inside.

    Raises:
        ValueError: there is no such file, or it names no pair judge or an option that the judge does not have.
    """
    if not path.is_file():
        raise ValueError(f"--judge: there is no file {path}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PairJudge, "judge", required=True)
    try:
        config = parser.parse_object({"judge": yaml.safe_load(path.read_text(encoding="utf-8"))})
    except (ArgumentError, yaml.YAMLError) as error:
        raise ValueError(f"--judge {path.name} describes no pair judge: {' '.join(str(error).split())}") from error
    judge: PairJudge = parser.instantiate(config).judge
    return judge


def with_references(items: Sequence[EvalItem], path: Path) -> list[EvalItem]:
    """The items, open ones with the answers of ``path`` to compare with.

    Args:
        items: Of any kind.
        path: Lines with ``id`` and ``answer``, such as the ``items.jsonl`` of another model's evaluation.

    Raises:
        ValueError: the file is missing or a line lacks a field.
    """
    answers = {str(need(r, "id", where)): str(need(r, "answer", where)) for where, r in read_records(path)}
    return [replace(i, gold=answers[i.id]) if i.kind == "open" and i.id in answers else i for i in items]


def refuse_without_reference(items: Sequence[EvalItem]) -> None:
    """Refuse open items that a judge could compare with nothing.

    Raises:
        ValueError: an open item has no reference answer.
    """
    bare = [item for item in items if item.kind == "open" and not item.gold]
    if bare:
        raise ValueError(
            f"{bare[0].source}: item {bare[0].id} and {len(bare) - 1} more have no answer to compare with; give "
            "--reference FILE with their id and answer, such as another model's items.jsonl."
        )


def pair_scores(judge: PairJudge, kept: Path, show: Show = no_display) -> Judge:
    """A pair judge as what the evaluator asks: 1 where the answer beats the reference, 0.5 for a tie.

    Args:
        judge: Rates both answers.
        kept: File that the answers are written to before the judge is asked, so that they are not lost with it.
        show: Shows how far the judge has come.

    Raises:
        ValueError: (when it judges) the judge's answer on a pair could not be read; a guess would hide that.
    """

    def scores(pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        names = ("question", "reference", "answer")
        lines = [json.dumps(dict(zip(names, pair, strict=True)), ensure_ascii=False) for pair in pairs]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        found = []
        with show("Judgements", " answers") as progress:
            for start in range(0, len(pairs), _PART):
                found += judge.judge([JudgeItem(*pair) for pair in pairs[start : start + _PART]])
                if progress is not None:
                    progress(len(found), len(pairs))
        broken = sum(not one.valid for one in found)
        if broken:
            raise ValueError(
                f"the judge {judge.version} gave no readable answer on {broken} of {len(found)} pairs; the answers are "
                f"in {kept}."
            )
        gaps = [one.score_student - one.score_teacher for one in found]
        return [1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps]

    return scores

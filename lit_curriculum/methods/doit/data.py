"""Training data in the folder layout of the DoIT data set; needs a local copy, nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.formats import MalformedRecordError
from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.records import Split, identify, read_examples
from lit_curriculum.types import Example

SYNTHETIC = "synthetic"
"""Ability of the pooled general rows, whatever they call themselves."""
FULL_ROWS: Mapping[str, int] = {
    "biology": 1041, "chinese": 1434, "code": 4968, "creative_writing": 1000, "ethics": 1000, "history": 1856,
    "math": 11501, "reasoning": 12751, "role_play": 1000, "understanding": 4885, SYNTHETIC: 40960,
}  # fmt: skip
"""Rows of the files ``full`` by a third party's count; revisions of the data may differ, and then it is said."""


class DoITDataModule(InstructionDataModule):
    """Conversations in the layout of DoIT, an ability each.

    Below ``root`` lie ``curated/full`` or ``curated/1000`` (training), ``curated/valid`` and ``curated/test``
    (validation) and ``synthetic/40960``, each with one file of JSON lines an ability. A row has ``messages``, ``type``
    (its ability), ``idx`` and ``question_format``; validation rows of open questions have ``choices``, gold first,
    and those of mathematics an ``answer``. A validation row that ends with the user's turn is completed with these.
    Its loss is taken here; exact match and ranking are what ``lit-curriculum evaluate --task doit=FOLDER`` measures.

    Args:
        root: Folder that holds ``curated``.
        part: Training rows: all (``full``) or the ladder's pool of 1,000 an ability (``1000``).
        synthetic: Also train on the pooled rows, under the ability ``synthetic``.
        val_part: Validation rows: ``valid``, ``test``, or ``both`` with their ``split`` in ``meta``, so that a growth
            study chooses checkpoints on the one and reports the other; null for none.
        tokenizer: As for the next options, see :class:`~lit_curriculum.InstructionDataModule`.
        template: Chat template.
        max_length: Largest number of tokens of an example.
        too_long: What to do about a response that does not fit; the paper keeps the head.
        batch_size: Examples in a training batch, all ranks together.
        eval_batch_size: Examples in a validation batch of each rank.
        num_workers: Processes of each loader.
        cache_dir: Where encoded data are kept.

    Raises:
        ValueError: a folder is missing, or an option is out of range.

    References:
        Song et al. 2023, arXiv 2310.19651; the data set's card.
    """

    def __init__(
        self,
        root: str,
        part: Literal["full", "1000"] = "full",
        synthetic: bool = False,
        val_part: Literal["valid", "test", "both"] | None = "valid",
        tokenizer: str | None = None,
        template: str = "auto",
        max_length: int | None = None,
        too_long: Literal["error", "skip", "truncate"] = "truncate",
        batch_size: int = 64,
        eval_batch_size: int = 16,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        self.root = Path(root)
        train = [self._folder("curated", part)]
        if synthetic:
            train.append(self._folder("synthetic", "40960"))
        parts = () if val_part is None else ("valid", "test") if val_part == "both" else (val_part,)
        super().__init__(
            path=train,
            val_path=[self._folder("curated", name) for name in parts],
            tokenizer=tokenizer,
            template=template,
            max_length=max_length,
            too_long=too_long,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            cache_dir=cache_dir,
        )
        self.part = part

    def _folder(self, *names: str) -> str:
        folder = self.root.joinpath(*names)
        if not folder.is_dir():
            raise ValueError(
                f"data.root={self.root} has no folder {'/'.join(names)}; give the folder of the DoIT data that holds "
                "curated/full, curated/1000, curated/valid, curated/test and, for data.synthetic, synthetic/40960."
            )
        return str(folder)

    @override
    def load_examples(self, split: Split, report: ProblemReport) -> Iterator[Example]:
        counts: dict[str, int] = {}
        paths = self.val_paths if split == "val" else self.paths
        for example in read_examples(paths, self.policy, report, adapt=doit_fields):
            assert example.ability is not None
            counts[example.ability] = counts.get(example.ability, 0) + 1
            yield example
        if split == "train" and self.part == "full":
            differing = [f"{a} {n} (not {FULL_ROWS[a]})" for a, n in sorted(counts.items()) if FULL_ROWS.get(a, n) != n]
            if differing:
                rank_zero_warn(f"data.root: rows differ from the published count: {', '.join(differing)}; recipes of "
                               "the paper will differ with them.")  # fmt: skip

    @override
    def source_key(self, split: Split) -> str:
        return json.dumps(["doit", 1, *identify(self.val_paths if split == "val" else self.paths)])


def doit_fields(fields: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A row of DoIT as a conversation with an ability and an id; what is left stays in ``meta``.

    Args:
        fields: The row.
        source: ``file:line``; a file below ``synthetic/`` is the pooled ability.

    Raises:
        MalformedRecordError: the row has no ``messages`` or no ``type``, or a question without any answer.
    """
    path, _, line = source.rpartition(":")
    turns, ability = fields.get("messages"), fields.get("type")
    if Path(path).parent.parent.name == SYNTHETIC:
        ability = SYNTHETIC
    if not isinstance(turns, list) or not turns:
        raise MalformedRecordError("has no messages; is this a file of the DoIT data?")
    if not isinstance(ability, str) or not ability:
        raise MalformedRecordError("has no type, which names its ability")
    last = turns[-1]
    if isinstance(last, dict) and last.get("role") == "user":
        choices = fields.get("choices")
        answer = choices[0] if isinstance(choices, list) and choices else fields.get("answer")
        if answer is None:
            raise MalformedRecordError("ends with a question and has neither choices nor an answer")
        turns = [*turns, {"role": "assistant", "content": str(answer)}]
    kept = {name: value for name, value in fields.items() if name not in ("messages", "type", "idx")}
    if (part := Path(path).parent.name) in ("valid", "test"):
        kept["split"] = part
    return {**kept, "messages": turns, "ability": ability, "id": f"{ability}-{fields.get('idx', line)}"}

"""Readers of evaluation data: from a file and the name of its format to items."""

from lit_curriculum.evaluation.tasks.load import FORMATS, load_items

__all__ = ["FORMATS", "load_items"]

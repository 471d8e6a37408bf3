"""Readers of evaluation data: from a file and the name of its format to items."""

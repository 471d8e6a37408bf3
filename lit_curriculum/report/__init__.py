"""Figures, tables and a page from the files of runs. Imports no torch."""

"""The commands of ``lit-curriculum``, imported by :mod:`lit_curriculum.cli` when they are given."""

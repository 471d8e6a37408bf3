"""Answers and likelihoods judged: items, parsers, tasks, sandboxed programs, intervals."""

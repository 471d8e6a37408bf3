"""TAPIR's teacher side: chat clients, pair judge, task classifier, expander, refiner (arXiv 2405.13448)."""

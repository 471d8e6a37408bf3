"""The teacher side of TAPIR: judge, expander, refiner and task classifier."""

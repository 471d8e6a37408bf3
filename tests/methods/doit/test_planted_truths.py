"""From stored records, the finished growth studies say the same of the planted truths again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit_curriculum.methods.doit.study.growth_records import read_records
from lit_curriculum.methods.doit.study.sensitivity import analyse

RESULTS = Path(__file__).parents[3] / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("growth_study*/records.jsonl"))
RECOVERED = {
    "growth_study_first": {"lookup"},
    "growth_study_second": {"echo", "noise"},
    "growth_study_third": {"lookup", "noise"},
}
PLANTED = {"noise": ("resistant",), "echo": ("saturated",), "lookup": ("responsive", "accelerating")}


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_the_stored_records_give_the_classes_that_were_reported(study: str) -> None:
    found = {a.ability: a for a in analyse(read_records(RESULTS / study / "records.jsonl"))}
    stored = {fit["ability"]: fit for fit in json.loads((RESULTS / study / "fits.json").read_text())}
    assert {a: g.growth_class for a, g in found.items()} == {a: fit["growth_class"] for a, fit in stored.items()}
    for ability, growth in found.items():
        assert growth.slope.value == pytest.approx(stored[ability]["slope"]["value"])
    recovered = {a for a, classes in PLANTED.items() if found[a].growth_class in classes}
    assert recovered == RECOVERED.get(study, recovered)
    assert min(growth.num_seeds for growth in found.values()) >= 5

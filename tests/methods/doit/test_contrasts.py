"""Size and method: planted slopes and areas come back, curves meet where they should, and all findings are gathered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lit_curriculum.methods.doit.study.contrasts import crossovers, meeting_point, method_gap, size_growth
from lit_curriculum.methods.doit.study.findings import find
from lit_curriculum.methods.doit.study.fits import Curve
from lit_curriculum.methods.doit.study.sensitivity import analyse
from tests.methods.doit.contrast_toys import of
from tests.methods.doit.transfer_studies import study as transfer_study


def test_the_slope_over_size_is_per_doubling() -> None:
    records = [r for k in range(3) for r in of("curated", f"s{k}", 2.0**k, 0.05, 0.2 + 0.1 * k)]
    (found,) = size_growth(records, num_resamples=200)
    assert found.slope.value == pytest.approx(0.1, abs=2e-3)
    assert found.slope.low <= found.slope.value <= found.slope.high
    assert (found.growth_class, found.sizes, found.num_seeds) == ("responsive", ("s0", "s1", "s2"), 2)
    (flat,) = size_growth(of("curated", "s", 1.0, 0.05, 0.2) + of("curated", "l", 8.0, 0.05, 0.2), num_resamples=50)
    assert flat.slope.value == pytest.approx(0.0)
    assert flat.growth_class == "undetermined"  # every item alike in both sizes: resampling says nothing
    assert size_growth(of("curated", "s", 1.0, 0.05, 0.2)) == []


def test_the_gap_between_methods_is_an_area_over_its_width() -> None:
    curated, synthetic = of("curated", "s", 1.0, 0.08, 0.2), of("synthetic", "s", 1.0, 0.04, 0.2)
    found = method_gap(curated, synthetic, num_resamples=200)
    assert found.value == pytest.approx(0.04 * 2.5, abs=2e-3)  # mean of 0, 0.04, ..., 0.20 over x in [0, 5]
    assert 0 < found.low <= found.value <= found.high
    part = method_gap(curated, [r for r in synthetic if r.rung <= 16], num_resamples=20)
    assert part.value == pytest.approx(0.04, abs=2e-3)
    with pytest.raises(ValueError, match="the arms curated and synthetic share 1 rungs of the same seeds"):
        method_gap(curated, [r for r in synthetic if r.rung == 4])


def test_curves_of_any_family_meet_where_their_difference_changes_sign() -> None:
    first = Curve(family="log_linear", params=(0.1, 0.1), chance=0.0, aicc=0.0)
    second = Curve(family="log_linear", params=(0.3, 0.02), chance=0.0, aicc=0.0)
    logistic = Curve(family="logistic", params=(0.9, 4.0, 2.5), chance=0.0, aicc=0.0)
    assert meeting_point(first, second, 1, 1000) == pytest.approx(4**2.5)  # 4^((a2 - a1) / (b1 - b2))
    assert meeting_point(first, second, 1, 8) is None
    meeting = meeting_point(first, logistic, 1, 1000)
    assert meeting is not None
    assert first(meeting) == pytest.approx(logistic(meeting))
    gains = meeting_point(first, logistic, 16, 1000, of_gain=True)
    assert gains is not None
    assert first.gain(gains) == pytest.approx(logistic.gain(gains))


def test_crossovers_name_who_is_ahead() -> None:
    records = of("curated", "small", 1.0, 0.02, 0.4) + of("curated", "large", 4.0, 0.1, 0.2)
    (found,) = crossovers(analyse(records, num_resamples=50))
    assert (found.kind, found.first, found.second) == ("size", "a (curated, small)", "a (curated, large)")
    assert found.rows == pytest.approx(4**2.5, rel=0.05)
    assert crossovers(analyse(of("curated", "small", 1.0, 0.02, 0.4), num_resamples=20)) == []


def test_all_findings_are_gathered_and_are_plain() -> None:
    sizes = [of("curated", f"s{k}", 1e6 * 4.0**k, 0.08, 0.2) for k in range(2)]
    losses = [replace(r, nll=0.5 + 20 * r.params**-0.3 + r.rung**-0.5) for part in sizes for r in part]
    records = losses + of("synthetic", "s0", 1e6, 0.04, 0.2)
    records += [replace(r, params=1e6, size="s0") for r in transfer_study() if r.arm != "curated"]
    records += [replace(r, params=1e6, size="s0") for r in transfer_study() if r.arm == "curated" and r.ability == "b"]
    with pytest.raises(ValueError, match=r"b \(curated, s0\) was measured at 1 rungs"):
        find(records, num_resamples=20)
    found = find([r for r in records if r.ability == "a"], num_resamples=20)
    plain = json.loads(json.dumps(found.to_json()))
    assert set(plain["method"]) == {"a (s0)"}
    assert plain["method"]["a (s0)"]["value"] == pytest.approx(0.1, abs=5e-3)
    assert [s["ability"] for s in plain["sizes"]] == ["a"]
    assert plain["transfer"]["sources"] == ["a", "b"]
    assert set(plain["transference"]) == {"a"}
    assert plain["laws"]["a"]["data_exponent"]["value"] == pytest.approx(0.5, abs=0.02)
    assert plain["complexity"]["a"] == 1.0
    assert plain["correlations"] == {}  # one ability has no ranks

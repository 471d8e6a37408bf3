"""Tables, figures and warnings about a group of comparable runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_curriculum.report import ledger_views as views
from lit_curriculum.report import run_figures as draw
from lit_curriculum.report.compare import Comparable, Difference, break_even, lower_is_better
from lit_curriculum.report.figures import correlation_matrix, mixture, share_matrix
from lit_curriculum.report.ledger import Ledger
from lit_curriculum.report.runs import Run
from lit_curriculum.report.tables import Table

FEW_SEEDS = 5
UNEQUAL_TOKENS = 0.05
"""Share by which conditions may differ in tokens before a warning says so."""


@dataclass(frozen=True, slots=True)
class NamedFigure:
    """A figure with the name of its file and what it shows."""

    name: str
    caption: str
    figure: Figure


def tables(group: Comparable, control: str | None, differences: Sequence[Difference], measure: str) -> list[Table]:
    """Tables of runs: data and model, outcome, cost."""
    found = [_outcomes(group, control, differences, measure), _costs(group, control, measure)]
    firsts = {label: runs[0].ledger for label, runs in group.conditions.items()}
    kept = {label: ledger for label, ledger in firsts.items() if ledger is not None}
    if kept:
        used = [[label, *views.usage(ledger)] for label, ledger in kept.items()]
        note = "Examples of the first run of each condition, by how often they were trained on."
        found.append(Table("usage", "Use of the data", ["condition", *views.USAGE], used, note))
    for number, (label, ledger) in enumerate(kept.items()):
        metric = views.most_alive(ledger)
        if metric is not None:
            table = views.examples_table(ledger, metric)
            found.append(replace(table, name=f"examples_{number}", title=f"Examples, {label}"))
    return [*found, _setting(group)]


def _outcomes(group: Comparable, control: str | None, differences: Sequence[Difference], measure: str) -> Table:
    by_label = {d.label: d for d in differences}
    rows = []
    columns = ["condition", measure, "seeds", *(("against the control", "p") if control is not None else ())]
    for label, runs in group.conditions.items():
        values = np.array([r.final(measure) for r in runs])
        spread = f" (sd {values.std(ddof=1):.3g})" if len(values) > 1 else ""
        d = by_label.get(label)
        against = "control" if label == control else "" if d is None else _interval(d)
        p_value = "" if d is None or not np.isfinite(d.p_value) else f"{d.p_value:.2g}"
        seeds = ", ".join(str(r.seed) for r in runs)
        rows.append([label, f"{values.mean():.4g}{spread}", seeds, against, p_value][: len(columns)])
    note = (
        f"Value of the last validation. Differences are to {control}, paired by seed, with 95 % t intervals; p is "
        "corrected for the number of conditions (Benjamini and Hochberg)."
        if differences
        else "Value of the last validation. There is no control among these runs: add one of random order "
        "(configs/curriculum/uniform.yaml) with the same data and budget."
    )
    return Table("outcomes", "Outcome", columns, rows, note)


def _interval(d: Difference) -> str:
    if not np.isfinite(d.low):
        return f"{d.mean:+.4g} ({d.pairs} pair{'s' * (d.pairs != 1)}: no interval)"
    return f"{d.mean:+.4g} [{d.low:+.4g}, {d.high:+.4g}]"


def _costs(group: Comparable, control: str | None, measure: str) -> Table:
    target = None if control is None else float(np.mean([r.final(measure) for r in group.conditions[control]]))
    rows = []
    for label, runs in group.conditions.items():
        seconds = _mean(r.training_seconds for r in runs), _mean(r.refresh_seconds for r in runs)
        counts = [
            _mean(counted) for counted in zip(*((r.examples, r.tokens, r.scored_tokens) for r in runs), strict=True)
        ]
        cells = [label, *(f"{c:,.0f}" for c in counts), *(f"{s:,.1f}" for s in seconds)]
        cells.append(f"{100 * seconds[1] / max(sum(seconds), 1e-9):.0f} %")
        if target is not None:
            reached = [break_even(r, target, measure, lower_is_better(measure)) for r in runs]
            times = [t for t in reached if t is not None]
            cells.append(f"{np.mean(times):,.1f} s ({len(times)} of {len(runs)} runs)" if times else "never")
        rows.append(cells)
    columns = ["condition", "examples", "tokens trained", "tokens scored", "training (s)", "refreshes (s)", "share"]
    note = "Means over runs. Refreshes are scoring, selecting and training metrics; share is theirs of all seconds."
    if target is not None:
        columns.append("time to the control's end")
        note += (
            f" The last column is when a run first was as good as the control's final {measure} ({target:.4g}), "
            "scoring included: where it is above the control's own time, the curriculum costs more than it saves."
        )
    return Table("costs", "Cost", columns, rows, note)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _setting(group: Comparable) -> Table:
    card = group.runs[0].card
    data, model, machine = card["data"], card["model"], card["machine"]
    read = data["records_read"] or data["examples"]
    problems = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in data["problems"].items())
    weights = f"{model['parameters']:,} weights, {model['trained_parameters']:,} trained"
    place = f"{machine['ranks']} process{'es' * (machine['ranks'] > 1)}, {machine['precision']} on {machine['device']}"
    metrics = {f"{k}: {v['formula']} ({v['unit']})" for r in group.runs for k, v in r.card["metrics"].items()}
    rows = [
        ["training data", f"{data['examples']:,} examples, {read:,} records read, hash {data['hash']}"],
        ["problems in the data", problems or "none"],
        ["validation data", f"{data['validation']:,} examples, hash {data['validation_hash'] or 'none'}"],
        ["model", f"{model['source'] or model['class'] + ', random weights'}; {weights}"],
        ["batch", f"{data['batch_size']} examples a step over {place}"],
        ["metrics", "; ".join(sorted(metrics)) or "none"],
        *([f"curriculum of {label}", _policy(runs[0])] for label, runs in group.conditions.items()),
        ["packages", ", ".join(f"{k} {v}" for k, v in machine["packages"].items())],
    ]
    return Table("setting", "Setting", ["what", "value"], rows)


def _policy(run: Run) -> str:
    """The policy with all its options that are set."""
    policy = run.card["policy"]
    options = ", ".join(f"{name}={value}" for name, value in policy["options"].items() if value is not None)
    return f"{policy['class']}({options})"


def figures(group: Comparable, measure: str) -> list[NamedFigure]:
    """All figures of a group; those without data are left out."""
    conditions = group.conditions
    found: list[NamedFigure] = []

    def add(name: str, caption: str) -> Axes:
        figure = Figure(figsize=(6.2, 3.8), layout="constrained")
        found.append(NamedFigure(name, caption, figure))
        return figure.subplots()

    if any(measure in v["metrics"] for r in group.runs for v in r.validations):
        draw.measure_by(
            add("by_step", f"{measure} by optimizer step; thin lines are single runs."), conditions, measure, "step"
        )
        caption = f"{measure} by time spent, scoring and selecting included."
        draw.measure_by(add("by_time", caption), conditions, measure, "seconds")
    draw.cost_bars(add("cost", "Where the time went, mean over runs."), conditions)
    if any(v["metrics"].keys() - {measure} for r in group.runs for v in r.validations):
        for prefix in ("val/accuracy/", "val/nll/"):
            if any(k.startswith(prefix) for r in group.runs for v in r.validations for k in v["metrics"]):
                axes = add(
                    prefix.split("/")[1] + "_by_ability",
                    f"Final {prefix.split('/')[1]} by ability; dots are single runs.",
                )
                draw.final_by_ability(axes, conditions, prefix)
    draw.stage_sizes(add("stage_sizes", "Distinct examples of every stage."), conditions)
    if any(s["overlap"] is not None for r in group.runs for s in r.stages):
        draw.turnover(add("turnover", "How much of each stage is new against the stage before."), conditions)
    for number, (label, runs) in enumerate(conditions.items()):
        _of_condition(add, number, label, runs[0])
    return found


def _of_condition(add: Callable[[str, str], Axes], number: int, label: str, run: Run) -> None:
    """Figures about the stages of one run."""
    who = f"{label}, seed {run.seed}"
    if run.ledger is not None:
        _of_ledger(add, number, who, run.ledger)
    if not run.selections:
        return
    for metric, described in run.card["metrics"].items():
        if any(np.isfinite(s.scores.get(metric, np.empty(0))).any() for s in run.selections):
            axes = add(f"{number}_{metric}_by_stage", f"{who}: {metric} of what each stage trained on (quartiles).")
            draw.score_by_stage(axes, run, metric, described["unit"])
            axes = add(f"{number}_{metric}_by_place", f"{who}: {metric} in the order of training.")
            draw.score_by_place(axes, run, metric, described["unit"])
    shares = draw.ability_shares(run)
    if 1 < len({a for s in shares for a in s}) <= 40 and len(shares) > 1:
        mixture(add(f"{number}_abilities", f"{who}: abilities in every stage."), shares)
    if 1 < len(run.selections) <= 20:
        axes = add(f"{number}_shared", f"{who}: share of examples that two stages have in common (Jaccard index).")
        share_matrix(axes, draw.shared_examples(run), "stage", "")


def _of_ledger(add: Callable[[str, str], Axes], number: int, who: str, ledger: Ledger) -> None:
    """Figures about the scores of a run, from its ledger."""
    states = list(ledger.states(views.shown_stages(ledger.stages)))
    for metric, described in ledger.info["metrics"].items():
        if len(states) > 1 and np.isfinite(states[-1].scores[metric]).any():
            axes = add(f"{number}_{metric}_drift", f"{who}: {metric} before every stage, median and quartiles.")
            views.drift(axes, states, metric, described["unit"])
            axes = add(f"{number}_{metric}_stages", f"{who}: rank correlation of {metric} between stages.")
            between = views.rank_correlations([s.scores[metric] for s in states])
            correlation_matrix(axes, between, [str(s.stage) for s in states], "stage", "")
    if len(ledger.metrics) > 1:
        axes = add(f"{number}_views", f"{who}: rank correlation of the metrics before the last stage.")
        columns = [states[-1].scores[m] for m in ledger.metrics]
        correlation_matrix(axes, views.rank_correlations(columns), ledger.metrics, "", "")


def warnings(groups: Sequence[Comparable]) -> list[str]:
    """Warnings about what the page cannot show."""
    found = []
    for group in groups:
        for run in group.runs:
            if run.card["status"] != "finished":
                found.append(f'{run.folder.name} is not whole: its status is "{run.card["status"]}".')
            if not run.validations:
                found.append(f"{run.folder.name} was never validated; set data.val_path or data.val_fraction.")
        conditions = group.conditions
        for label, runs in conditions.items():
            if len(runs) < FEW_SEEDS:
                found.append(
                    f"{label} has {len(runs)} seed{'s' * (len(runs) != 1)}; a claim needs {FEW_SEEDS} or more."
                )
            seeds = [r.seed for r in runs]
            if len(set(seeds)) < len(seeds):
                found.append(f"{label} has two runs of one seed; only the last of them is paired.")
        tokens = {label: float(np.mean([r.tokens for r in runs])) for label, runs in conditions.items()}
        least, most = min(tokens, key=lambda k: tokens[k]), max(tokens, key=lambda k: tokens[k])
        if tokens[most] > (1 + UNEQUAL_TOKENS) * tokens[least]:
            found.append(
                f"The budgets are equal in examples, not in tokens: {most} trained on {tokens[most]:,.0f}, {least} on "
                f"{tokens[least]:,.0f}."
            )
    return found

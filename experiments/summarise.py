"""Write the pages of ``results/`` from the files that the experiments have written: every number, and its source.

``results/README.md`` has the papers' claims with our verdicts and the list of experiments, ``results/report.html`` the
claims with figures; each folder has a page with its table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from experiments import results_page, verdicts
from experiments.questions import NOTES, QUESTIONS
from experiments.verdicts import RESULTS

INTRODUCTION = """\
Written by `python -m experiments.summarise` from the files in the folders beside it; a test holds pages to files.

## Do the papers' claims hold at this scale?

Both rows of a claim are measured on the same held-out items and paired by seed. A claim *holds* or *does not hold*
where the 95 % t interval of the differences lies on one side of zero (of the margin, where the claim names one) and the
false discovery rate over all claims of this page is at most 5 %; else it is *not detectable here*. After the number of
seeds comes the training budget of the row over that of the other, in examples (and so steps) and in tokens. The first
column links to the configuration, the fifth to the experiment. A paper's own number is quoted only where it is known
beyond doubt. All of it is small: models of 0.2 or 135 million weights and hundreds or thousands of rows. Models of
billions of weights were not tested. Of the small profile a part was run, on a CPU: short rows, three seeds, the main
rows of IterIT and CAMPUS with SmolLM2-135M, two rows and their control of IterIT with Gemma 3 270M, and of GSM8K, MATH
and IFEval 24 items each.
"""


def page(folder: Path) -> str:
    """The page of one experiment."""
    question, command = QUESTIONS[folder.name]
    rows: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    source: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    commit = str(source["commit"])[:10] + (" with uncommitted changes" if source["uncommitted_changes"] else "")
    packages = ", ".join(
        f"{k} {v}" for k, v in source["packages"].items() if k in ("torch", "lightning", "transformers")
    )
    data = ", ".join(f"{name} (sha256 {digest[:12]})" for name, digest in source["data"].items())
    lines = [f"# {question}", "", f"    {command}", ""]
    if folder.name in NOTES:
        lines += [NOTES[folder.name], ""]
    lines += [f"Configuration `{json.dumps(source['config'])}`, commit {commit}, {packages}, {source['cores']} cores."]
    lines += [f"Data: {data}."] if data else []
    figures = sorted(p.name for p in folder.iterdir() if p.suffix in (".png", ".svg"))
    lines += ["", *(f"![{name}]({name})" for name in figures)] if figures else []
    lines += ["", "| | value | low to high | n | unit |", "| --- | ---: | --- | ---: | --- |"]
    for row in rows:
        interval = f"{row['low']:.4g} to {row['high']:.4g}" if "low" in row else ""
        lines.append(f"| {row['name']} | {row['value']:.4g} | {interval} | {row.get('n', '')} | {row['unit']} |")
    return "\n".join(lines) + "\n"


def pages(results: Path) -> dict[Path, str]:
    """Every page below ``results``, by its path."""
    done = [name for name in QUESTIONS if (results / name / "results.json").exists()]
    lines = ["# Results", "", INTRODUCTION, *verdicts.render(results), "## All experiments", ""]
    lines += ["| question | command | what to know |", "| --- | --- | --- |"]
    lines += [
        f"| [{QUESTIONS[name][0]}]({name}/README.md) | `{QUESTIONS[name][1]}` | {NOTES.get(name, '')} |"
        for name in done
    ]
    found = {results / name / "README.md": page(results / name) for name in done}
    return {results / "README.md": "\n".join(lines) + "\n", **found}


def write(results: Path) -> None:
    """Write every page below ``results``, and ``report.html``."""
    for path, text in pages(results).items():
        path.write_text(text, encoding="utf-8")
    results_page.write(results)


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    write(parser.parse_args().results)


if __name__ == "__main__":
    main()

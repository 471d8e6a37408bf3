"""What every folder of results answers, by which command, and what a reader has to know of it."""

from __future__ import annotations

from experiments.catalogue import merged

QUESTIONS: dict[str, tuple[str, str]] = {
    "demo": ("What does the demo show?", "make demo OUT=results/demo"),
    "faults": (
        "Does a run that is killed at any moment end as the one that was not?",
        "python -m experiments.faults.run --kills 100 --out results/faults",
    ),
    "faults_campus": (
        "The same for CAMPUS, its learned scorer included?",
        "python -m experiments.faults.run --method campus --kills 100 --out results/faults_campus",
    ),
    "overhead": (
        "What does the machinery cost, scoring apart?",
        "python -m experiments.benchmarks.overhead --out results/overhead",
    ),
    "startup": (
        "How long do commands take to start, beside importing torch and Lightning?",
        "python -m experiments.benchmarks.startup --out results/startup",
    ),
    "ledger": (
        "What does the ledger of a million examples and ten stages take?",
        "python -m experiments.benchmarks.ledger --out results/ledger",
    ),
    "watching": (
        "What do ledger and monitor cost beside training?",
        "python -m experiments.benchmarks.watching --out results/watching",
    ),
    "selection": (
        "How fast is IterIT's selection, and is it the same as the naive one?",
        "python -m experiments.benchmarks.selection --out results/selection",
    ),
    "mtld": ("How fast is MTLD?", "python -m experiments.benchmarks.mtld --data FILE --out results/mtld"),
    "scoring_benchmark": (
        "How fast is scoring, beside the loops in use and the machine's limit?",
        "python -m experiments.benchmarks.scoring --data FILE --keep random9k --rows 48 --wana PYTHON "
        "--out results/scoring_benchmark",
    ),
    "scoring_benchmark_96": (
        "The same on a draw of twice as many rows, whose padding is nearer to that of all rows?",
        "python -m experiments.benchmarks.scoring --data FILE --keep random9k --rows 96 --wana PYTHON "
        "--out results/scoring_benchmark_96",
    ),
    "compiled_scoring": (
        "Does torch.compile pay in scoring on a CPU?",
        "python -m experiments.benchmarks.compiled --data FILE --keep random9k --rounds 3 "
        "--out results/compiled_scoring",
    ),
    "training_benchmark": (
        "How fast is training with packing, beside Hugging Face's Trainer and TRL's SFTTrainer?",
        "python -m experiments.benchmarks.training --model stories260k --data FILE --keep random9k --rows 48 "
        "--out results/training_benchmark",
    ),
    "training_benchmark_smollm2": (
        "The same with a model of 135 million weights?",
        "python -m experiments.benchmarks.training --data FILE --keep random9k --rows 12 --batch-size 4 --rounds 3 "
        "--attempts 1 --out results/training_benchmark_smollm2",
    ),
    "budgeted_refresh": (
        "What does a budgeted refresh save, and what does it give up?",
        "python -m experiments.benchmarks.refresh --out results/budgeted_refresh",
    ),
    "baselines_composition": (
        "Which selections find the planted noise and copies, and which prefer levels or lengths?",
        "python -m experiments.baselines.composition --out results/baselines_composition",
    ),
    "learned_scorer": (
        "How well does a learned scorer follow the loss, and for how much?",
        "python -m experiments.learned_scorer.run --out results/learned_scorer",
    ),
    "million": (
        "Do a million examples pass through reading, store, table, scores, selection and sampler in bounded memory?",
        "python -m experiments.benchmarks.million --out results/million",
    ),
    "iterit_alpaca": (
        "Does IterIT run on real instructions with a pretrained model?",
        "python -m experiments.iterit_alpaca.run --data FILE --out results/iterit_alpaca",
    ),
    "iterit_ablation": (
        "What does each part of IterIT do on the generated abilities, beside random examples of equal number?",
        "python -m experiments.iterit_ablation.run",
    ),
    "iterit_ablation_real": (
        "What do IterIT's main parts do with a pretrained model and real data?",
        "python -m experiments.iterit_ablation.run --profile real --data FOLDER --eval FOLDER --items 48",
    ),
    "iterit_benchmarks": (
        "Does IterIT's choice change what the model answers to GSM8K, MATH and IFEval?",
        "python -m experiments.reproduce --suite iterit --profile small --data FOLDER",
    ),
    "iterit_ablation_gemma": (
        "And with a base model, Gemma 3 270M?",
        "python -m experiments.iterit_ablation.run --profile gemma --data FOLDER",
    ),
    "campus_ablation": (
        "What does each part of CAMPUS do on the generated abilities, beside random order at equal budget?",
        "python -m experiments.campus_ablation.run --out results/campus_ablation",
    ),
    "campus_ablation_views": (
        "What do single views do where lexical diversity differs between examples?",
        "python -m experiments.campus_ablation.run --profile views",
    ),
    "campus_ablation_long": (
        "The same on three times the budget, main rows?",
        "python -m experiments.campus_ablation.run --profile long",
    ),
    "campus_ablation_real": (
        "What does CAMPUS do with a pretrained model and real data, beside random order at equal budget?",
        "python -m experiments.campus_ablation.run --profile real --data FOLDER",
    ),
    "tapir_ablation": (
        "What does each part of TAPIR do where teacher and judge are always right, at equal budget of tokens?",
        "python -m experiments.tapir_ablation.run --all --out results/tapir_ablation",
    ),
    "tapir_demo": (
        "Do the rounds of TAPIR do what they should: shares, quotas, rising difficulty, accuracy by task?",
        "make demo METHOD=tapir OUT=results/tapir_demo",
    ),
    "tapir_real": (
        "Does a run of TAPIR's rounds go through with a pretrained model as student and judge?",
        "python -m experiments.tapir_real.run --data FILE --out results/tapir_real",
    ),
    "generation_benchmark": (
        "How fast does the student answer, beside one prompt at a time?",
        "python -m experiments.benchmarks.generation --data FILE --source SOURCE --out results/generation_benchmark",
    ),
    "baselines": (
        "How do all baselines rank against random examples of equal size and of equal tokens?",
        "python -m experiments.baselines.run --out results/baselines",
    ),
    "task_classifier": (
        "How well do the task classifiers recover the types that people gave?",
        "python -m experiments.task_classifier.run --data FILE --encoder FOLDER --out results/task_classifier",
    ),
    "judge_agreement": (
        "How often does a small local judge prefer the answer that people prefer?",
        "python -m experiments.judge_agreement.run --data FILE --source SOURCE --out results/judge_agreement",
    ),
    "eval_agreement": (
        "Do our evaluation and lm-evaluation-harness say the same of the same model, item by item?",
        "python -m experiments.eval_agreement.run --harness PYTHON --choice FILE --generation FILE --choices 150 "
        "--answers 24 --max_new_tokens 80",
    ),
    "eval_checks": (
        "Do the checks of IFEval and HumanEval say what others' say?",
        "python -m experiments.eval_agreement.checks --harness PYTHON --ifeval FILE --humaneval FILE "
        "--completions FILE",
    ),
    "growth_study_first": (
        "The first design of the growth study: are the planted truths recovered?",
        "python -m experiments.growth_study.run (at commit 7e527a1)",
    ),
    "growth_study_second": (
        "The second design of the growth study: are the planted truths recovered?",
        "python -m experiments.growth_study.run (at commit 938cb43)",
    ),
    "growth_study_third": (
        "The third design of the growth study: are the planted truths recovered?",
        "python -m experiments.growth_study.run (at commit 5e49b1a)",
    ),
    "growth_study": (
        "Does the growth study recover what was planted?",
        "python -m experiments.growth_study.run",
    ),
    "growth_real": (
        "How do five abilities of real data grow in a pretrained model?",
        "python -m experiments.growth_real.run --data FOLDER",
    ),
    "growth_pace": (
        "Does a mixture that follows growth learn more than uniform order?",
        "python -m experiments.growth_pace.run",
    ),
    "true_difficulty_text": (
        "What do metrics of the text alone say of true difficulty, and what beyond length?",
        "python -m experiments.true_difficulty.text --data FOLDER",
    ),
    "true_difficulty": (
        "Which metric tracks true difficulty where it is known, and which beyond length?",
        "python -m experiments.true_difficulty.run --data FOLDER",
    ),
    **merged("QUESTIONS"),
}
"""Folder of results -> what it answers, and the command that writes it."""
NOTES: dict[str, str] = {
    "growth_real": "Three seeds, 32 items an ability, on a CPU; cells of the first two are of an earlier commit. "
    "Steps are the same at all rungs, so small rungs see their rows many times; much of the growth is harm undone "
    "(experiments/LOG.md).",
    "iterit_ablation": "A tiny model from random weights after four passes over all data: pretrained "
    "models were not tested. Seconds are of a crowded machine. Cells were run at three commits; the one below is that "
    "of the analysis.",
    "iterit_ablation_real": "Three seeds, 300 short rows, 30 steps, on a CPU for want of a GPU; no tasks with "
    "generated answers but induction's. Seconds are of a crowded machine. Cells were run at "
    "two commits, 82770ad and f62110e; the one below is that of the analysis.",
    "iterit_benchmarks": "Three seeds, 24 items a task, answers of at most 192 tokens, on a CPU for want of a "
    "GPU: MATH is out of this model's reach, and a few points more or less would not show.",
    "iterit_ablation_gemma": "Three seeds, 300 short rows, 30 steps, on a CPU for want of a GPU; 4-bit weights "
    "taken for whole ones. Cells were run at f62110e and 5cab345; the commit below is that of the analysis.",
    "campus_ablation": "A tiny model from random weights, early in its training: pretrained models were not tested. "
    "MTLD of these short responses hardly varies, so here it is no view; campus_ablation_views takes it of both texts. "
    "The row CAMPUS, never re-sorted, was run at the commit below, all others at db72ecb.",
    "campus_ablation_views": "A tiny model from random weights: pretrained models were not tested. Cells were run at "
    "two commits, c634ba7 and the one below.",
    "campus_ablation_long": "A tiny model from random weights: pretrained models were not tested.",
    "campus_ablation_real": "Three seeds, 90 rows, 36 to 39 steps: only large effects show (experiments/LOG.md).",
    "learned_scorer": "Pairwise rows are of answers drawn at temperature 1, the default at that commit; with the "
    "most likely answers the gap changes its sign (experiments/LOG.md).",
    "eval_agreement": "Neither program finds a right answer among the generated ones: there, what agrees is the text.",
    "growth_study_first": "One of three planted truths is recovered (experiments/LOG.md). Cells were trained at commit "
    "7e527a1, on a shared machine; the commit below is that of the analysis.",
    "growth_study_second": "Two of three planted truths are recovered; lookup runs out of facts (experiments/LOG.md).",
    "growth_study_third": "Two of three planted truths are recovered; echo still gains (experiments/LOG.md).",
    "growth_study": "A fourth design, after three that recovered one or two of the three planted truths; written "
    "down before it was run, on new seeds (experiments/LOG.md). Cells of seed 15 are of an earlier commit.",
    "true_difficulty": "Three hundred short rows a source for want of a GPU; true_difficulty_text has larger samples "
    "of what needs no model.",
    "tapir_ablation": "Rules act as teacher and judge and are always right; tokens of training are equal, calls of the "
    "roles are not and are in the table. No threshold, delta 1 and delta 3 were run at commit 6163c70bd1, where "
    "equal rows count as judged once (100 calls less), the others at 15dc917793.",
    "tapir_demo": "One seed, on the embedded default: it shows that the rounds work, not that they help.",
    "tapir_real": "A model of 135 million parameters in every role, a handful of rows: the path works; a gain was "
    "not tested.",
    "generation_benchmark": "Timed on a shared two-core machine without a GPU, one thread; contenders are interleaved.",
    "task_classifier": "Dolly's eight types, not TAPIR's 33; the tables of confusions are in confusion.md.",
    "judge_agreement": "A model of 135 million parameters is no judge: this measures the path and its failures.",
    "iterit_alpaca": "One seed, a handful of held-out examples: the whole path works; a gain was not tested.",
    "demo": "One seed, settings chosen on the same validation items (experiments/LOG.md): no claim about IterIT.",
    "overhead": "Timed on a shared machine; the two loops are interleaved.",
    "selection": "Timed on a shared machine; contenders are interleaved, and the naive loops are timed on few picks.",
    "mtld": "Timed on a shared machine.",
    "million": "Once, on a shared two-core machine with other work on it: the point is memory. It counts the pages of "
    "mapped files. Looking for duplicates keeps one entry an example, 0.27 GB a million: with the number of examples "
    "memory grows, with their length it does not.",
    "training_benchmark": "Timed on a shared two-core machine without a GPU; contenders are interleaved. "
    "TRL 1.16.0; all train on the same tokens. A model of 260,000 weights. The machine was so busy that "
    "CPU time is the figure to read.",
    "training_benchmark_smollm2": "SmolLM2-135M, twelve rows, one thread, three interleaved rounds on a machine busy "
    "with other work. TRL 1.16.0; all train on the same tokens. Ours was measured three times in the first round, of "
    "which the least disturbed one counts; all others once.",
    "budgeted_refresh": "A tiny model from random weights, whose scores move fast. What is stated holds with a "
    "probability of 95 % for each refresh. Where no example was skipped, none was drawn and no error is measured.",
    "compiled_scoring": "One thread on a shared machine: read CPU time. Wall-clock seconds are meaningless, as the "
    "run was stopped at times. Frozen weights cannot be trained on. No GPU was at hand.",
    "scoring_benchmark": "Timed on a shared two-core machine without a GPU; contenders are interleaved. Of the padded "
    "rows' positions more are padding in this draw than over all rows; results/scoring_benchmark_96 is nearer to them.",
    "scoring_benchmark_96": "Timed on a shared two-core machine without a GPU; contenders are interleaved.",
    **merged("NOTES"),
}
"""Folder of results -> what has to be known to read it."""

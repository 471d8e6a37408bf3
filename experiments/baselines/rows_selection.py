"""Rows of methods that select a part of the data."""

from __future__ import annotations

from pathlib import Path

from experiments.baselines.method import RANDOM, Method, proxy_folder, proxy_folders, warm_stages

_PROMPTS = Path(__file__).parent / "prompts"
_RATINGS = [str(_PROMPTS / f"rating_{k}.txt") for k in (1, 2, 3)]

ROWS: tuple[Method, ...] = (
    Method(name=RANDOM["selection"], config="random_once"),
    Method(name="random, fresh each stage", config="random_fresh"),
    Method(name="longest", config="longest"),
    Method(name="shortest", config="shortest"),
    Method(name="perplexity, low", config="perplexity_low"),
    Method(name="perplexity, middle", config="perplexity_middle"),
    Method(name="perplexity, high", config="perplexity_high"),
    Method(name="MTLD", config="mtld"),
    Method(name="IFD, ratio of losses (Cherry)", config="cherry"),
    Method(name="IFD, ratio of perplexities", config="ifd_static"),
    Method(name="IFD and facility location (Superfiltering.D)", config="superfiltering_d",
           options={"policy.init_args.shortlist": 0.5}),
    Method(name="IFD by a proxy (Superfiltering)", config="superfiltering",
           options={"metrics.ifd.init_args.source": proxy_folder, "metrics.ifd.init_args.template": "auto"}),
    Method(name="IterIT", config="iterit"),
    Method(name="Deita", config="deita", options={
        f"metrics.{name}.init_args.{option}": value
        for name in ("complexity", "quality")
        for option, value in (
            ("source", proxy_folder), ("prompt", str(_PROMPTS / f"{name}.txt")), ("template", None)
        )
    }),
    Method(name="SelectIT", config="selectit", options={
        "metrics.reflection.init_args.sources": proxy_folders, "metrics.reflection.init_args.prompts": _RATINGS,
        "metrics.reflection.init_args.template": None,
    }),
    Method(name="gradients of targets (LESS)", config="less",
           options={"metrics.influence.init_args.first_stage": warm_stages,
                    "metrics.influence.init_args.vectors.init_args.dimensions": 2048}),
    Method(name="hidden states of targets (RDS+)", config="rds_plus",
           options={"metrics.similarity.init_args.first_stage": warm_stages}),
    Method(name="GraphFilter", config="graph_filter"),
    Method(name="facility location", config="facility_location"),
    Method(name="k-center greedy", config="k_center"),
    Method(name="clusters, equal shares", config="clusters_equal"),
    Method(name="clusters, proportional shares", config="clusters_proportional"),
    Method(name="near-duplicates by MinHash", config="dedup_minhash"),
    Method(name="near-duplicates by embedding", config="dedup_embeddings"),
)  # fmt: skip

"""Rows of methods that select a part of the data."""

from __future__ import annotations

from experiments.baselines.method import RANDOM, Method

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
    Method(name="GraphFilter", config="graph_filter"),
    Method(name="facility location", config="facility_location"),
    Method(name="k-center greedy", config="k_center"),
    Method(name="clusters, equal shares", config="clusters_equal"),
    Method(name="clusters, proportional shares", config="clusters_proportional"),
    Method(name="near-duplicates by MinHash", config="dedup_minhash"),
    Method(name="near-duplicates by embedding", config="dedup_embeddings"),
)  # fmt: skip

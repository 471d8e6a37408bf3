"""Batched generation against one prompt at a time, with and without a cache, and against transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lit_curriculum import CausalLMModule
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.models import generation
from lit_curriculum.models.generation import Decoding, end_ids, generate_tokens, length_buckets, uniforms
from tests.models.tiny_lms import CONFIGS, VOCABULARY, tiny_model


def make_prompts(count: int = 12, longest: int = 20, seed: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCABULARY, size=int(rng.integers(1, longest + 1))).astype(np.int32) for _ in range(count)]


def _reference_greedy(model: torch.nn.Module, prompt: np.ndarray, decoding: Decoding) -> list[int]:
    """One prompt, no cache, no padding: the whole row is run again for every token."""
    ids, answer = prompt.tolist(), []
    while len(answer) < decoding.max_new_tokens and len(ids) < (decoding.context_length or 10**9):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token in decoding.end_ids:
            break
        ids.append(token)
        answer.append(token)
    return answer


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gemma2", "gptj-with-head-bias"])
def test_greedy_answers_are_those_of_one_prompt_at_a_time(name: str) -> None:
    model, prompts = tiny_model(name), make_prompts()
    free = generate_tokens(model, prompts, Decoding(max_new_tokens=9, end_ids=()))
    decoding = Decoding(max_new_tokens=9, end_ids={int(free[0][3]), int(free[1][5])})
    answers = generate_tokens(model, prompts, decoding, token_budget=120)
    expected = [_reference_greedy(model, p, decoding) for p in prompts]
    assert [a.tolist() for a in answers] == expected
    assert len({len(a) for a in answers}) > 1, "some end early and some do not"


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_greedy_answers_are_those_of_transformers(name: str) -> None:
    model, prompts = tiny_model(name), make_prompts()
    ends = [5, 17, 30]
    answers = generate_tokens(model, prompts, Decoding(max_new_tokens=8, end_ids=ends))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=ends,
            pad_token_id=0, use_cache=True,
        )  # fmt: skip
        new = output[0, len(prompt) :].tolist()
        assert answer.tolist() == [t for t in new if t not in ends]


def test_a_draw_depends_on_prompt_and_seed_alone() -> None:
    model, prompts = tiny_model("llama"), make_prompts()
    decoding = Decoding(max_new_tokens=7, end_ids={5}, temperature=1.0, seed=4)
    together = generate_tokens(model, prompts, decoding)
    backwards = generate_tokens(model, prompts[::-1], decoding, token_budget=60)[::-1]
    alone = [generate_tokens(model, [p], decoding)[0] for p in prompts]
    assert [a.tolist() for a in together] == [a.tolist() for a in backwards] == [a.tolist() for a in alone]
    other = generate_tokens(model, prompts, Decoding(max_new_tokens=7, end_ids={5}, temperature=1.0, seed=5))
    assert [a.tolist() for a in together] != [a.tolist() for a in other]


def test_draws_follow_the_model() -> None:
    model = tiny_model("llama")
    prompt = np.array([7, 8, 9], np.int32)
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(prompt.astype(np.int64))[None]).logits[0, -1].softmax(-1)
    numbers = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = expected.log().expand(4000, -1)
    found = torch.bincount(generation._choose(logits, 1.0, numbers), minlength=VOCABULARY) / 4000
    assert (found - expected).abs().max() < 0.03


def test_low_temperature_is_greedy_and_uniforms_differ_by_prompt() -> None:
    model, prompts = tiny_model("llama"), make_prompts()
    cold = generate_tokens(model, prompts, Decoding(max_new_tokens=5, end_ids=(), temperature=1e-4))
    greedy = generate_tokens(model, prompts, Decoding(max_new_tokens=5, end_ids=()))
    assert [a.tolist() for a in cold] == [a.tolist() for a in greedy]
    assert uniforms(prompts[0], 0, 3).tolist() != uniforms(prompts[1], 0, 3).tolist()
    assert uniforms(prompts[0], 0, 3).tolist() == uniforms(prompts[0], 0, 9)[:3].tolist()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_answer_ends_where_the_context_does(name: str) -> None:
    model = tiny_model(name)
    prompts = [np.full(size, 7, np.int32) for size in (63, 60, 20)]
    decoding = Decoding(max_new_tokens=10, end_ids=(), context_length=64)
    assert [len(a) for a in generate_tokens(model, prompts, decoding)] == [1, 4, 10]
    with pytest.raises(ValueError, match=r"prompt 1 has 64 tokens and leaves no room .* context of 64"):
        generate_tokens(model, [prompts[0], np.full(64, 7, np.int32)], decoding)


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny_model("llama"), make_prompts()
    decoding = Decoding(max_new_tokens=4, end_ids={5})
    expected = generate_tokens(model, prompts, decoding)
    whole, sizes = generation._batch, []

    def small(model: torch.nn.Module, prompts: list[np.ndarray], *rest: object) -> list[np.ndarray]:
        sizes.append(len(prompts))
        if len(prompts) > 3:
            raise torch.OutOfMemoryError("no")
        return whole(model, prompts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "_batch", small)
    assert [a.tolist() for a in generate_tokens(model, prompts, decoding)] == [a.tolist() for a in expected]
    assert sizes[0] == 12
    assert max(sizes[-2:]) <= 3
    monkeypatch.setattr(generation, "_batch", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        generate_tokens(model, prompts[:1], decoding)


def test_buckets_hold_every_row_once_and_keep_to_the_budget() -> None:
    lengths = [len(p) for p in make_prompts(50)]
    batches = list(length_buckets(lengths, 8, 100))
    assert sorted(int(r) for b in batches for r in b) == list(range(50))
    assert all(len(b) == 1 or len(b) * (max(lengths[r] for r in b) + 8) <= 100 for b in batches)
    assert [lengths[r] for b in batches for r in b] == sorted(lengths, reverse=True)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        Decoding(max_new_tokens=0, end_ids=())
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        Decoding(max_new_tokens=1, end_ids=(), temperature=-0.5)
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        generate_tokens(tiny_model("llama"), [np.empty(0, np.int32)], Decoding(max_new_tokens=1, end_ids=()))


def test_the_module_leaves_flags_and_random_state_alone() -> None:
    module = CausalLMModule(config=CONFIGS["llama"])
    module.configure_model()
    module.train()
    state = torch.random.get_rng_state()
    answers = module.generate(make_prompts(), max_new_tokens=4, temperature=0.7)
    assert len(answers) == 12
    assert all(a.dtype == np.int32 and len(a) <= 4 for a in answers)
    assert module.training
    assert all(m.training for m in module.modules())
    assert torch.equal(state, torch.random.get_rng_state())
    assert module.generate([], max_new_tokens=4) == []


def test_ends_come_from_model_tokenizer_and_template() -> None:
    model, tokenizer = tiny_model("llama"), build_tiny_tokenizer()
    model.generation_config.eos_token_id = [2, 9]
    assert end_ids(model) == {2, 9}
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<user>\n{% endfor %}"
    assert end_ids(model, tokenizer) == {2, 4, 9}
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}, over{% endfor %}"
    assert end_ids(model, tokenizer) == {2, 9}

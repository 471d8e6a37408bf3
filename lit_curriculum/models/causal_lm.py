"""A Hugging Face causal language model as a LightningModule."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lit_curriculum.models import loading
from lit_curriculum.models.execution.modes import Execution, ExecutionOptions
from lit_curriculum.models.execution.token_nll import causal_lm
from lit_curriculum.models.generation import GenerativeMixin
from lit_curriculum.models.gradients import GradientMixin
from lit_curriculum.models.loading import ModelSource
from lit_curriculum.models.lora import LoRA, add_lora, check_adapter, trained_names
from lit_curriculum.models.optimization import count_steps, fix_horizon, parameter_groups
from lit_curriculum.models.reduction import LossReduction, Weighting, example_sums, positive, reduce_losses
from lit_curriculum.types import Batch, TokenNLL

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class PooledHiddenMixin:
    """Adds ``pooled_hidden`` of :class:`~lit_curriculum.types.PooledModel` to a module that holds ``model``."""

    model: nn.Module | None

    @torch.no_grad()
    def pooled_hidden(self, batch: Batch, /, weights: Tensor | None = None) -> Tensor:
        """[B, H] last hidden states of each row in fp32, averaged over its scored positions.

        Args:
            batch: B rows, each with a scored position.
            weights: [B, L] by which positions are averaged instead; they need not sum to one.
        """
        assert self.model is not None, "configure_model has not been called"
        decoder: nn.Module = causal_lm(self.model).get_decoder()  # type: ignore[no-untyped-call]
        output = decoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        hidden: Tensor = output.last_hidden_state.float()
        share = (batch.scored.float() if weights is None else weights.float())[..., None]
        return (hidden * share).sum(dim=1) / share.sum(dim=1)


KEY, VERSION = "causal_lm", 1
"""Key of a checkpoint under which the model is described, and the version of that entry."""


class CausalLMModule(GenerativeMixin, PooledHiddenMixin, GradientMixin, LightningModule):
    """Trains, validates and scores a causal language model on the scored tokens of its batches.

    It knows nothing of a curriculum. The weights are read in :meth:`configure_model`, so making the object is cheap,
    and :attr:`tokenizer_source` and :attr:`context_length` are known from the start. With LoRA a checkpoint holds the
    adapter alone, so that resuming needs the source as well.

    Args:
        source: Folder, hub id ``owner/name``, GGUF file or ``package:MODULE/FILE.gguf`` with the weights to start from.
        config: Instead of a source, a Hugging Face configuration with its ``model_type``; weights are random.
        tokenizer: Where the tokenizer comes from, if not from ``source``.
        revision: Branch, tag or commit of a hub id.
        dtype: Of the weights; the Trainer's ``precision`` decides what the arithmetic is done in.
        attention: Attention implementation of transformers (``sdpa``, ``eager``, ``flash_attention_2``).
        trust_remote_code: Run Python code that comes with the model.
        lora: Train an adapter instead of the weights.
        gradient_checkpointing: Keep the activations of one layer only and compute the rest again when needed.
        optimizer: Called with the parameter groups.
        lr_schedule: Called with the optimizer, stepped after every optimizer step.
        loss_reduction: ``example``: weighted mean over examples of their mean token loss; ``token``: weighted mean
            over tokens. Both are taken over the batches of all ranks together; batches that are accumulated into one
            step count equally.
        weighting: ``relative`` takes the weighted mean over examples or tokens, ``absolute`` the mean of the weighted
            losses, as unbiased estimates need it (:func:`~lit_curriculum.models.reduction.reduce_losses`).
        packing: Train on a batch's rows as one, without padding. No example leaves its batch, so the order of the plan
            is kept. On a CPU with ``sdpa``, and with ``flash_attention_2``; elsewhere slower and larger.
        torch_compile: Compile the decoder (``torch.compile``), for training and scoring, as one graph for any shape of
            batch. Rows are then run with their padding, and the first batches wait for the compiler; on a CPU
            it is slower than leaving padding out.
        init_seed: Of random weights and of the adapter's; by default 0, and on the command line ``seed_everything``.

    Raises:
        ValueError: not exactly one of ``source`` and ``config`` is given, or an option is out of range.
    """

    def __init__(
        self,
        source: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        attention: str | None = None,
        trust_remote_code: bool = False,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedulerCallable | None = None,
        loss_reduction: LossReduction = "example",
        weighting: Weighting = "relative",
        packing: bool = False,
        torch_compile: bool = False,
        init_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.model_source = ModelSource(
            source=source, config=config, tokenizer=tokenizer, revision=revision, trust_remote_code=trust_remote_code
        )
        self.source, self.config = source, config
        self.tokenizer_source = self.model_source.tokenizer_source
        """Folder or hub id of the tokenizer."""
        self.revision, self.dtype_name, self.attention = revision, dtype, attention
        self.trust_remote_code = trust_remote_code
        self.lora = lora
        self.optimizer, self.lr_schedule = optimizer, lr_schedule
        self.loss_reduction, self.weighting = loss_reduction, weighting
        self.execution_options = ExecutionOptions(
            packing=packing, torch_compile=torch_compile, gradient_checkpointing=gradient_checkpointing
        )
        self.execution: Execution | None = None
        """How batches are run, chosen in :meth:`configure_model`."""
        self.init_seed = init_seed or 0
        self.horizon_steps: int | None = None
        """Optimizer steps in the run; a callback that knows them sets it before ``configure_optimizers``."""
        self.model: nn.Module | None = None
        self._val_sums = torch.zeros(2)
        # A checkpoint that holds the adapter alone cannot fill the whole model.
        self.strict_loading = lora is None

    @cached_property
    def hf_config(self) -> PretrainedConfig:
        """The model's configuration, known before its weights are."""
        return self.model_source.hf_config

    @property
    def context_length(self) -> int | None:
        """Largest number of tokens in a row, known before the weights are read; none where the model sets no limit."""
        return loading.context_length(self.hf_config)

    def configure_model(self) -> None:
        if self.model is not None:
            return
        dtype: torch.dtype = getattr(torch, self.dtype_name)
        with loading.isolated_rng(self.init_seed):
            if self.source is not None:
                model = loading.load_model(
                    self.source,
                    revision=self.revision,
                    dtype=dtype,
                    attention=self.attention,
                    trust_remote_code=self.trust_remote_code,
                )
            else:
                model = loading.random_model(self.hf_config, dtype=dtype, attention=self.attention)
            if self.execution_options.gradient_checkpointing:
                model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
            self.model = model if self.lora is None else add_lora(model, self.lora)
            # Here, where new tensors are made beside the weights: outside, a Trainer has them made where those will go.
            self.execution = Execution.choose(self.model, self.execution_options, self._sharded())
        if self._sharded():
            loading.shard(self.model, self.device_mesh["data_parallel"])  # type: ignore[index]

    def _sharded(self) -> bool:
        """Whether the strategy wants the weights split over ranks (ModelParallelStrategy, FSDP2)."""
        return self.device_mesh is not None and self.device_mesh["data_parallel"].size() > 1

    def setup(self, stage: str) -> None:
        del stage
        tokenizer = self._data_tokenizer()
        vocabulary = self.hf_config.get_text_config().vocab_size
        if tokenizer is not None and len(tokenizer) > vocabulary:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the model's vocabulary {vocabulary}: use the model's own "
                f"tokenizer (model.tokenizer), or set model.config.vocab_size."
            )

    def _data_tokenizer(self) -> Any:
        """The tokenizer in use, where the trainer has a data module that offers it."""
        return getattr(getattr(self._trainer, "datamodule", None), "tokenizer", None)

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        """Losses at the scored positions of ``batch``; see :class:`~lit_curriculum.types.LanguageModel`."""
        assert self.model is not None, "configure_model has not been called"
        assert self.execution is not None
        return self.execution.token_nll(self.model, batch)

    @property
    def runs_padding(self) -> bool:
        """Whether padding costs time on the device that the weights are on; see :class:`LanguageModel`."""
        return self.execution is None or self.execution.runs_padding(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        del batch_idx
        sums = example_sums(batch, self.token_nll(batch))
        numerator, denominator = self._reduce(sums, batch.weight)
        # Gradients are averaged over ranks, so a mean over all ranks' examples needs the ranks' common denominator.
        world_size = self.trainer.world_size
        if world_size > 1:
            denominator = self.trainer.strategy.reduce(denominator.clone(), reduce_op="sum")
        loss = numerator * world_size / positive(denominator)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch), sync_dist=world_size > 1)
        return {"loss": loss, **{name: value.detach() for name, value in sums.items()}}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        del batch_idx, dataloader_idx
        sums = example_sums(batch, self.token_nll(batch))
        numerator, denominator = self._reduce(sums, batch.weight)
        # A new tensor each time: those made in a run under inference mode may not be changed in one without.
        self._val_sums = self._val_sums.to(numerator.device) + torch.stack((numerator, denominator)).float()
        return sums

    def on_validation_epoch_start(self) -> None:
        self._val_sums = torch.zeros(2, device=self.device)

    def on_validation_epoch_end(self) -> None:
        # Summed over ranks by hand: the Trainer's own mean over ranks rounds odd sums of batch sizes down.
        numerator, denominator = self.trainer.strategy.reduce(self._val_sums.clone(), reduce_op="sum")
        self.log("val/loss", numerator / positive(denominator), prog_bar=True)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        del batch_idx, dataloader_idx
        return example_sums(batch, self.token_nll(batch))

    def _reduce(self, sums: dict[str, Tensor], weight: Tensor) -> tuple[Tensor, Tensor]:
        return reduce_losses(sums["nll_sum"], sums["num_scored"], weight, self.loss_reduction, self.weighting)

    def configure_optimizers(self) -> Any:
        assert self.model is not None, "configure_model has not been called"
        optimizer = self.optimizer(parameter_groups(self.model))
        if self.lr_schedule is None:
            return optimizer
        schedule = self.lr_schedule(optimizer)
        if hasattr(schedule, "set_horizon"):
            horizon = self.horizon_steps if self.horizon_steps is not None else count_steps(self.trainer)
            fix_horizon(schedule, horizon)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.model is None:
            return  # an exception struck before there was a model to save
        if self.lora is not None:
            trained = trained_names(self)
            checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}
        checkpoint |= _description(self, getattr(self._data_tokenizer(), "chat_template", None))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loaded_optimizer_states = checkpoint.get("optimizer_states", ())
        # A sharded checkpoint has no weights here: each rank has read its part already.
        state = checkpoint.get("state_dict")
        if state is None:
            return
        loading.require_finite(state.items(), "the checkpoint")
        if self.lora is not None:
            check_adapter(self, state)


def _description(module: CausalLMModule, chat_template: str | None) -> dict[str, dict[str, Any]]:
    """Entry of a checkpoint, in plain values, with which the model is opened without its run's configuration.

    Args:
        module: With its model built.
        chat_template: The one in use, which the tokenizer's own folder need not hold.
    """
    assert module.model is not None, "configure_model has not been called"
    # All weights and their configuration suffice; for an adapter, or a model with custom code, they do not.
    needs_source = module.source is not None and (module.lora is not None or module.trust_remote_code)
    entry = {
        "version": VERSION,
        "source": module.source,
        "config": None if needs_source else module.hf_config.to_dict(),
        "generation_config": causal_lm(module.model).generation_config.to_dict(),
        "tokenizer": module.tokenizer_source,
        "chat_template": chat_template,
        "revision": module.revision,
        "dtype": module.dtype_name,
        "trust_remote_code": module.trust_remote_code,
        "lora": None if module.lora is None else asdict(module.lora),
        "init_seed": module.init_seed,
    }
    return {KEY: entry}

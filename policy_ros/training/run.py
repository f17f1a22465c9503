# SPDX-License-Identifier: Apache-2.0
"""A training from beginning to end: begin or resume, take the steps, say what came of it."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from policy_ros.errors import ConfigurationError, PolicyRosError, TrainingError
from policy_ros.policies.config import PolicyConfig
from policy_ros.training.checkpoints import TrainingDirectory
from policy_ros.training.loading import EndlessSamples, Progress, Shard, endless_loader
from policy_ros.training.module import PolicyModule
from policy_ros.training.options import TrainingOptions
from policy_ros.training.preparation import OpenData, Prepared, Say, backbone_advice, begin, prepare
from policy_ros.training.supervision import Score, Supervisor, Watch, saved_progress
from policy_ros.training.validation import Validation

_PRECISIONS = {"32": "32-true", "bf16-mixed": "bf16-mixed", "16-mixed": "16-mixed"}


@dataclass(frozen=True)
class TrainingResult:
    """What came of it.

    Attributes:
        out: the checkpoint of the last step.
        policy: registered name.
        weights: numbers that were learnt.
        first_step: at which this process began.
        step: optimisation steps so far.
        steps: of the whole training.
        newest: score of the last measured step, None without validation and rollouts.
        best: of the checkpoint in ``out/best``, likewise.
        seconds: of this process, preparation included [s].
        signal: that ended it early, None for a whole training.
    """

    out: Path
    policy: str
    weights: int
    first_step: int
    step: int
    steps: int
    newest: Score | None
    best: Score | None
    seconds: float
    signal: signal.Signals | None


def train(
    options: TrainingOptions | None,
    out: Path,
    open_data: OpenData,
    *,
    given: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    watch: Watch = lambda report: None,
    say: Say = lambda line: None,
) -> TrainingResult:
    """Train a policy into a directory.

    With several devices this runs in a process for each; those of further devices are started when the first one has
    prepared everything, and find it in the directory.

    Args:
        options: of a new training; None resumes the one in ``out``.
        out: see :mod:`policy_ros.training.checkpoints`.
        open_data: the data that options name.
        given: options that were named for resuming; they must be those that the training began with.
        overwrite: remove the training that is in ``out``.
        watch: is told after each step.
        say: is told in words.

    Raises:
        PolicyRosError: in one line, what is wrong with options, data or directory.
    """
    began = time.monotonic()
    directory = TrainingDirectory(out)
    first, data = rank_zero_only.rank == 0, None
    say = say if first else _say_nothing
    if options is not None and first:
        _check_hardware(options)
        directory.check_free(overwrite=overwrite)
        data = open_data(options)
        for problem in data.problems:
            say(f"warning: {problem}")
        begin(directory, options, data, overwrite=overwrite)
    directory.read_record()  # there must be one before anything is locked
    with directory.locked(first), _one_line_errors():
        prepared = prepare(directory, data, open_data, given or {}, say)
        say(backbone_advice(prepared.policy.config))
        return _fit(prepared, directory, watch, began)


def _fit(prepared: Prepared, directory: TrainingDirectory, watch: Watch, began: float) -> TrainingResult:
    options, policy, first_step = prepared.options, prepared.policy, prepared.first_step
    if options.threads:
        torch.set_num_threads(options.threads)
    with _quiet_lightning():
        trainer = Trainer(
            accelerator=options.accelerator,
            devices="auto" if options.devices == "auto" else int(options.devices),
            strategy=_strategy(options, policy.config),
            precision=_PRECISIONS[options.precision],
            max_steps=options.steps - first_step,
            gradient_clip_val=prepared.optimization.grad_clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the stream is sharded already
        )
        device = Shard(trainer.global_rank, trainer.world_size)
        progress = _progress(prepared, device)
        supervisor = Supervisor(
            options,
            directory,
            state=prepared.state,
            progress=progress,
            decay=options.average_decay(denoises=policy.config.denoises),
            validation=_validation(prepared, device),
            roll_out=_rollouts(prepared, device),
            watch=watch,
        )
        trainer.callbacks.append(supervisor)
        samples = EndlessSamples(partial(prepared.data.training, policy.config), progress, device.part, device.parts)
        loader = endless_loader(
            samples, options.batch_size, options.workers, pin_memory=trainer.strategy.root_device.type == "cuda"
        )
        module = PolicyModule(policy, prepared.optimization, options.seed, first_step)
        if first_step < options.steps:
            trainer.fit(module, loader)
    return TrainingResult(
        out=directory.out,
        policy=policy.name,
        weights=sum(parameter.numel() for parameter in policy.parameters()),
        first_step=first_step,
        step=first_step + trainer.global_step,
        steps=options.steps,
        newest=supervisor.newest,
        best=supervisor.best,
        seconds=time.monotonic() - began,
        signal=supervisor.interruption.signal,
    )


def _progress(prepared: Prepared, device: Shard) -> Progress:
    if prepared.state is None:
        return Progress.start(prepared.options.workers)
    saved = len(prepared.state["progress"])
    if saved != device.parts:
        raise TrainingError(
            f"--resume: expected {saved} devices, as the training began with, found {device.parts}; "
            "another number of them would see the data in another order"
        )
    return saved_progress(prepared.state, device.part)


def _validation(prepared: Prepared, device: Shard) -> Validation | None:
    options = prepared.options
    if not prepared.data.has_validation:
        return None
    return Validation(
        lambda shard: prepared.data.validation(prepared.policy.config, samples=options.val_samples, shard=shard),
        batch_size=options.batch_size,
        seed=options.seed,
        shard=device,
    )


def _rollouts(prepared: Prepared, device: Shard) -> Callable[[Any], float] | None:
    options = prepared.options
    if not options.rollouts:
        return None
    from policy_ros.training.rollouts import Rollouts

    rollouts = Rollouts(options.rollout_env, options.rollouts, prepared.data.parameters, device)
    rollouts.check(prepared.policy)
    return rollouts.success_rate


def _strategy(options: TrainingOptions, config: PolicyConfig) -> str:
    """Several devices wait for all gradients, unless told that some parameters will have none."""
    alone = options.devices == "1" and options.strategy == "auto"
    return "ddp_find_unused_parameters_true" if config.pretraining_steps and not alone else options.strategy


def _check_hardware(options: TrainingOptions) -> None:
    """Refuse at once what Lightning would replace, or refuse later."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.accelerator == "gpu" and not gpus:
        raise ConfigurationError("accelerator: expected cpu or auto, got gpu, and torch finds none here")
    on_gpu = options.accelerator != "cpu" and gpus > 0
    if options.precision == "16-mixed" and not on_gpu:
        raise ConfigurationError("precision: expected 32 or bf16-mixed on a CPU, got 16-mixed")
    if on_gpu and options.devices != "auto" and int(options.devices) > gpus:
        raise ConfigurationError(f"devices: expected at most the {gpus} GPUs that are here, got {options.devices}")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's advertisement and its advice on loaders; its warnings of other kinds stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for advice in ("does not have many workers", "LeafSpec", "GPU available but not used", "srun"):
                warnings.filterwarnings("ignore", f".*{advice}.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """An error of a reading process arrives with that process's traceback in its message."""
    try:
        yield
    except PolicyRosError as error:
        text = str(error).strip()
        if "Traceback (most recent call last)" not in text:
            raise
        raise type(error)(text.splitlines()[-1].partition(": ")[2]) from error


def _say_nothing(line: str) -> None:
    """Only the first process speaks."""

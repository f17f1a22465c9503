# SPDX-License-Identifier: Apache-2.0
"""What happens between the steps: average, record, validate, save, stop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import Callback, Trainer

from policy_ros.interruption import Interruption
from policy_ros.policies.base import Policy
from policy_ros.training.checkpoints import TrainingDirectory
from policy_ros.training.collective import gather
from policy_ros.training.ema import AveragedPolicy
from policy_ros.training.loading import Batch, Position, Progress
from policy_ros.training.metrics import ROLLOUTS, TRAINING, VALIDATION, MetricsFile
from policy_ros.training.module import PolicyModule
from policy_ros.training.options import TrainingOptions
from policy_ros.training.validation import Validation


@dataclass(frozen=True)
class Score:
    """What makes one policy better than another.

    Attributes:
        step: at which it was measured.
        loss: of the validation, None without one.
        success_rate: of rollouts, None without them.
        phase: of the training; see :attr:`policy_ros.policies.base.Policy.training_phase`.
    """

    step: int
    loss: float | None = None
    success_rate: float | None = None
    phase: int = 0

    def beats(self, other: Score | None) -> bool:
        """Phase first, then success rate where both have one, else loss; the earlier of two equals stays."""
        if other is None:
            return True
        if self.phase != other.phase:
            return self.phase > other.phase
        if self.success_rate is not None:
            return other.success_rate is None or (-self.success_rate, self._loss) < (-other.success_rate, other._loss)
        return other.success_rate is None and self._loss < other._loss

    @property
    def _loss(self) -> float:
        return float("inf") if self.loss is None else self.loss


@dataclass
class Report:
    """What a watcher is told after each step.

    Attributes:
        step: optimisation steps so far.
        steps: of the whole training.
        loss: of the last step.
        validation: newest, by name, empty before the first.
        success_rate: newest.
        seconds: since this process took its first step.
        first_step: at which this process began.
        measured: whether this step was validated or rolled out.
    """

    step: int
    steps: int
    first_step: int
    loss: float = float("nan")
    validation: dict[str, float] = field(default_factory=dict)
    success_rate: float | None = None
    seconds: float = 0.0
    measured: bool = False


Watch = Callable[[Report], None]


class Supervisor(Callback):  # type: ignore[misc]  # Lightning is an extra
    """The only callback of a training.

    Args:
        options: of the training.
        directory: where everything goes.
        state: saved one to go on from, None for a fresh start.
        progress: in the data, of this device.
        decay: of the average of weights, None for none.
        validation: None without validation samples.
        roll_out: success rate of a policy, None without rollouts.
        watch: is told after each step, on the first device.
    """

    def __init__(
        self,
        options: TrainingOptions,
        directory: TrainingDirectory,
        *,
        state: dict[str, Any] | None,
        progress: Progress,
        decay: float | None,
        validation: Validation | None,
        roll_out: Callable[[Policy], float] | None,
        watch: Watch,
    ) -> None:
        self.best: Score | None = _score(None if state is None else state["best"])
        self.newest: Score | None = _score(None if state is None else state["newest"])
        self.interruption = Interruption()
        self._options = options
        self._directory = directory
        self._state = state
        self._first_step = 0 if state is None else int(state["step"])
        self._progress = progress
        self._decay = decay
        self._average: AveragedPolicy | None = None
        self._validation = validation
        self._roll_out = roll_out
        self._watch = watch
        self._metrics: MetricsFile | None = None
        self._report = Report(self._first_step, options.steps, self._first_step)
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, module: PolicyModule) -> None:
        """Everything is on its device: go on from the state."""
        if self._decay is not None:
            self._average = AveragedPolicy(module.policy, self._decay)
        if self._state is not None:
            trainer.optimizers[0].load_state_dict(self._state["optimizer"])
            trainer.lr_scheduler_configs[0].scheduler.load_state_dict(self._state["schedule"])
            trainer.precision_plugin.load_state_dict(self._state["precision"])
            if self._average is not None:
                self._average.load_state_dict(self._state["average"])
            self._state = None  # the memory
        if trainer.is_global_zero:
            self._metrics = MetricsFile(self._directory.metrics, self._first_step)
        self._began = time.monotonic()
        self.interruption.begin()

    def on_train_batch_end(
        self, trainer: Trainer, module: PolicyModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """A step is done."""
        options, step = self._options, module.steps_done
        self._progress = self._progress.after(batch)
        if self._average is not None:
            self._average.update(module.policy)
        last = step >= options.steps
        stop = trainer.strategy.reduce_boolean_decision(self.interruption.signal is not None, all=False)
        if step % options.log_every == 0 or last:
            self._record(TRAINING, step, {**module.parts, "lr": trainer.optimizers[0].param_groups[-1]["lr"]})
        measured = self._measure(trainer, module, step, last)
        if step % options.save_every == 0 or last or stop:
            self._save(trainer, module, step)
        if trainer.is_global_zero:
            self._tell(module, step, measured)
        trainer.should_stop = trainer.should_stop or stop

    def on_train_end(self, trainer: Trainer, module: PolicyModule) -> None:
        """Signals go back before Lightning gives back its own."""
        self.interruption.end()

    def on_exception(self, trainer: Trainer, module: PolicyModule, exception: BaseException) -> None:
        """Likewise."""
        self.interruption.end()

    def teardown(self, trainer: Trainer, module: PolicyModule, stage: str) -> None:
        """However it ended."""
        if self._metrics is not None:
            self._metrics.close()

    def _policy(self, module: PolicyModule) -> Policy:
        """The policy that is validated and saved: the average where there is one."""
        return module.policy if self._average is None else self._average.policy

    def _measure(self, trainer: Trainer, module: PolicyModule, step: int, last: bool) -> bool:
        """Validate and roll out where it is time, and keep the best; whether anything was measured."""
        options, policy = self._options, self._policy(module)
        loss = rate = None
        if self._validation is not None and (step % options.val_every == 0 or last):
            values = self._validation.run(policy, trainer.precision_plugin.forward_context)
            self._record(VALIDATION, step, values)
            self._report.validation, loss = values, values.get("loss")
        if self._roll_out is not None and (last or step % (options.rollout_every or options.val_every) == 0):
            rate = self._roll_out(policy)
            self._record(ROLLOUTS, step, {"success_rate": rate, "episodes": options.rollouts})
            self._report.success_rate = rate
        if loss is None and rate is None:
            return False
        self.newest = Score(step, loss, rate, policy.training_phase)
        if self.newest.beats(self.best):
            self.best = self.newest
            if trainer.is_global_zero:
                self._directory.export(policy, self._directory.best)
        return True

    def _save(self, trainer: Trainer, module: PolicyModule, step: int) -> None:
        everyone = gather(self._progress)
        if not trainer.is_global_zero:
            return
        self._directory.export(self._policy(module), self._directory.out)
        self._directory.save_state(
            step,
            {
                "policy": module.policy.state_dict(),
                "average": None if self._average is None else self._average.state_dict(),
                "optimizer": trainer.optimizers[0].state_dict(),
                "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
                "precision": trainer.precision_plugin.state_dict(),
                "progress": [([tuple(position) for position in each.positions], each.turn) for each in everyone],
                "best": _plain(self.best),
                "newest": _plain(self.newest),
            },
        )

    def _record(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self._metrics is not None:
            self._metrics.add(kind, step, values)

    def _tell(self, module: PolicyModule, step: int, measured: bool) -> None:
        report = self._report
        report.step, report.loss, report.measured = step, module.parts["loss"], measured
        report.seconds = time.monotonic() - self._began
        self._watch(report)


def saved_progress(state: dict[str, Any], rank: int) -> Progress:
    """How far a device had come when the state was saved."""
    positions, turn = state["progress"][rank]
    return Progress(tuple(Position(*position) for position in positions), turn)


def _plain(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else dataclasses.asdict(score)


def _score(values: dict[str, Any] | None) -> Score | None:
    return None if values is None else Score(**values)

# SPDX-License-Identifier: Apache-2.0
"""Any registered policy as a LightningModule."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from policy_ros.errors import TrainingError
from policy_ros.policies.base import Policy
from policy_ros.training.loading import Batch
from policy_ros.training.optimization import Optimization
from policy_ros.training.seeding import Stage, seed_generators


class PolicyModule(LightningModule):  # type: ignore[misc]  # Lightning is an extra
    """What Lightning needs to know of a policy.

    Args:
        policy: stays a plain module; its ``forward(batch)`` is ``(loss, parts)``.
        optimization: optimiser and schedule.
        seed: of the noise.
        first_step: steps that were taken before this process.

    Attributes:
        parts: the loss and its parts of the last step.
    """

    def __init__(self, policy: Policy, optimization: Optimization, seed: int, first_step: int = 0) -> None:
        super().__init__()
        self.policy = policy
        self.optimization = optimization
        self.parts: dict[str, float] = {}
        policy.resume_training(first_step)
        self._seed = seed
        self._first_step = first_step

    @property
    def steps_done(self) -> int:
        """Optimisation steps since the training began, whatever process took them."""
        return self._first_step + int(self.trainer.global_step)

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """What is random in this step depends on nothing but the seed and its number."""
        seed_generators(self._seed, Stage.TRAINING, self.steps_done, self.global_rank)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of a batch.

        Raises:
            TrainingError: it is not finite.
        """
        loss: Tensor
        loss, parts = self.policy(batch.data)
        self.parts = {"loss": float(loss.detach()), **parts}
        if not all(math.isfinite(value) for value in self.parts.values()):
            named = ", ".join(f"{name} {value:g}" for name, value in self.parts.items())
            raise TrainingError(
                f"step {self.steps_done + 1}: expected a finite loss, got {named}; "
                "lower --lr or --grad-clip, or use --precision 32"
            )
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, and what the policy does after it."""
        super().optimizer_step(*args, **kwargs)
        self.policy.after_step()

    def configure_optimizers(self) -> dict[str, Any]:
        """The policy's preset, stepped after every batch."""
        optimizer, schedule = self.optimization.make(self.policy)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

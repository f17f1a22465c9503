# SPDX-License-Identifier: Apache-2.0
"""Steps at random from a seed: the same seed draws the same steps, however long they take."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from soaking.actions import (
    Action,
    CameraDropout,
    Change,
    Fault,
    FrozenCamera,
    JointDropout,
    PolicyFault,
    Reactivate,
    Reconfigure,
    RefusedParameter,
    Reset,
    RestartNode,
    RestartRobot,
    SetParameter,
    Step,
    Swap,
)

MODES = ("sync", "overlap", "ensemble", "blend", "rtc")
PROMPTS = ("", "pick up the puck", "put it onto the goal")
REFUSED = (
    RefusedParameter("execution.mode", "fastest"),
    RefusedParameter("execution.execution_horizon", -1),
    RefusedParameter("execution.execution_horizon", 1000),
    RefusedParameter("execution.rate_hz", 100.0),
    RefusedParameter("policy.prompt", 3),
    RefusedParameter("policy.type", "act"),
    RefusedParameter("policy.path", "/nowhere"),
    RefusedParameter("rtc.max_guidance_weight", float("nan")),
    RefusedParameter("joints.max_age_s", 10.0),
    RefusedParameter("use_sim_time", True),
)
DRAWS: tuple[tuple[float, str], ...] = (
    (16, "camera dropout"),
    (10, "joint dropout"),
    (4, "frozen camera"),
    (14, "delay spike"),
    (8, "nan"),
    (8, "raise"),
    (5, "hang"),
    (22, "set"),
    (8, "refused"),
    (10, "swap"),
    (3, "reset"),
    (8, "reactivate"),
    (7, "reconfigure"),
    (1.5, "restart robot"),
    (0.8, "kill robot"),
    (0.15, "restart node"),
)
MEANWHILE_PROBABILITY = 0.3
OPENING_PAUSE_S = 0.5


@dataclass
class Schedule:
    """Draws steps for ever; each process of the node begins with an opening without faults.

    The opening runs every policy under every mode: what is loaded and allocated for the first time is no growth.

    Args:
        seed: of everything that is drawn.
        cameras: names.
        policies: registered names that may be configured; the first, which can be guided, twice as often as another.
        camera_max_age_s: of the node; drop-outs are drawn below, around and above it.
        tail_s: of the node.
        joint_max_age_s: of the node.
    """

    seed: int
    cameras: tuple[str, ...]
    policies: tuple[str, ...]
    camera_max_age_s: float
    tail_s: float
    joint_max_age_s: float
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def __iter__(self) -> Iterator[Step]:
        yield from self.opening()
        while True:
            step = self._step()
            yield step
            if isinstance(step.action, RestartNode):
                yield from self.opening()

    def opening(self) -> Iterator[Step]:
        """Every policy under every mode."""
        for policy in self.policies:
            yield Step(OPENING_PAUSE_S, Reconfigure(policy))
            for mode in MODES:
                yield Step(OPENING_PAUSE_S, SetParameter("execution.mode", mode))

    def _step(self) -> Step:
        pause_s = self._random.uniform(0.5, 3.0)
        weights, names = zip(*DRAWS, strict=True)
        action = self._drawers()[self._random.choices(names, weights)[0]]()
        wants_more = isinstance(action, Fault) and self._random.random() < MEANWHILE_PROBABILITY
        return Step(pause_s, action, self._change() if wants_more else None)

    def _drawers(self) -> dict[str, Callable[[], Action]]:
        draw = self._random
        return {
            "camera dropout": lambda: CameraDropout(draw.choice(self.cameras), self._camera_silence_s()),
            "joint dropout": lambda: JointDropout(draw.choice((0.3, 1.0, 3.0)) * self.joint_max_age_s + draw.random()),
            "frozen camera": lambda: FrozenCamera(draw.choice(self.cameras), draw.uniform(0.5, 3.0)),
            "delay spike": lambda: PolicyFault("delay", draw.uniform(0.2, 3.0), draw.uniform(0.05, 1.5)),
            "nan": lambda: PolicyFault("nan", self._policy_fault_s()),
            "raise": lambda: PolicyFault("raise", self._policy_fault_s()),
            "hang": lambda: PolicyFault("hang", self._policy_fault_s()),
            "set": self._set,
            "refused": lambda: draw.choice(REFUSED),
            "swap": self._swap,
            "reset": Reset,
            "reactivate": lambda: Reactivate(draw.uniform(0.0, 1.0)),
            "reconfigure": lambda: Reconfigure(self._policy()),
            "restart robot": lambda: RestartRobot(kill=False),
            "kill robot": lambda: RestartRobot(kill=True),
            "restart node": RestartNode,
        }

    def _camera_silence_s(self) -> float:
        """Below max_age, between it and the end of the tail, or well beyond."""
        age_s, tail_s = self.camera_max_age_s, self.tail_s
        low, high = self._random.choice(((0.1, age_s), (age_s, age_s + tail_s), (age_s + tail_s, age_s + tail_s + 3.0)))
        return self._random.uniform(low, high)

    def _policy_fault_s(self) -> float:
        """One inference, or long enough for a hold."""
        return self._random.choice((self._random.uniform(0.02, 0.2), self._random.uniform(1.5, 3.0)))

    def _set(self) -> SetParameter:
        draw = self._random
        return draw.choice(
            (
                *(SetParameter("execution.mode", mode) for mode in (*MODES, "rtc", "rtc")),
                SetParameter("execution.execution_horizon", draw.choice((0, 10, 20, 25, 40))),
                SetParameter("policy.prompt", draw.choice(PROMPTS)),
                SetParameter("rtc.schedule", draw.choice(("exp", "linear", "ones", "zeros"))),
                SetParameter("rtc.jacobian", draw.choice(("exact", "identity"))),
            )
        )

    def _swap(self) -> Swap:
        return Swap(self._policy())

    def _policy(self) -> str:
        return self._random.choice((self.policies[0], *self.policies))

    def _change(self) -> Change:
        draw = self._random
        return draw.choice((self._set(), draw.choice(REFUSED), self._swap(), Reset(), Reactivate(0.0)))

# SPDX-License-Identifier: Apache-2.0
"""The schedule draws everything there is, and the same again from the same seed."""

from __future__ import annotations

from itertools import islice

from soaking.actions import (
    CameraDropout,
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
    label,
)
from soaking.schedule import MODES, Schedule


def steps(seed: int, count: int) -> list[Step]:
    schedule = Schedule(
        seed, cameras=("top", "wrist"), policies=("a", "b"), camera_max_age_s=0.5, tail_s=0.3, joint_max_age_s=0.4
    )
    return list(islice(schedule, count))


def test_opening_runs_every_policy_under_every_mode():
    opening = [step.action for step in steps(0, 2 + 2 * len(MODES))]
    modes = [SetParameter("execution.mode", mode) for mode in MODES]
    assert opening == [Reconfigure("a"), *modes, Reconfigure("b"), *modes]


def test_opening_comes_again_after_a_restart_of_the_node():
    drawn = steps(0, 1500)
    restarts = [i for i, step in enumerate(drawn[:1400]) if isinstance(step.action, RestartNode)]
    assert restarts
    assert all(drawn[i + 1].action == Reconfigure("a") and drawn[i + 1].pause_s < 1.0 for i in restarts)


def test_the_same_seed_draws_the_same_steps_and_another_one_others():
    assert repr(steps(3, 200)) == repr(steps(3, 200))
    assert repr(steps(3, 200)) != repr(steps(4, 200))


def test_an_hour_of_steps_has_every_action():
    drawn = [step.action for step in steps(0, 600)]
    kinds = {CameraDropout, JointDropout, FrozenCamera, PolicyFault, SetParameter, RefusedParameter, Swap, Reset}
    assert {type(action) for action in drawn} == kinds | {Reactivate, Reconfigure, RestartRobot, RestartNode}
    assert {action.kind for action in drawn if isinstance(action, PolicyFault)} == {"nan", "raise", "hang", "delay"}
    assert {action.value for action in drawn if getattr(action, "name", "") == "execution.mode"} >= set(MODES)
    assert all(label(action) for action in drawn)


def test_camera_drop_outs_are_below_around_and_beyond_t():
    silences = [s.action.duration_s for s in steps(0, 600) if isinstance(s.action, CameraDropout)]
    assert any(s < 0.5 for s in silences) and any(0.5 < s < 0.8 for s in silences) and any(s > 0.8 for s in silences)


def test_something_else_happens_during_faults_only_and_during_some_of_them():
    drawn = steps(0, 600)
    faults = (CameraDropout, JointDropout, FrozenCamera, PolicyFault)
    assert all(isinstance(step.action, faults) for step in drawn if step.meanwhile is not None)
    assert any(step.meanwhile is not None for step in drawn)

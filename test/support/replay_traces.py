# SPDX-License-Identifier: Apache-2.0
"""Replayed episodes made up: an arm on sines, a policy whose mistakes are chosen, the ticks of a plain execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Episode
from policy_ros.execution import ExecutionState
from policy_ros.replay.trace import NO_CHUNK, ChunkTrace, EpisodeTrace, HoldTrace, TickTrace

DT_S = 0.02
START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


def joint_names(joints: int) -> tuple[str, ...]:
    """``joint_1``, ``joint_2``, …"""
    return tuple(f"joint_{number + 1}" for number in range(joints))


def setpoints(times_s: NDArray[np.float64], joints: int, phase: float = 0.0) -> NDArray[np.float64]:
    """``(N, A)`` of the recorded motion [rad] at times since the begin of the episode; every joint has its own sine."""
    joint = np.arange(joints)
    frequency = 0.11 + 0.037 * joint  # [Hz]; slow enough that a shift of 1.5 s is never a whole period
    return 0.3 * joint + 0.5 * np.sin(2.0 * np.pi * frequency * times_s[:, None] + phase + 0.9 * joint)


def make_trace(
    *,
    index: int = 0,
    bag: str = "made_up",
    joints: int = 3,
    ticks: int = 400,
    dt_s: float = DT_S,
    horizon: int = 20,
    execution_horizon: int = 10,
    delay: int = 0,
    error: float | Sequence[float] = 0.0,
    noise: float = 0.0,
    seam: float = 0.0,
    lag_s: float = 0.0,
    swap: Sequence[int] = (),
    phase: float = 0.0,
    seed: int = 0,
    mode: str = "overlap",
    guided: bool = False,
    degraded: Mapping[int, str] | None = None,
    hold: tuple[int, int] | None = None,
    hold_cause: str = "STREAM_EXPIRED",
    starved: Sequence[int] = (),
    clamped: Sequence[tuple[int, int]] = (),
    has_commands: bool = True,
    ready_tick: int = 0,
    age_s: float = 0.01,
    skew_s: float = 0.004,
    success: bool | None = None,
) -> EpisodeTrace:
    """One episode. Row ``i`` of a chunk whose observation was taken at ``t`` is the motion at ``t + (i + 1) dt - lag``.

    Args:
        index: of the episode; it also begins at another time.
        bag: name of the bag.
        joints: A.
        ticks: length of the episode [steps].
        dt_s: control period [s].
        horizon: H.
        execution_horizon: s; a chunk is inferred every so many steps.
        delay: d of every chunk, and ticks that the robot waits for the first of an epoch [steps].
        error: added to what the policy predicts, for each joint or for all [rad].
        noise: standard deviation, added to every row of a chunk [rad].
        seam: added to every second chunk as a whole [rad].
        lag_s: the policy predicts what was commanded so long before [s].
        swap: order of joints in what it predicts; ``(1, 0, 2)``: joint 0 gets what is meant for joint 1.
        phase: of the motion [rad].
        seed: of the noise.
        mode: of execution.
        guided: whether chunks after the first of an epoch are guided.
        degraded: number of a chunk to the reason why it was not the mode that was chosen.
        hold: first tick of a hold and the first one after it; a new epoch follows.
        hold_cause: of it.
        starved: ticks without a row, each a hold of one tick.
        clamped: (tick, joint) where the gate changed the command, by a hundredth.
        has_commands: whether the recording has any.
        ready_tick: steps before every stream was there; no ticks before.
        age_s: of the oldest input when an inference began [s].
        skew_s: of the inputs [s].
        success: of the recorded episode.
    """
    random = np.random.default_rng([seed, index])
    dt_ns = round(dt_s * SECOND_NS)
    start_ns = START_NS + index * 2 * ticks * dt_ns
    stop_ns = start_ns + ticks * dt_ns

    def moving(first_s: float, rows: int) -> NDArray[np.float64]:
        return setpoints(first_s + dt_s * np.arange(rows), joints, phase)

    def chunk(tick: int, sequence: int, epoch: int, first: bool, end: int) -> ChunkTrace:
        begin_ns = start_ns + tick * dt_ns
        actions = moving((tick + 1) * dt_s - lag_s, horizon)
        if len(swap):
            actions = actions[:, list(swap)]
        actions = actions + np.asarray(error) + noise * random.standard_normal(actions.shape) + seam * (sequence % 2)
        recorded = moving((tick + 1) * dt_s, horizon)
        ends = tick + 1 + np.arange(horizon) >= ticks
        recorded[ends | (not has_commands)] = np.nan
        over = tick + delay
        reason = (degraded or {}).get(sequence, "")
        return ChunkTrace(
            sequence=sequence,
            epoch=epoch,
            begin_ns=begin_ns,
            end_ns=begin_ns + delay * dt_ns,
            took_over_ns=start_ns + over * dt_ns if over < end else None,
            delay_steps=0 if first else delay,
            execution_horizon=execution_horizon,
            mode="overlap" if reason else mode,
            degradation=reason,
            guided=guided and not first and not reason,
            actions=actions.astype(np.float32),
            recorded=recorded,
            observation_stamps_ns={"joint_states": begin_ns - round(age_s * SECOND_NS)},
            observation_age_s=age_s,
            skew_s=skew_s,
        )

    chunks: list[ChunkTrace] = []
    times = start_ns + dt_ns * np.arange(ready_tick, ticks, dtype=np.int64)
    states = np.full(ticks, ExecutionState.WAITING, np.uint8)
    commands = np.full((ticks, joints), np.nan)
    acting = np.full(ticks, NO_CHUNK, np.int64)
    stretches = [(ready_tick, ticks)] if hold is None else [(ready_tick, hold[0]), (hold[1], ticks)]
    for epoch, (begin, end) in enumerate(stretches):
        for step in range(0, end - begin, execution_horizon):
            tick = begin + step + (delay if step else 0)  # the robot waits for the first, which delays all that follow
            if tick >= end:
                break
            made = chunk(tick, len(chunks), epoch, step == 0, end)
            chunks.append(made)
            first_row = made.delay_steps
            over = tick + delay
            last = min(over + horizon - first_row, end)
            commands[over:last] = made.actions[first_row : first_row + max(last - over, 0)]
            states[over:last] = ExecutionState.RUNNING
            acting[over:last] = made.sequence
            states[last:end] = ExecutionState.STARVED
            commands[last:end] = np.nan
            acting[last:end] = NO_CHUNK
    holds = []
    if hold is not None:
        states[slice(*hold)] = ExecutionState.HOLDING
        holds.append(HoldTrace(start_ns + hold[0] * dt_ns, start_ns + hold[1] * dt_ns, hold_cause, "planted"))
    for tick in starved:
        commands[tick], states[tick], acting[tick] = np.nan, ExecutionState.STARVED, NO_CHUNK
        holds.append(HoldTrace(start_ns + tick * dt_ns, start_ns + (tick + 1) * dt_ns, "STARVED", "planted"))
    changed = np.zeros((ticks, joints), np.bool_)
    for tick, joint in clamped:
        changed[tick, joint] = True
        commands[tick, joint] -= 0.01
    recorded = moving(dt_s, ticks)
    recorded[-1] = np.nan  # for the moment at which the episode is over
    if not has_commands:
        recorded[:] = np.nan
    holds.sort(key=lambda each: each.begin_ns)
    counters = Counter(
        chunks=len(chunks),
        chunks_late=0,
        chunks_guided=sum(each.guided for each in chunks),
        chunks_rejected=0,
        inference_errors=0,
        commands=int(np.isfinite(commands).all(axis=1).sum()),
        holds=len(holds),
        holds_after_first_chunk=len(holds),
        gate_clamped=int(changed.any(axis=1).sum()),
        gate_rejected=0,
        resets=0,
    )
    return EpisodeTrace(
        episode=Episode(Path("/recordings") / bag, index, start_ns, stop_ns, "made up", success),
        joint_names=joint_names(joints),
        dt_s=dt_s,
        mode=mode,
        ticks=TickTrace(
            times_ns=times,
            states=states[ready_tick:],
            commands=commands[ready_tick:],
            recorded=recorded[ready_tick:],
            measured=moving(0.0, ticks)[ready_tick:],
            chunks=acting[ready_tick:],
            clamped=changed[ready_tick:],
        ),
        chunks=tuple(chunks),
        holds=tuple(holds),
        counters=dict(counters),
        deadline_misses=len(starved),
        not_ready={},
        has_commands=has_commands,
    )


def make_traces(episodes: int, **options: object) -> list[EpisodeTrace]:
    """Several episodes of one bag, each another stretch of motion; ``options`` as for :func:`make_trace`."""
    return [make_trace(**{"index": number, "phase": 0.7 * number, **options}) for number in range(episodes)]  # type: ignore[arg-type]

# SPDX-License-Identifier: Apache-2.0
"""The parameters of the policy node, with description, unit, range and default: the only place that lists them.

``docs/parameters.md`` is generated from this file (``make docs-table``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_ros.execution.delay_estimation import DELAY_ESTIMATORS
from policy_ros.parameters.schema import group, named_groups, parameter
from policy_ros.rtc import JACOBIANS, SCHEDULES


@dataclass(frozen=True)
class PolicyParameters:
    """Which policy runs, and where."""

    type: str = parameter("", "Registered name. Empty: the one that the checkpoint says", dynamic=True)
    path: str = parameter(
        "",
        "Checkpoint directory or hub id; another policy takes over while the robot moves, see docs/swapping.md. Empty: "
        "fresh weights (needs `policy.allow_untrained`)",
        dynamic=True,
    )
    revision: str = parameter("", "Commit hash of a hub checkpoint; required for one", dynamic=True)
    roots: tuple[str, ...] = parameter(
        (), "Directories a checkpoint must lie in, links resolved. Empty: any", fixed=True
    )
    device: str = parameter("", "Torch device, e.g. `cuda:0`. Empty: CUDA if there is one, else the CPU")
    prompt: str = parameter("", "Task text for policies that take one", dynamic=True)
    prompt_starts_epoch: bool = parameter(
        False,
        "Another task text begins a new epoch: the policy forgets its past, and its next chunk does not continue the "
        "one before",
        dynamic=True,
    )
    torch_threads: int = parameter(1, "CPU threads of the policy; more of them disturb the control tick", minimum=1)
    allow_untrained: bool = parameter(False, "Allow fresh, untrained weights when `policy.path` is empty")
    seed: int = parameter(0, "Seed of fresh weights", minimum=0)
    untrained_mean: tuple[float, ...] = parameter((), "Fresh weights: pose that their actions lie around. Empty: 0")
    untrained_std: tuple[float, ...] = parameter((), "Fresh weights: spread of their actions. Empty: 1", minimum=0.0)
    overrides: str = parameter("", 'JSON object of configuration fields for fresh weights, e.g. `{"chunk_size": 20}`')


@dataclass(frozen=True)
class JointParameters:
    """The joints of the robot in the order of the policy's state and action vectors."""

    names: tuple[str, ...] = parameter((), "Joint names in the order of the policy's `action`; required")
    state_names: tuple[str, ...] = parameter((), "Order of `observation.state` where it differs. Empty: `joints.names`")
    topic: str = parameter("joint_states", "sensor_msgs/JointState topic")
    reliability: str = parameter("best_effort", "QoS", choices=("best_effort", "reliable"))
    max_age_s: float = parameter(0.2, "Older joint states make the robot hold", unit="s", minimum=0.001)
    scale: tuple[float, ...] = parameter((), "Policy unit = robot unit * scale + offset, for each joint. Empty: 1")
    offset: tuple[float, ...] = parameter((), "See `joints.scale`. Empty: 0")
    conflict_tolerance: float = parameter(
        0.02, "Two sources of one joint that alternate by more than this are a conflict", unit="rad or m", minimum=0.0
    )


@dataclass(frozen=True)
class CameraParameters:
    """One camera; a camera of the checkpoint that is not configured gets these defaults."""

    topic: str = parameter("", "Image topic. Empty: `camera/<name>/image_raw` (or `/compressed` below it)")
    feature: str = parameter("", "Checkpoint feature. Empty: `observation.images.<name>`")
    compressed: bool = parameter(False, "Subscribe to sensor_msgs/CompressedImage")
    reliability: str = parameter("best_effort", "QoS", choices=("best_effort", "reliable"))
    max_age_s: float = parameter(0.3, "No inference starts from an older image", unit="s", minimum=0.001)
    frozen_after_s: float = parameter(
        1.0, "The same picture under new stamps for longer than this counts as frozen. 0: never", unit="s", minimum=0.0
    )
    on_frozen: str = parameter("warn", "What a frozen camera does", choices=("warn", "hold"))
    shape: tuple[int, ...] = parameter((), "C, H, W of fresh weights; a checkpoint brings its own", minimum=1)
    optional: bool = parameter(
        False, "Accept a policy that does not look at this camera, for nodes whose policy is swapped", dynamic=True
    )


@dataclass(frozen=True)
class ObservationParameters:
    """How samples become one observation."""

    max_skew_s: float = parameter(0.1, "Largest spread of stamps within one observation", unit="s", minimum=0.0)
    tail_s: float = parameter(
        0.5,
        "Committed actions go on for this long after a camera is older than its max_age_s, then hold",
        unit="s",
        minimum=0.0,
    )
    future_tolerance_s: float = parameter(0.1, "A stamp further ahead is dropped", unit="s", minimum=0.0)
    environment_topic: str = parameter(
        "environment_state", "std_msgs/Float64MultiArray for `observation.environment_state`, if the policy has it"
    )
    environment_max_age_s: float = parameter(0.3, "As for cameras", unit="s", minimum=0.001)
    activation_timeout_s: float = parameter(
        3.0, "Activation waits this long for every stream, then is refused", unit="s", minimum=0.0, maximum=60.0
    )


MODES = ("blend", "ensemble", "overlap", "rtc", "sync")
UNGUIDED_MODES = ("blend", "ensemble", "overlap", "sync")


@dataclass(frozen=True)
class ExecutionParameters:
    """How chunks become commands."""

    mode: str = parameter("overlap", "Execution strategy, see docs/execution.md", choices=MODES, dynamic=True)
    rate_hz: float = parameter(
        50.0, "Control rate; the rate the policy was trained at", unit="Hz", minimum=1.0, maximum=1000.0
    )
    execution_horizon: int = parameter(
        0,
        "Steps between two inferences, s. 0: automatic, half the chunk, at most the checkpoint's n_action_steps "
        "(`sync`: these; `ensemble`: 1), and less where the delay asks for it",
        minimum=0,
        dynamic=True,
    )
    ensemble_coeff: float = parameter(
        0.01, "`ensemble`: the i-th prediction of a step weighs exp(-m i), 0 the oldest; this is m", dynamic=True
    )
    delay_estimator: str = parameter(
        "max", "How the delay to expect follows from measured ones", choices=DELAY_ESTIMATORS
    )
    delay_window: int = parameter(10, "Measured delays that `max` and `quantile` look at", minimum=1, maximum=1000)
    delay_quantile: float = parameter(0.95, "Of the window, for `quantile`", minimum=0.0, maximum=1.0)
    lookahead_steps: int = parameter(10, "Points of each trajectory command", unit="steps", minimum=2, maximum=1000)
    inference_timeout_s: float = parameter(
        10.0, "An inference that takes longer counts as hung: the robot holds until a reset", unit="s", minimum=0.1
    )
    heartbeat_timeout_s: float = parameter(
        0.5, "The robot holds when the node's callbacks have not run for this long", unit="s", minimum=0.1
    )
    max_consecutive_errors: int = parameter(3, "Failed inferences in a row before the robot holds", minimum=1)
    realtime_priority: int = parameter(
        0,
        "Real-time priority (SCHED_FIFO) of the control thread while active; the thread of the ROS callbacks gets one "
        "less. Needs an rtprio limit, see docs/pacing.md; 50 is usual. 0: normal scheduling",
        minimum=0,
        maximum=98,
    )
    added_delay_s: float = parameter(
        0.0,
        "Makes every inference last so much longer than the policy takes, as on a slower computer. For tests and "
        "demonstrations only",
        unit="s",
        minimum=0.0,
        maximum=60.0,
        dynamic=True,
    )
    stop_timeout_s: float = parameter(
        1.0, "Longest wait for a running inference on deactivation", unit="s", minimum=0.0
    )


@dataclass(frozen=True)
class RtcParameters:
    """Real-time chunking: how a policy is guided to continue the chunk that is being executed."""

    schedule: str = parameter(
        "exp", "Weights behind the rows that are surely executed; `blend` uses it too", choices=SCHEDULES, dynamic=True
    )
    max_guidance_weight: float = parameter(
        5.0, "Largest guidance weight, beta; more raises the acceleration and nothing else", minimum=0.0, dynamic=True
    )
    jacobian: str = parameter(
        "exact",
        "`exact`: the vector-Jacobian product through the policy; `identity`: cheaper, pulls each row by itself",
        choices=JACOBIANS,
        dynamic=True,
    )
    fallback: str = parameter(
        "",
        "Mode that stands in for `rtc` with a policy that cannot be guided. Empty: such a policy is refused",
        choices=("", *UNGUIDED_MODES),
        dynamic=True,
    )


@dataclass(frozen=True)
class GateParameters:
    """The last check before the motors. A list has one value for each of `joints.names`; empty means unlimited."""

    on_violation: str = parameter("clamp", "What a limit does to a command", choices=("clamp", "reject"))
    position_min: tuple[float, ...] = parameter((), "Lower joint limits", unit="rad or m", unlimited=True)
    position_max: tuple[float, ...] = parameter((), "Upper joint limits", unit="rad or m", unlimited=True)
    margin: float = parameter(0.0, "Kept from both position limits", unit="rad or m", minimum=0.0)
    max_velocity: tuple[float, ...] = parameter(
        (), "Largest joint velocities", unit="rad/s or m/s", minimum=0.0, unlimited=True
    )
    max_acceleration: tuple[float, ...] = parameter(
        (), "Largest joint accelerations", unit="rad/s² or m/s²", minimum=0.0, unlimited=True
    )
    max_jerk: tuple[float, ...] = parameter(
        (),
        "Largest joint jerks; gives way where another limit could not be kept",
        unit="rad/s³ or m/s³",
        minimum=0.0,
        unlimited=True,
    )
    ramp_down_s: float = parameter(
        0.1,
        "A hold brings the joints to rest within this time, longer where max_acceleration asks for it, at most 1 s. "
        "0: as fast as max_acceleration allows, at once where there is none",
        unit="s",
        minimum=0.0,
        maximum=1.0,
    )
    use_robot_description: bool = parameter(
        False, "Take limits from the robot's URDF too; the tighter of both counts. Activation waits for it"
    )
    robot_description_topic: str = parameter(
        "robot_description", "std_msgs/String with the URDF, published transient local (robot_state_publisher does)"
    )
    max_jump: tuple[float, ...] = parameter(
        (),
        "A command further from the measured position makes the robot hold",
        unit="rad or m",
        minimum=0.0,
        unlimited=True,
    )


@dataclass(frozen=True)
class OutputParameters:
    """One command topic with its own joints."""

    type: str = parameter("joint_trajectory", "Command type", choices=("joint_trajectory", "position_array"))
    topic: str = parameter("", "Command topic, e.g. `arm_controller/joint_trajectory`; required")
    joints: tuple[str, ...] = parameter((), "Joints of this controller in its order; required")
    on_violation: str = parameter(
        "", "As `gate.on_violation`, for these joints. Empty: that one", choices=("", "clamp", "reject")
    )
    lead_s: float = parameter(
        -1.0, "joint_trajectory: start stamp lies this far in the future. Negative: one control period", unit="s"
    )


@dataclass(frozen=True)
class NodeParameters:
    """All parameters of `policy_node`."""

    autostart: bool = parameter(False, "Configure and activate on start")
    enable_commands: bool = parameter(True, "False: a dry run, everything but the command topics")
    allow_second_publisher: bool = parameter(False, "Activate although somebody else publishes on a command topic")
    status_rate_hz: float = parameter(10.0, "Rate of ~/status", unit="Hz", minimum=0.1, maximum=200.0)
    policy: PolicyParameters = group(PolicyParameters)
    joints: JointParameters = group(JointParameters)
    cameras: Mapping[str, CameraParameters] = named_groups(CameraParameters)
    observation: ObservationParameters = group(ObservationParameters)
    execution: ExecutionParameters = group(ExecutionParameters)
    rtc: RtcParameters = group(RtcParameters)
    gate: GateParameters = group(GateParameters)
    outputs: Mapping[str, OutputParameters] = named_groups(OutputParameters)

# SPDX-License-Identifier: Apache-2.0
"""What is to be demonstrated."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from policy_ros.errors import ConfigurationError
from policy_ros.execution import available_strategies
from policy_ros.ros.installation import share_directory

FIRST_SEED = 10_000  # no demonstration and no evaluation begins there
SHIPPED = {"act": "pick_act", "flow": "pick_flow"}
SLOWEST = 0.2  # control ticks 0.1 s apart: beyond twice that the node takes them for missing
_IMAGES = "observation.images."


@dataclass(frozen=True)
class Options:
    """One demonstration.

    Attributes:
        policy: checkpoint directory.
        image_size: (height, width) of the cameras, those of the checkpoint.
        episodes: how many; episode i has the seed ``seed + i``.
        timeout_s: a task not solved within this time is a failure [s].
        mode: of execution; empty: the configuration's.
        delay_s: added to every inference, in the robot's time [s].
        time_factor: simulated time, at most so many times as fast as real time; None: real time.
        parameters: ``NAME:=VALUE`` of the node, over everything else.
        out: folder of summary, bag, picture and logs.
        bag: whether to record.
    """

    policy: Path
    image_size: tuple[int, int]
    episodes: int
    seed: int
    timeout_s: float
    mode: str
    delay_s: float
    time_factor: float | None
    parameters: tuple[str, ...]
    out: Path
    bag: bool

    @property
    def configuration(self) -> Path:
        """Parameter file of the node."""
        return share_directory() / "config" / "sim.yaml"

    def clock_values(self) -> list[str]:
        """Which clock node and recorder follow."""
        return [] if self.time_factor is None else ["use_sim_time:=true"]

    def node_values(self) -> list[str]:
        """The node's parameters beyond the file."""
        real_delay_s = self.delay_s / (self.time_factor or 1.0)
        values = [f"policy.path:={self.policy}", f"execution.added_delay_s:={real_delay_s}", *self.clock_values()]
        if self.mode:
            values.append(f"execution.mode:={self.mode}")
        return [*values, *self.parameters]


def parse(argv: Sequence[str] | None = None) -> Options:
    """The command line.

    Raises:
        ConfigurationError: there is no such checkpoint.
    """
    parser = argparse.ArgumentParser(description="A trained policy does the task on the simulated robot.")
    parser.add_argument("--policy", type=Path, help="checkpoint; default: the shipped ACT, for rtc the shipped flow")
    parser.add_argument("--mode", default="", choices=("", *available_strategies()), help="of execution")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="added to every inference [ms]")
    parser.add_argument("--episodes", type=int, default=20, help="default 20")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help=f"of the first episode; default {FIRST_SEED}")
    parser.add_argument("--timeout", type=float, default=20.0, help="of an episode [s]; default 20")
    parser.add_argument(
        "--time-factor",
        type=float,
        metavar="F",
        help=f"simulated time, {SLOWEST:g} to 1 times as fast as real time: for a machine that is busy or slow",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of what is written")
    parser.add_argument("--no-bag", dest="bag", action="store_false", help="do not record")
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="a parameter of the policy node; may be repeated",
    )
    arguments = parser.parse_args(argv)
    if arguments.episodes < 1:
        parser.error(f"--episodes: expected at least 1, got {arguments.episodes}")
    if not 0.0 <= arguments.delay_ms <= 60_000.0:
        parser.error(f"--delay-ms: expected 0 to 60000, got {arguments.delay_ms:g}")
    if arguments.time_factor is not None and not SLOWEST <= arguments.time_factor <= 1.0:
        parser.error(f"--time-factor: expected {SLOWEST:g} to 1, got {arguments.time_factor:g}")
    policy = find_policy(arguments.policy, arguments.mode)
    return Options(
        policy=policy,
        image_size=image_size(policy),
        episodes=arguments.episodes,
        seed=arguments.seed,
        timeout_s=arguments.timeout,
        mode=arguments.mode,
        delay_s=arguments.delay_ms * 1e-3,
        time_factor=arguments.time_factor,
        parameters=tuple(arguments.parameters),
        out=arguments.out,
        bag=arguments.bag,
    )


def find_policy(given: Path | None, mode: str) -> Path:
    """The checkpoint to run.

    Raises:
        ConfigurationError: it is not there.
    """
    name = SHIPPED["flow" if mode == "rtc" else "act"]
    policy = given if given is not None else share_directory() / "checkpoints" / name
    if (policy / "config.json").is_file():
        return policy.resolve()
    if given is not None:
        raise ConfigurationError(f"policy: expected a checkpoint directory with config.json, found none at '{given}'")
    raise ConfigurationError(
        f"policy: expected the shipped checkpoints/{name} in this installation, found nothing at '{policy}'; run "
        "`make setup` in a complete checkout, or name another checkpoint (make demo POLICY=DIR). `policy-ros sim "
        "--expert --record` and `policy-ros train` make one: docs/simulation.md"
    )


def image_size(policy: Path) -> tuple[int, int]:
    """(height, width) of a checkpoint's pictures: what the robot's cameras are to deliver.

    Raises:
        ConfigurationError: it sees none, or of several sizes.
    """
    features = json.loads((policy / "config.json").read_text()).get("input_features", {})
    sizes = {tuple(feature["shape"][1:]) for name, feature in features.items() if name.startswith(_IMAGES)}
    if len(sizes) != 1:
        raise ConfigurationError(
            f"policy '{policy}': expected pictures of one size, got {', '.join(map(str, sorted(sizes))) or 'none'}"
        )
    height, width = sizes.pop()
    return int(height), int(width)

# SPDX-License-Identifier: Apache-2.0
"""What ``policy-ros doctor`` examines.

A check returns verdict, what was found, and a cure, which is empty where none is needed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from policy_ros.errors import ConfigurationError
from policy_ros.ros.installation import PROFILE_VARIABLES, share_directory

MIN_PYTHON, MAX_PYTHON = (3, 10), (3, 13)
MIN_RECEIVED = 0.97
REALTIME_PRIORITY = 50


class Verdict(str, Enum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


Result = tuple[Verdict, str, str]


@dataclass(frozen=True)
class Finding:
    """One check with its result."""

    name: str
    verdict: Verdict
    detail: str
    cure: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "verdict": self.verdict.value}


def check_interpreter(environment: Mapping[str, str]) -> Result:
    """A Python that both ROS and the policy's packages are installed for."""
    version = sys.version_info[:2]
    detail = f"Python {version[0]}.{version[1]} at {sys.executable}"
    if not MIN_PYTHON <= version <= MAX_PYTHON:
        return Verdict.FAILURE, detail, "use Python 3.10 to 3.13"
    active = environment.get("VIRTUAL_ENV")
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        cure = f"run {active}/bin/policy-ros, or deactivate the environment"
        return Verdict.WARNING, f"{detail}, but the active environment is {active}", cure
    return Verdict.OK, detail, ""


def check_ros(environment: Mapping[str, str]) -> Result:
    """rclpy starts with its middleware."""
    try:
        import rclpy
        from rclpy.context import Context
        from rclpy.utilities import get_rmw_implementation_identifier

        context = Context()
        rclpy.init(context=context)
        rclpy.shutdown(context=context)
    except ImportError as error:
        cure = "run `make setup`, or source /opt/ros/<distribution>/setup.bash for this interpreter"
        return Verdict.FAILURE, f"rclpy cannot be imported: {error}", cure
    except Exception as error:
        return Verdict.FAILURE, f"rclpy does not start: {error}", "check RMW_IMPLEMENTATION and the middleware profile"
    domain = environment.get("ROS_DOMAIN_ID", "0")
    return Verdict.OK, f"rclpy with {get_rmw_implementation_identifier()}, domain {domain}", ""


def check_messages(environment: Mapping[str, str]) -> Result:
    """The package's own messages are built for this interpreter."""
    try:
        from rclpy.serialization import deserialize_message, serialize_message

        from policy_ros.msg import ActionChunk, PolicyStatus

        for message in (ActionChunk(policy="act"), PolicyStatus(policy="act")):
            if deserialize_message(serialize_message(message), type(message)) != message:
                return Verdict.FAILURE, f"{type(message).__name__} changes on the way", "build the package again"
    except Exception as error:
        cure = (
            "build the package for this interpreter (make setup, or colcon build) and do not run from the source folder"
        )
        return Verdict.FAILURE, f"policy_ros/msg does not work: {error}", cure
    return Verdict.OK, "ActionChunk, PolicyStatus", ""


def check_installation(environment: Mapping[str, str]) -> Result:
    """Launch files and configuration are installed beside this code."""
    try:
        share = share_directory()
    except ConfigurationError as error:
        return Verdict.FAILURE, str(error), "run `make setup`, or `colcon build` and source install/setup.bash"
    missing = [
        name
        for name in ("launch/act.launch.py", "config/sim.yaml", "config/fastdds.xml")
        if not (share / name).exists()
    ]
    if missing:
        return Verdict.FAILURE, f"{share} lacks {', '.join(missing)}", "install the package again"
    return Verdict.OK, str(share), ""


def check_launch(environment: Mapping[str, str]) -> Result:
    """``ros2 launch`` needs packages that exist only in a system ROS."""
    if importlib.util.find_spec("launch_ros") is None:
        cure = "use `policy-ros run`, or `ros2 launch` of a system ROS 2 with this environment active"
        return Verdict.WARNING, "launch_ros is not installed for this interpreter", cure
    return Verdict.OK, "launch_ros", ""


def check_torch(environment: Mapping[str, str]) -> Result:
    """torch computes."""
    try:
        import torch
    except ImportError as error:
        return Verdict.FAILURE, f"torch cannot be imported: {error}", "install torch into this environment"
    product = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    if product != 512.0:
        return Verdict.FAILURE, f"torch {torch.__version__} computes 8x8 ones as {product}", "install torch again"
    return Verdict.OK, f"torch {torch.__version__}, {torch.get_num_threads()} threads", ""


def check_device(environment: Mapping[str, str]) -> Result:
    """Where the policy will run."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Verdict.OK, f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free", ""
    if Path("/proc/driver/nvidia/version").exists():
        cure = "install a torch build with CUDA that fits the driver"
        return Verdict.WARNING, "a GPU is there, but this torch cannot use it", cure
    return Verdict.OK, "CPU (no GPU found)", ""


def check_realtime(environment: Mapping[str, str]) -> Result:
    """The control thread may run before everything else."""
    from policy_ros.execution import why_refused

    if why_refused(REALTIME_PRIORITY):
        cure = "for execution.realtime_priority, raise the rtprio limit: docs/pacing.md"
        return Verdict.WARNING, "not permitted: other programs can delay commands by tens of milliseconds", cure
    return Verdict.OK, f"permitted; set execution.realtime_priority (usually {REALTIME_PRIORITY}) to use it", ""


def check_images(environment: Mapping[str, str]) -> Result:
    """Something decodes Bayer, YUV and compressed images."""
    for module, name in (("cv_bridge", "cv_bridge"), ("rosbags.image", "rosbags-image")):
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        if found:
            return Verdict.OK, f"{name} for all but 8-bit raw images", ""
    cure = "install rosbags-image, or cv_bridge of the system ROS"
    return Verdict.WARNING, "only 8-bit raw images can be decoded", cure


def check_profile(environment: Mapping[str, str]) -> Result:
    """Shared-memory segments that hold a camera image."""
    for variable in PROFILE_VARIABLES:
        if variable in environment:
            file = Path(environment[variable])
            if not file.is_file():
                return Verdict.FAILURE, f"{variable}={file} does not exist", f"unset {variable}"
            return Verdict.OK, f"{variable}={file}", ""
    shipped = share_directory() / "config" / "fastdds.xml"
    return (
        Verdict.WARNING,
        "none is set; launch files and policy-ros set the shipped one, your camera driver does not have it",
        f"for the camera's process: export {PROFILE_VARIABLES[0]}={shipped}",
    )


def check_frames(environment: Mapping[str, str]) -> Result:
    """Best-effort camera images really arrive from another process."""
    from policy_ros.ros.frames_check import measure

    published, received = measure(environment)
    detail = f"{received} of {published} best-effort images of 640x480 arrived from another process"
    if published == 0:
        return Verdict.FAILURE, "no image could be published", "check the ROS checks above"
    if received < MIN_RECEIVED * published:
        cure = "set the Fast DDS profile above on both sides; check /dev/shm (docker: --ipc=host or --shm-size)"
        return Verdict.FAILURE, detail, cure
    return Verdict.OK, detail, ""


CHECKS: dict[str, Callable[[Mapping[str, str]], Result]] = {
    "interpreter": check_interpreter,
    "ROS": check_ros,
    "messages": check_messages,
    "installation": check_installation,
    "ros2 launch": check_launch,
    "torch": check_torch,
    "device": check_device,
    "real-time": check_realtime,
    "image decoding": check_images,
    "middleware profile": check_profile,
    "camera images": check_frames,
}

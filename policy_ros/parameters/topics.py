# SPDX-License-Identifier: Apache-2.0
"""Topic names of parameters, for the node that subscribes to them and for whoever looks them up in a bag."""

from __future__ import annotations

from policy_ros.parameters.node import CameraParameters

NODE_NAME = "policy"  # as launch files and `policy-ros run` name the node


def camera_topic(name: str, camera: CameraParameters) -> str:
    """The topic a camera is subscribed on."""
    return camera.topic or f"camera/{name}/image_raw" + ("/compressed" if camera.compressed else "")


def absolute_topic(topic: str, namespace: str = "/", node: str = NODE_NAME) -> str:
    """The full name of a topic: relative names lie in the node's namespace, private ones (``~/``) below the node."""
    if topic.startswith("/"):
        return topic
    root = "/" + namespace.strip("/")
    if topic.startswith("~"):
        root, topic = f"{root.rstrip('/')}/{node}", topic[1:].lstrip("/")
    return f"{root.rstrip('/')}/{topic}"

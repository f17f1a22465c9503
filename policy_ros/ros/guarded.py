# SPDX-License-Identifier: Apache-2.0
"""Callbacks that cannot end the executor: what a callback raises, rclpy raises out of ``spin``, which stops all."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

_LOG_EVERY_S = 5.0


def guarded(node: Node, callback: Callable[..., Any]):
    """``callback`` with errors logged, throttled; for callbacks without a result."""

    @functools.wraps(callback)
    def call(*arguments: Any) -> Any:
        try:
            return callback(*arguments)
        except Exception:
            name = getattr(callback, "__qualname__", repr(callback))
            node.get_logger().error(f"{name} failed:\n{traceback.format_exc()}", throttle_duration_sec=_LOG_EVERY_S)
            return None

    return call


def guarded_service(node: Node, callback: Callable[[Any, Any], Any]):
    """A service callback whose errors are logged and answered: ``success`` false, the error as ``message``."""

    @functools.wraps(callback)
    def call(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except Exception as error:
            node.get_logger().error(f"{callback.__qualname__} failed:\n{traceback.format_exc()}")
            response.success, response.message = False, f"{type(error).__name__}: {error}"
            return response

    return call

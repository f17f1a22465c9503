# SPDX-License-Identifier: Apache-2.0
"""The libraries of the extra ``report``, imported when they are needed and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from policy_ros.errors import ConfigurationError


def require_report_libraries() -> None:
    """Find out whether a report can be written, before hours of replay.

    Raises:
        ConfigurationError: a library is not installed.
    """
    jinja2()
    plotly_js()


def jinja2() -> Any:
    """The module ``jinja2``.

    Raises:
        ConfigurationError: it is not installed.
    """
    return _module("jinja2", "jinja2")


def plotly_js() -> str:
    """The source of plotly.js as plotly brings it, fit for an inline script.

    Raises:
        ConfigurationError: plotly is not installed.
    """
    source: str = _module("plotly.offline", "plotly").get_plotlyjs()
    return source.replace("</script", "<\\/script")


def _module(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there and lacks something itself
        raise ConfigurationError(
            f"report.html: expected the package '{package}', it is not installed; pip install 'policy_ros[report]', "
            "or go without (--no-report)"
        ) from None

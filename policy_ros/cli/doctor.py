# SPDX-License-Identifier: Apache-2.0
"""``policy-ros doctor``: is this environment able to run a policy on a robot? Each check has a verdict and a cure."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import Any

from policy_ros.cli.checks import CHECKS, Finding, Verdict

_MARKS = {Verdict.OK: "ok  ", Verdict.WARNING: "warn", Verdict.FAILURE: "FAIL"}


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="check this environment",
        description="Checks interpreter, ROS, torch, device, messages, middleware, and that camera images arrive.",
    )
    parser.add_argument("--no-frames", action="store_true", help="leave out the self-test with camera images (5 s)")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Print all findings; 1 if a check failed."""
    findings = []
    for finding in _findings(skip_frames=arguments.no_frames):
        findings.append(finding)
        if not arguments.json:
            print(_readable(finding), flush=True)
    if arguments.json:
        print(json.dumps({"ok": _all_ok(findings), "checks": [finding.as_dict() for finding in findings]}))
    return 0 if _all_ok(findings) else 1


def _findings(*, skip_frames: bool) -> Iterator[Finding]:
    for name, check in CHECKS.items():
        if skip_frames and name == "camera images":
            continue
        try:
            verdict, detail, cure = check(os.environ)
        except Exception as error:  # a check must never end the examination
            verdict, detail, cure = Verdict.FAILURE, f"the check itself failed: {type(error).__name__}: {error}", ""
        yield Finding(name, verdict, detail, cure)


def _all_ok(findings: list[Finding]) -> bool:
    return all(finding.verdict is not Verdict.FAILURE for finding in findings)


def _readable(finding: Finding) -> str:
    line = f"{_MARKS[finding.verdict]}  {finding.name + ':':<20} {finding.detail}"
    return f"{line}\n{'':<27} -> {finding.cure}" if finding.cure else line

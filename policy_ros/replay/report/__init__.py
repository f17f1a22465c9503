# SPDX-License-Identifier: Apache-2.0
"""One page that says what a policy would have done on recordings, for whoever decides whether it may move an arm."""

from policy_ros.replay.report.collector import ReportCollector
from policy_ros.replay.report.contents import write_report
from policy_ros.replay.report.libraries import require_report_libraries
from policy_ros.replay.report.material import ReportMaterial, merge

__all__ = ["ReportCollector", "ReportMaterial", "merge", "require_report_libraries", "write_report"]

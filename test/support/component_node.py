# SPDX-License-Identifier: Apache-2.0
"""The policy node beside which a policy of components is registered, as by an installed package."""

from __future__ import annotations

import support.component_policies  # noqa: F401 - registers it
from policy_ros.ros import policy_node

if __name__ == "__main__":
    raise SystemExit(policy_node.main())

# SPDX-License-Identifier: Apache-2.0
"""Learned policies: their registry, their checkpoints and their networks.

Importing this package does not import torch; a policy's code is imported when it is first asked for.
"""

from __future__ import annotations

from policy_ros.policies.factory import available_policies, build_policy, load_policy, make_policy
from policy_ros.policies.registry import POLICY_REGISTRY

__all__ = ["POLICY_REGISTRY", "available_policies", "build_policy", "load_policy", "make_policy"]

# SPDX-License-Identifier: Apache-2.0
"""Options of policies that are put together from components."""

from __future__ import annotations

from dataclasses import dataclass

from policy_ros.policies.config import PolicyConfig


@dataclass(frozen=True, kw_only=True)
class ComponentConfig(PolicyConfig):
    """Base of their configurations; a policy adds its own options as fields.

    Features, history and normalisation come from sections of the YAML file of their own; what is left is under
    ``policy``.

    Attributes:
        chunk_size: H, rows that one prediction returns.
        n_action_steps: of them, how many are executed before the next prediction; all by default in a YAML file.
    """

    chunk_size: int = 16
    n_action_steps: int = 16

# SPDX-License-Identifier: Apache-2.0
"""Component types by name, as policies are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy_ros.policies.registry import Registry

if TYPE_CHECKING:
    from policy_ros.policies.components.component import Component


def _component_base() -> type[Component]:
    from policy_ros.policies.components.component import Component

    return Component


COMPONENT_REGISTRY: Registry[Component] = Registry(
    "component type", base=_component_base, group="policy_ros.components"
)
_HERE = "policy_ros.policies.components"
COMPONENT_REGISTRY.register_lazy("embedding", f"{_HERE}.vectors:Embedding")
COMPONENT_REGISTRY.register_lazy("keypoint_encoder", f"{_HERE}.images:KeypointImageEncoder")
COMPONENT_REGISTRY.register_lazy("mlp", f"{_HERE}.vectors:MLP")
COMPONENT_REGISTRY.register_lazy("resnet", f"{_HERE}.images:ResNetImageEncoder")
COMPONENT_REGISTRY.register_lazy("transformer_decoder", f"{_HERE}.sequences:TransformerDecoder")
COMPONENT_REGISTRY.register_lazy("transformer_encoder", f"{_HERE}.sequences:TransformerEncoder")

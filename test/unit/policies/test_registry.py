# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from importlib.metadata import EntryPoint

import pytest

from policy_ros.errors import RegistryError
from policy_ros.policies import POLICY_REGISTRY, available_policies, make_policy
from policy_ros.policies import registry as registry_module
from policy_ros.policies.registry import Registry


class Shape:
    pass


class Round(Shape):
    pass


@pytest.fixture
def shapes() -> Registry[Shape]:
    return Registry("shape", base=lambda: Shape)


def plugins(monkeypatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [e for e in entries if e.group == group])


def test_a_decorated_class_is_found_by_its_name(shapes):
    assert shapes.register("round")(Round) is Round
    assert shapes.get("round") is Round
    assert shapes.names() == ("round",)


def test_a_name_cannot_be_taken_twice(shapes):
    shapes.register("round")(Round)
    with pytest.raises(RegistryError, match="'round' is registered twice.*Round"):
        shapes.register("round")(Round)
    with pytest.raises(RegistryError, match="registered twice"):
        shapes.register_lazy("round", "anything:Round")


def test_a_class_of_the_wrong_kind_is_refused(shapes):
    with pytest.raises(RegistryError, match="expected a subclass of Shape"):
        shapes.register("dict")(dict)
    assert shapes.names() == ()


def test_an_unknown_name_suggests_the_closest_and_lists_all(shapes):
    shapes.register("round")(Round)
    with pytest.raises(RegistryError, match="did you mean 'round'.*Available: round"):
        shapes.get("rond")


def test_a_lazy_entry_is_imported_only_when_asked_for():
    code = (
        "import sys, policy_ros.policies as p; p.available_policies(); "
        "assert 'torch' not in sys.modules, 'torch was imported'; "
        "assert p.POLICY_REGISTRY.get('act').name == 'act'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


def test_a_plugin_is_found_by_its_entry_point(monkeypatch):
    plugins(monkeypatch, EntryPoint("ordered", "collections:OrderedDict", "dicts"))
    dicts = Registry("dict", base=lambda: dict, group="dicts")
    assert dicts.names() == ("ordered",)
    assert dicts.get("ordered") is OrderedDict


def test_a_plugin_of_the_wrong_kind_is_refused(monkeypatch):
    plugins(monkeypatch, EntryPoint("round", "collections:OrderedDict", "shapes"))
    with pytest.raises(RegistryError, match="'round': expected a subclass of Shape"):
        Registry("shape", base=lambda: Shape, group="shapes").get("round")


def test_a_plugin_that_cannot_be_imported_is_named_and_harms_no_other(monkeypatch):
    plugins(monkeypatch, EntryPoint("broken", "no_such_module_here:Thing", "shapes"))
    shapes = Registry("shape", base=lambda: Shape, group="shapes")
    shapes.register("round")(Round)
    assert shapes.get("round") is Round
    with pytest.raises(RegistryError, match="'broken' of no_such_module_here:Thing cannot be imported"):
        shapes.get("broken")


def test_a_plugin_that_shadows_a_built_in_is_refused(monkeypatch):
    plugins(monkeypatch, EntryPoint("act", "collections:OrderedDict", "policy_ros.policies"))
    with pytest.raises(RegistryError, match="'act' is registered twice: built in and by collections:OrderedDict"):
        POLICY_REGISTRY.get("act")


@pytest.mark.parametrize("name", ["os:system", "policy_ros.policies.act.policy:ACTPolicy", "collections.OrderedDict"])
def test_fault_15_a_name_is_never_an_import_path(name):
    with pytest.raises(RegistryError, match=r"never imported.*Available: .*act"):
        make_policy(name)


def test_act_is_available():
    assert "act" in available_policies()

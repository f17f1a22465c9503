# SPDX-License-Identifier: Apache-2.0
"""Names to classes. A name never becomes an import: it is a built-in, an installed plug-in, or an error."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Generic, TypeVar

from policy_ros.errors import RegistryError, closest

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

T = TypeVar("T")


class Registry(Generic[T]):
    """Registered classes of one kind, by name.

    A class gets in by decorator, by a lazy entry that the package's own code sets, or as an entry point of an
    installed distribution. Parameters, YAML files and checkpoints only ever supply the *name*.

    Args:
        kind: what is registered, for messages (``"policy"``).
        base: class that every entry must derive from, or a function that returns it when importing it is costly.
        group: entry-point group of plug-ins, looked up when a name is first asked for.
    """

    def __init__(self, kind: str, *, base: Callable[[], type[T]] | None = None, group: str | None = None) -> None:
        self.kind = kind
        self._base = base
        self._group = group
        self._classes: dict[str, type[T]] = {}
        self._lazy: dict[str, str] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that registers a class under ``name``.

        Raises:
            RegistryError: the name is taken, or the class does not derive from the base.
        """

        def decorate(cls: type[T]) -> type[T]:
            taken = self._classes.get(name)
            if taken is not None or name in self._lazy:
                by = self._lazy.get(name) if taken is None else f"{taken.__module__}:{taken.__qualname__}"
                raise RegistryError(f"{self.kind} '{name}' is registered twice: it already names {by}; choose another")
            self._check_base(name, cls)
            self._classes[name] = cls
            return cls

        return decorate

    def register_lazy(self, name: str, target: str) -> None:
        """Register a built-in as ``"module:attribute"``, imported when first asked for. For this package's code only.

        Raises:
            RegistryError: the name is taken.
        """
        if name in self._classes or name in self._lazy:
            raise RegistryError(f"{self.kind} '{name}' is registered twice")
        self._lazy[name] = target

    def get(self, name: str) -> type[T]:
        """The class registered under ``name``.

        Raises:
            RegistryError: the name is unknown (the message lists the known ones), is claimed by two distributions,
                or its class cannot be imported or does not derive from the base.
        """
        plugins = self._plugins().get(name, [])
        if len(plugins) + (name in self._lazy) > 1:
            owners = ", ".join(_owner(plugin) for plugin in plugins)
            built_in = "built in and " if name in self._lazy else ""
            raise RegistryError(f"{self.kind} '{name}' is registered twice: {built_in}by {owners}; uninstall one")
        if name not in self._classes:
            if name in self._lazy:
                module, _, attribute = self._lazy[name].partition(":")
                self._classes[name] = getattr(importlib.import_module(module), attribute)
            elif plugins:
                self._classes[name] = self._load_plugin(plugins[0])
            else:
                raise RegistryError(
                    f"{self.kind} {name!r:.80} is not registered (names are looked up, never imported): "
                    f"{closest(name, self.names())}"
                )
        return self._classes[name]

    def imported(self, name: str) -> type[T] | None:
        """The class registered under ``name`` if its code was imported already; nothing is imported."""
        return self._classes.get(name)

    def import_built_ins(self) -> None:
        """Import the code of all built-ins, so that :meth:`imported` knows them.

        One that cannot be imported is left out; whoever asks for it is told why.
        """
        for name in self._lazy.keys() - self._classes.keys():
            with suppress(ImportError, RegistryError):
                self.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, sorted; lists plug-ins without importing them."""
        return tuple(sorted({*self._classes, *self._lazy, *self._plugins()}))

    def _plugins(self) -> dict[str, list[EntryPoint]]:
        if self._group is None:
            return {}
        found: dict[str, list[EntryPoint]] = {}
        for plugin in entry_points(group=self._group):
            claims = found.setdefault(plugin.name, [])
            if plugin not in claims:  # the same distribution can be on sys.path twice
                claims.append(plugin)
        return found

    def _load_plugin(self, plugin: EntryPoint) -> type[T]:
        try:
            cls: type[T] = plugin.load()
        except Exception as error:
            raise RegistryError(
                f"{self.kind} '{plugin.name}' of {_owner(plugin)} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        self._check_base(plugin.name, cls)
        return cls

    def _check_base(self, name: str, cls: object) -> None:
        if self._base is None:
            return
        base = self._base()
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise RegistryError(f"{self.kind} '{name}': expected a subclass of {base.__name__}, got {cls!r}")


def _owner(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist is not None else plugin.value


def _policy_base() -> type[Policy]:
    from policy_ros.policies.base import Policy

    return Policy


POLICY_REGISTRY: Registry[Policy] = Registry("policy", base=_policy_base, group="policy_ros.policies")
POLICY_REGISTRY.register_lazy("act", "policy_ros.policies.act.policy:ACTPolicy")
POLICY_REGISTRY.register_lazy("diffusion", "policy_ros.policies.diffusion.policy:DiffusionPolicy")
POLICY_REGISTRY.register_lazy("exported", "policy_ros.policies.exported.policy:ExportedPolicy")
POLICY_REGISTRY.register_lazy("flow", "policy_ros.policies.flow.policy:FlowPolicy")
POLICY_REGISTRY.register_lazy("gaussian_actor", "policy_ros.policies.sac.policy:GaussianActorPolicy")
POLICY_REGISTRY.register_lazy("lerobot", "policy_ros.policies.lerobot.policy:LeRobotPolicy")
POLICY_REGISTRY.register_lazy("sac", "policy_ros.policies.sac.policy:GaussianActorPolicy")
POLICY_REGISTRY.register_lazy("tdmpc", "policy_ros.policies.tdmpc.policy:TDMPCPolicy")
POLICY_REGISTRY.register_lazy("vqbet", "policy_ros.policies.vqbet.policy:VQBeTPolicy")

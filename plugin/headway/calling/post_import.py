"""Run something right after a module is first imported, so that nobody has to import it for us.

Importing the openai SDK takes a second and many graphs never need it; this
waits for the user's own import of it, whether before or after `schedule()`.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from headway.calling.guard import complaints


class PostImport(importlib.abc.MetaPathFinder):
    """Calls `then(module)` once `name` is imported: now if it is already, else when it happens."""

    def __init__(self, name: str, then: Callable[[ModuleType], object]) -> None:
        self._name = name
        self._then = then

    def arm(self) -> None:
        """Begin to wait. Idempotent."""
        module = sys.modules.get(self._name)
        if module is not None:
            self._run(module)
        elif self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def disarm(self) -> None:
        """Stop waiting."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Let the other finders find the module, and hang the call onto its loader."""
        if fullname != self._name:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _After(spec.loader, self._run)
                return spec
        return None

    def _run(self, module: ModuleType) -> None:
        self.disarm()
        try:
            self._then(module)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add(f"after import of {self._name}", error)


class _After(importlib.abc.Loader):
    """The host's loader, with one more thing to do after it has run."""

    def __init__(self, loader: importlib.abc.Loader, then: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps the loader that it would have had (inspect and pickling look at it).
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then(module)

"""How much a credential lets do: everything, look only, or the files of one folder. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homeport.core.paths import contains

Action = Literal["read", "write", "execute"]
ScopeKind = Literal["all", "read", "folder"]

# Who may only look may not look at who else may come in.
_LOOKED_AT = frozenset({"contents", "documents", "identity", "kernels", "kernelspecs", "public", "server", "sessions"})
_OF_FILES = frozenset({"contents", "identity", "public"})


@dataclass(frozen=True)
class Scope:
    """What a credential is good for."""

    kind: ScopeKind = "all"
    folder: str = ""
    """API path, for ``folder``."""

    def permits(self, action: str, resource: str, path: str | None = None) -> bool:
        """True when ``action`` on ``resource`` is within the scope.

        Args:
            path: the API path (in normal form) that is touched, when one is; a scope of one folder looks at it.
        """
        if self.kind == "all":
            return True
        if self.kind == "read":
            return action == "read" and resource in _LOOKED_AT
        # A kernel can do anything, so that one folder means files only.
        return resource in _OF_FILES and action != "execute" and (resource != "contents" or self.covers(path))

    def covers(self, path: str | None) -> bool:
        """True when ``path`` is the scope's folder or in it; a folder-less path is covered by the whole alone."""
        return self.kind != "folder" or (path is not None and contains(self.folder, path))


ALL = Scope()

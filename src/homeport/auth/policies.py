"""What a caller may do: actions on resources, in Jupyter's words. Every row of the table of routes names a policy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from homeport.auth.identity import Caller
from homeport.auth.scopes import Action

__all__ = ["Action", "Authorizer", "Policy", "needs", "public"]

# jupyter_server's rule: safe methods read, others write; what runs or stops code executes.
_USUAL: Mapping[str, Action] = {"GET": "read", "HEAD": "read", "POST": "write", "PUT": "write", "PATCH": "write", "DELETE": "write"}


@dataclass(frozen=True)
class Policy:
    """What a request to a route needs.

    ``public`` needs no identity; Host, Origin and XSRF are checked all the same. A method that ``actions`` does not name is refused.
    """

    resource: str
    actions: Mapping[str, Action] = field(default_factory=dict[str, Action])
    public: bool = False
    events: Mapping[str, str] = field(default_factory=dict[str, str])
    """Methods whose success the audit log tells, with the event's name (``auth/audit.py``)."""

    def audited(self, **events: str) -> Policy:
        """This policy, with events for the audit log by method."""
        return replace(self, events=events)

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods of the route."""
        return tuple(self.actions)


def needs(resource: str, *methods: str, **actions: Action) -> Policy:
    """A policy for ``methods`` with Jupyter's usual action for each; ``actions`` names others (``POST="execute"``)."""
    return Policy(resource, {**{method: _USUAL[method] for method in methods}, **actions})


def public(*methods: str) -> Policy:
    """A policy for what everybody may see: the login page, static files."""
    return Policy("public", {method: _USUAL[method] for method in methods}, public=True)


class Authorizer:
    """Decides: whoever has come in may do what the scope of their credential covers."""

    def permits(self, caller: Caller, action: Action, resource: str, path: str | None = None) -> bool:
        """True when ``caller`` may do ``action`` on ``resource``.

        Args:
            path: the API path that is touched, when one is.
        """
        return bool(caller.login and action and resource) and caller.scope.permits(action, resource, path)

"""The table of routes. Every row names its policy; a test walks them all, and the reference in the documentation is made from it.

A pattern is below ``base_url`` and matches whole paths. Rows are tried from the top.
"""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import RequestHandler

from homeport.auth.policies import Policy, needs, public
from homeport.web import access, contents, history, kernels, pages, status
from homeport.web.assets import AssetHandler
from homeport.web.base import Handler
from homeport.web.doctor import Doctor, DoctorSocket
from homeport.web.document_events import Events, EventsChannel
from homeport.web.document_socket import DocumentSocket, Ticket
from homeport.web.files import Blob, Files, StreamText, Widgets
from homeport.web.kernel_socket import KernelSocket
from homeport.web.sockets import Socket

_ID = r"[\w-]+"
_OPENED = needs("documents", GET="execute").audited(GET="notebook opened")
_CHANGED = needs("contents", "GET", "POST", "PUT", "PATCH", "DELETE").audited(
    **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "file changed")
)
_ACTED = needs("kernels", POST="execute").audited(POST="kernel interrupted or restarted")
_ENDED = needs("sessions", "GET", PATCH="execute", DELETE="execute").audited(PATCH="kernel started", DELETE="kernel ended")


@dataclass(frozen=True)
class Route:
    """One row."""

    pattern: str
    handler: type[RequestHandler]
    policy: Policy

    def __post_init__(self) -> None:
        if not issubclass(self.handler, (Handler, Socket)):
            raise TypeError(f"{self.handler.__name__} does not pass the gate: it has to be a Handler or a Socket")


ROUTES: tuple[Route, ...] = (
    # Pages
    Route(r"", pages.RootPage, needs("identity", "GET")),
    Route(r"tree(?:/(?P<path>.*))?", pages.TreePage, needs("contents", "GET")),
    Route(r"lab", pages.LabPage, needs("contents", "GET")),
    Route(r"lab/tree(?:/(?P<path>.*))?", pages.LabPage, needs("contents", "GET")),
    Route(r"notebooks/(?P<path>.+)", pages.NotebookPage, needs("contents", "GET")),
    Route(r"login", pages.LoginPage, public("GET", "POST")),
    Route(r"logout", pages.LogoutPage, public("GET", "POST")),
    Route(r"frame", pages.FramePage, public("GET")),
    Route(r"favicon\.ico", pages.Icon, public("GET")),
    Route(r"static/(?P<name>.+)", AssetHandler, public("GET", "HEAD")),
    # The server
    Route(r"api/?", status.Version, public("GET")),
    Route(r"api/doctor", Doctor, public("GET", "POST")),
    Route(r"api/doctor/socket", DoctorSocket, public("GET")),
    Route(r"api/kernels/doctor/socket", DoctorSocket, public("GET")),
    Route(r"api/status", status.Status, needs("server", "GET")),
    Route(r"api/me", status.Me, needs("identity", "GET")),
    Route(r"api/shutdown", status.Shutdown, needs("server", POST="execute").audited(POST="stop")),
    # Logins and tokens
    Route(r"access", access.AccessPage, needs("logins", "GET")),
    Route(rf"api/logins/(?P<login_id>{_ID})", access.OneLogin, needs("logins", "DELETE")),
    Route(r"api/logins", access.Logins, needs("logins", "GET", "DELETE")),
    Route(rf"api/tokens/(?P<token_id>{_ID})", access.OneToken, needs("tokens", "DELETE")),
    Route(r"api/tokens", access.Tokens, needs("tokens", "GET", "POST")),
    # Open documents
    Route(r"api/documents/socket", DocumentSocket, _OPENED),
    Route(r"api/kernels/documents/socket", DocumentSocket, _OPENED),
    Route(r"api/documents/events", Events, needs("documents", GET="execute")),
    Route(
        rf"api/documents/events/(?P<stream_id>{_ID})/(?P<channel>{_ID})",
        EventsChannel,
        needs("documents", POST="execute", DELETE="execute"),
    ),
    Route(r"api/documents/ticket", Ticket, needs("documents", POST="execute")),
    Route(r"api/documents/blobs/(?P<name>[0-9a-f]{64})", Blob, needs("documents", "GET")),
    Route(r"api/documents/streams/(?P<key>.+)", StreamText, needs("documents", "GET").audited(GET="download")),
    Route(r"api/documents/widgets/(?P<path>.+)", Widgets, needs("documents", "GET")),
    # Contents
    Route(
        rf"api/contents/(?P<path>.+)/checkpoints/(?P<checkpoint>{_ID})",
        contents.OneCheckpoint,
        needs("contents", "POST", "DELETE").audited(POST="file changed"),
    ),
    Route(r"api/contents/(?P<path>.+)/checkpoints", contents.CheckpointList, needs("contents", "GET", "POST")),
    Route(rf"api/history/(?P<path>.+)/versions/(?P<version>{_ID})/diff", history.VersionDiff, needs("contents", "GET")),
    Route(
        rf"api/history/(?P<path>.+)/versions/(?P<version>{_ID})",
        history.OneVersion,
        needs("contents", "GET", "POST").audited(POST="file changed"),
    ),
    Route(r"api/history/(?P<path>.+)", history.VersionList, needs("contents", "GET")),
    Route(r"api/contents/(?P<path>.+)/trust", contents.TrustNotebook, needs("contents", "POST")),
    Route(r"api/contents(?:/(?P<path>.*))?", contents.Contents, _CHANGED),
    Route(r"api/notebooks(?:/(?P<path>.*))?", contents.NotebooksRedirect, needs("contents", "GET", "POST", "PUT", "PATCH", "DELETE")),
    Route(r"files/(?P<path>.+)", Files, needs("contents", "GET", "HEAD").audited(GET="download")),
    # Kernels
    Route(rf"api/kernels/(?P<kernel_id>{_ID})/channels", KernelSocket, needs("kernels", GET="execute").audited(GET="kernel connected")),
    Route(rf"api/kernels/(?P<kernel_id>{_ID})/(?P<action>interrupt|restart)", kernels.KernelAction, _ACTED),
    Route(
        rf"api/kernels/(?P<kernel_id>{_ID})", kernels.OneKernel, needs("kernels", "GET", DELETE="execute").audited(DELETE="kernel ended")
    ),
    Route(r"api/kernels", kernels.Kernels, needs("kernels", "GET", POST="execute").audited(POST="kernel started")),
    Route(r"api/kernelspecs/(?P<name>[^/]+)", kernels.OneKernelspec, needs("kernelspecs", "GET")),
    Route(r"api/kernelspecs", kernels.Kernelspecs, needs("kernelspecs", "GET")),
    Route(r"kernelspecs/(?P<name>[^/]+)/(?P<file>.+)", kernels.KernelspecFile, needs("kernelspecs", "GET")),
    Route(rf"api/sessions/(?P<session_id>{_ID})", kernels.OneSession, _ENDED),
    Route(r"api/sessions", kernels.Sessions, needs("sessions", "GET", POST="execute").audited(POST="kernel started")),
    # Everything else
    Route(r".*", pages.NotThere, public("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")),
)

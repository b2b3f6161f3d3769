"""Keys of Jupyter's configuration that are not Homeport's: those that count for nothing, and sections of other programs."""

from __future__ import annotations

WITHOUT_MEANING = {
    **{
        f"{section}.{name}": reason
        for section in ("ServerApp", "NotebookApp", "LabApp")
        for name, reason in {
            "jpserver_extensions": "Homeport loads no server extensions",
            "nbserver_extensions": "Homeport loads no server extensions",
            "server_extensions": "Homeport loads no server extensions",
            "contents_manager_class": "files are served by Homeport's own store",
            "kernel_manager_class": "kernels belong to Homeport's supervisor, so that they outlive the server",
            "session_manager_class": "sessions are kept by Homeport itself",
            "login_handler_class": "logins are Homeport's own",
            "logout_handler_class": "logins are Homeport's own",
            "iopub_data_rate_limit": "output is never dropped for its rate; --stream-limit bounds what a cell keeps",
            "iopub_msg_rate_limit": "output is never dropped for its rate; --stream-limit bounds what a cell keeps",
            "rate_limit_window": "output is never dropped for its rate; --stream-limit bounds what a cell keeps",
            "enable_mathjax": "mathematics is drawn by KaTeX, which comes with Homeport",
            "mathjax_url": "mathematics is drawn by KaTeX, which comes with Homeport",
            "mathjax_config": "mathematics is drawn by KaTeX, which comes with Homeport",
            "tornado_settings": "the web server's settings are Homeport's own",
            "webapp_settings": "static files lie below base_url by themselves",
            "websocket_compression_options": "compression is chosen by Homeport itself",
            "ws_ping_interval": "links are watched by Homeport itself",
            "ws_ping_timeout": "links are watched by Homeport itself",
            "disable_check_xsrf": "cross-site requests are always refused",
            "cookie_secret_file": "the secret lies in Homeport's state folder",
            "cookie_secret": "the secret lies in Homeport's state folder",
            "password_required": "nobody comes in from other machines without a password or a token",
            "allow_password_change": "'homeport password' changes the password",
            "client_ca": "logins are by password or token, not by certificates of browsers",
            "ssl_options": "TLS is set up by Homeport itself",
            "cookie_options": "cookies are set up by Homeport itself; --login-lifetime says how long they are good",
            "trust_xheaders": "--trusted-proxies says whose headers count",
            "pylab": "say '%matplotlib inline' in the notebook",
        }.items()
    },
    "MappingKernelManager.cull_idle_timeout": "--idle-shutdown stops idle kernels",
    "MappingKernelManager.cull_interval": "--idle-shutdown stops idle kernels",
    "MappingKernelManager.cull_connected": "--idle-shutdown counts a kernel that is looked at as not idle",
    "MappingKernelManager.cull_busy": "a kernel that runs is never idle",
    "FileContentsManager.use_atomic_writing": "files are always written atomically",
    "NotebookNotary.db_file": "what a notebook shows is safe without signatures",
}
"""Keys of Jupyter's configuration that count for nothing here, with the reason."""

FOREIGN_SECTIONS = frozenset(
    {
        "Application",
        "BaseIPythonApplication",
        "Completer",
        "ConnectionFileMixin",
        "ExecutePreprocessor",
        "Exporter",
        "HTMLExporter",
        "HistoryAccessor",
        "HistoryManager",
        "IPCompleter",
        "IPKernelApp",
        "IPythonKernel",
        "InlineBackend",
        "InteractiveShell",
        "InteractiveShellApp",
        "JupyterApp",
        "JupyterConsoleApp",
        "KernelManager",
        "KernelSpecManager",
        "LatexExporter",
        "LoggingMagics",
        "NbConvertApp",
        "NbConvertBase",
        "ProfileDir",
        "PylabMagics",
        "ScriptMagics",
        "Session",
        "SlidesExporter",
        "StoreMagics",
        "TemplateExporter",
        "TerminalIPythonApp",
        "TerminalInteractiveShell",
        "ZMQInteractiveShell",
        "ZMQTerminalIPythonApp",
    }
)
"""Sections that other programs read from the same files; Homeport says nothing about them."""

"""What ``jupyter notebook`` and ``jupyter lab`` do here: the same server, and the subcommands that guides use.

The commands themselves come with the distribution ``homeport-jupyter``, or are pointed here by ``homeport takeover``.
"""

from __future__ import annotations

from collections.abc import Sequence

from homeport.commands.names import Name


def run(name: Name, arguments: Sequence[str]) -> int:
    """Do what ``jupyter notebook ARGUMENTS`` or ``jupyter lab ARGUMENTS`` asks for; the exit status.

    Raises:
        HomeportError: it cannot be done; the message says why and what to do.
    """
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", arguments)
    if word == "list":
        return _list(rest)
    if word == "stop":
        from homeport.commands import stop

        return stop.run(rest)
    if word == "password":
        from homeport.commands import password

        return password.run(rest)

    from homeport.commands import serve

    return serve.run(arguments, name)


def _list(arguments: Sequence[str]) -> int:
    from homeport.commands import list as listing

    if not arguments:
        # Programs read this line away before they read the others.
        print("Currently running servers:")
    return listing.run(arguments)

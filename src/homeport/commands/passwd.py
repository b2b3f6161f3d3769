"""``homeport passwd``: the hash of a password, for a configuration file, a container's secret or a variable."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.commands.arguments import Parser


def make_parser() -> Parser:
    """The command's own command line."""
    return Parser(
        "homeport passwd",
        "Ask for a password twice, and print its hash (argon2id). It can stand in a configuration file as c.Homeport.password or\n"
        "c.NotebookApp.password, in the file of --password-file, or in the variable HOMEPORT_PASSWORD_HASH. A password is never given\n"
        "as an argument, where shells keep it in their history and other users see it; a program gives it as standard input.",
    )


def run(arguments: Sequence[str]) -> int:
    """Print the hash; exit status 0.

    Raises:
        BadRequest: no password was given, or two different ones.
    """
    make_parser().parse(arguments)

    from homeport.auth.passwords import hash_password
    from homeport.commands.password_files import ask_twice

    print(hash_password(ask_twice()))
    return 0

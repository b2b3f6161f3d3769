"""The commands of the command line, one module each; this table says which there are.

``serve`` is what ``homeport [FOLDER]`` without a command word does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command word: the module below ``homeport.commands`` whose ``run(arguments)`` it calls, and one line of help."""

    module: str
    summary: str


COMMANDS = {
    "run": Command("run", "run notebooks on the server, with a progress bar; outputs are saved in them"),
    "list": Command("list", "the servers that are running"),
    "stop": Command("stop", "stop a server; its kernels run on unless told otherwise"),
    "service": Command("service", "let systemd start the server with the machine, and again when it fails; or undo that"),
    "kernels": Command("kernels", "the kernels that are running, with their memory; or stop some of them"),
    "password": Command("password", "set the password that lets in: asks twice, and writes its hash to a configuration file"),
    "tokens": Command("tokens", "the named tokens that let programs in; make one, or remove some"),
    "cert": Command("cert", "the certificate of a public server: its fingerprint, and how a device trusts it"),
    "passwd": Command("passwd", "print the hash of a password"),
    "config": Command("config", "what is in force, and where each value came from"),
    "doctor": Command("doctor", "look at a server from outside, and say what the proxy before it does wrong"),
    "takeover": Command("takeover", "point 'jupyter notebook' and 'jupyter lab' of this environment at Homeport, and back"),
    "supervisor": Command("supervisor", "the process that owns the kernels; started by the server when it is needed"),
}

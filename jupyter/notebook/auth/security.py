"""Password hashes for configuration files, under the names that the classic notebook server had for them.

See https://jupyter-notebook.readthedocs.io/en/6.4.12/public_server.html.
"""

from __future__ import annotations

from pathlib import Path

from homeport.auth.passwords import check_password, hash_password
from homeport.commands.password_files import ask_twice, write_hash


def passwd(passphrase: str | None = None, algorithm: str = "argon2") -> str:
    """A hash of ``passphrase`` that the configuration accepts as ``c.NotebookApp.password``.

    Args:
        passphrase: asked for, twice, when it is not given. Better not given: an argument may stay in a history.
        algorithm: counts for nothing; the hash is always argon2id.
    """
    return hash_password(ask_twice() if passphrase is None else passphrase)


def passwd_check(hashed_passphrase: str, passphrase: str) -> bool:
    """Whether ``passphrase`` is the one of which the hash, of any kind that a notebook server has made, was made."""
    return check_password(hashed_passphrase, passphrase).right


def set_password(password: str | None = None, config_file: str | None = None) -> None:
    """Ask for a password when none is given, and write its hash into a JSON configuration file.

    Args:
        config_file: ``jupyter_notebook_config.json`` in Jupyter's configuration folder by default.
    """
    from jupyter_core.paths import jupyter_config_dir

    file = Path(config_file) if config_file else Path(jupyter_config_dir(), "jupyter_notebook_config.json")
    write_hash(file, "NotebookApp", "password", passwd(password))

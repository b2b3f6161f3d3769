"""``from notebook.auth import passwd``."""

from notebook.auth.security import passwd, passwd_check, set_password

__all__ = ["passwd", "passwd_check", "set_password"]

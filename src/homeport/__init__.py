"""Homeport: a notebook server for the machine you are not sitting at."""

__version__ = "0.1.0"

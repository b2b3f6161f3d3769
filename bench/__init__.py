"""Homeport against its peers: one command, one table. ``python -m bench --help``.

Peers come from PyPI into environments of their own. Every client here is our own and the same for all subjects, every
kernel is the same program, runs are interleaved, and the table says how busy the machine was with other things.
"""

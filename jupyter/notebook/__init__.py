"""What guides import from ``notebook`` when they set up a server, done by Homeport. The server itself is Homeport's."""

__version__ = "0.1.0"

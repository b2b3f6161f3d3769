"""The second process: kernels, their journals, and the socket that servers connect to."""

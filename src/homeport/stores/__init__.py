"""Where files live: the interface (``base.py``) and a folder of this machine (``files.py``)."""

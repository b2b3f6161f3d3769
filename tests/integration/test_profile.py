"""IPython's old way: a profile made by IPython itself, whose server file Homeport reads, kernel settings included."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from harness import notebooks
from harness.document_client import OpenDocument
from harness.rest import rest
from harness.server import MakeServer

FILE = """\
c = get_config()
# Kernel config
c.IPKernelApp.pylab = 'inline'  # if you want plotting support always
c.IPKernelApp.exec_lines = ['from_profile = [1]', 'from_profile += [2]']
# Notebook config
c.NotebookApp.open_browser = False
"""
ASKS = "print(get_ipython().profile, from_profile, linspace(0, 1, 2), get_ipython().config.get('InlineBackend'))"


async def test_a_profiles_kernels_start_with_it(make_server: MakeServer, open_document: OpenDocument) -> None:
    command = [sys.executable, "-m", "IPython", "profile", "create", "nbserver"]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=60, capture_output=True)
    profile = Path(os.environ["IPYTHONDIR"], "profile_nbserver")
    (profile / "ipython_notebook_config.py").write_text(FILE)
    (profile / "ipython_kernel_config.py").write_text("c = get_config()\nc.InlineBackend.figure_format = 'svg'\n")
    server = make_server(options=("--profile=nbserver",))
    notebooks.write(server.root / "a.ipynb", ASKS)
    await server.start()
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-0")
    assert page.text("cell-0") == "nbserver [1, 2] [0. 1.] {'figure_format': 'svg'}\n"
    await rest(server, "POST", f"api/kernels/{page.state['kernel']['id']}/restart")
    await page.ran("cell-0")
    assert page.text("cell-0").startswith("nbserver [1, 2] [0. 1.]"), "a restart is the same start"

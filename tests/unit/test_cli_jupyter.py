"""Under Jupyter's names: configuration files that are written, old flags, the first page; taking the names over and giving them back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from harness.server import environment
from homeport.auth.passwords import check_password
from homeport.cli import jupyter_lab, jupyter_notebook
from homeport.commands.command_line import read_command_line
from homeport.commands.config import template
from homeport.commands.names import HOMEPORT, LAB, NOTEBOOK, Name
from homeport.commands.takeover import script, steps
from homeport.options import BadOption, options


@pytest.fixture
def folder() -> Path:
    """Jupyter's configuration folder, empty."""
    return Path(os.environ["JUPYTER_CONFIG_DIR"])


def uncommented(text: str) -> str:
    return re.sub(r"^# (c\.)", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", [HOMEPORT, NOTEBOOK, LAB])
def test_a_generated_file_says_the_defaults(name: Name, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commented out it changes nothing; with every comment sign removed it still says what is the default."""
    monkeypatch.chdir(tmp_path)
    folder.mkdir()
    before = read_command_line([])
    text = template(name.section)
    assert all(line.startswith(("#", "c = get_config()")) for line in text.splitlines() if line)
    file = folder / f"{name.config_name}.py"
    file.write_text(text)
    assert read_command_line([]).settings == before.settings
    file.write_text(uncommented(text))
    after = read_command_line([])
    assert after.notes == ()
    assert after.settings == before.settings
    assert len(after.settings.sources) >= len([option for option in options() if option.default is not None]) - 1


def test_guides_names_are_in_the_generated_file() -> None:
    text = template(NOTEBOOK.section)
    for name in ("ip", "port", "open_browser", "notebook_dir", "base_url"):
        assert f"\n# c.NotebookApp.{name} = " in text


def test_generate_config_asks_before_it_overwrites(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jupyter_notebook(["--generate-config"]) == 0
    file = folder / "jupyter_notebook_config.py"
    assert capsys.readouterr().out == f"Writing default config to: {file}\n"
    file.write_text("c.NotebookApp.port = 9999\n")
    command = "from homeport.cli import jupyter_notebook; raise SystemExit(jupyter_notebook(['--generate-config']))"
    child: pexpect.spawn[str] = pexpect.spawn(sys.executable, ["-c", command], encoding="utf-8", timeout=30, env=environment())
    child.expect_exact(f"Overwrite {file} with default config? [y/N]")
    child.sendline("")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert file.read_text() == "c.NotebookApp.port = 9999\n"
    assert jupyter_notebook(["--generate-config", "-y"]) == 0
    assert "# c.NotebookApp.port = 8888" in file.read_text()
    assert jupyter_lab(["--generate-config"]) == 0
    assert "# c.ServerApp.port = 8888" in (folder / "jupyter_lab_config.py").read_text()


def test_a_password_is_asked_for_twice_and_its_hash_written(folder: Path) -> None:
    file = folder / "jupyter_notebook_config.json"
    folder.mkdir()
    file.write_text(json.dumps({"NotebookApp": {"port": 9999}}))
    command = "from homeport.cli import jupyter_notebook; raise SystemExit(jupyter_notebook(['password']))"
    child: pexpect.spawn[str] = pexpect.spawn(sys.executable, ["-c", command], encoding="utf-8", timeout=30, env=environment())
    for prompt, typed in (
        ("Enter password: ", "s3"),
        ("Verify password: ", "s3"),
    ):
        child.expect_exact(prompt)
        child.waitnoecho()
        child.sendline(typed)
    child.expect_exact(f"[NotebookPasswordApp] Wrote hashed password to {file}")
    child.expect(pexpect.EOF)
    written = json.loads(file.read_text())["NotebookApp"]
    assert written["port"] == 9999
    assert check_password(written["password"], "s3").right
    assert written["password"].startswith("argon2:$argon2id$")
    assert file.stat().st_mode & 0o077 == 0


def test_lab_begins_at_lab(tmp_path: Path) -> None:
    assert read_command_line([str(tmp_path)], NOTEBOOK).settings.default_url == "/tree"
    assert read_command_line([str(tmp_path)], LAB).settings.default_url == "/lab"
    assert read_command_line([str(tmp_path), "--LabApp.default_url=/tree/x"], LAB).settings.default_url == "/tree/x"
    for bad in ("//elsewhere.org", "https://elsewhere.org", "\\\\elsewhere.org"):
        with pytest.raises(BadOption, match="path of a page"):
            read_command_line([str(tmp_path), f"--default-url={bad}"])


def test_old_flags(tmp_path: Path) -> None:
    wanted = read_command_line([str(tmp_path), "--debug", "--pylab=inline", "--no-mathjax", "--transport", "ipc"], NOTEBOOK)
    assert wanted.settings.log_level == "debug"
    assert [re.sub(r"^command line: (\S+) has no meaning here: .*", r"\1", note) for note in wanted.notes] == [
        "NotebookApp.pylab",
        "NotebookApp.enable_mathjax",
        "KernelManager.transport",
    ]
    assert read_command_line([str(tmp_path), "--NotebookApp.log_level=10"]).settings.log_level == "debug"


def test_errors_have_the_name_that_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert jupyter_notebook(["--prot=9"]) == 2
    assert capsys.readouterr().err.startswith("jupyter notebook: there is no option --prot; did you mean --port?")


def test_list_says_what_jupyter_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert jupyter_notebook(["list"]) == 0
    assert capsys.readouterr().out.startswith("Currently running servers:\n")


# -- takeover --


def run_takeover(programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys, pathlib\nfrom homeport.commands import takeover\nreal = takeover.steps\n"
        f"takeover.steps = lambda *, undo: real(undo=undo, programs=pathlib.Path({str(programs)!r}))\n"
        "raise SystemExit(takeover.run(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=False, timeout=30
    )


def test_takeover_shows_first_and_can_be_undone(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    original = programs / "jupyter-notebook"
    original.write_text("#!/bin/sh\necho Jupyter\n")
    original.chmod(0o755)
    shown = run_takeover(programs)
    assert shown.returncode == 1
    assert f"{original}  is to start Homeport; what is there now is kept as {tmp_path}/share/homeport/taken-over/" in shown.stdout
    assert f"{programs}/jupyter-lab  is new" in shown.stdout
    assert "Nothing was changed" in shown.stdout
    assert [path.name for path in programs.iterdir()] == ["jupyter-notebook"]

    assert run_takeover(programs, "-y").returncode == 0
    said = subprocess.run([original, "--version"], env=environment(), capture_output=True, text=True, check=True, timeout=30).stdout
    assert said.startswith("homeport ")
    again = run_takeover(programs, "-y")
    assert (again.returncode, again.stdout.count("leads to Homeport already")) == (0, 2)

    assert run_takeover(programs, "--undo", "-y").returncode == 0
    assert subprocess.run([original], capture_output=True, text=True, check=True, timeout=30).stdout == "Jupyter\n"
    assert [path.name for path in programs.iterdir()] == ["jupyter-notebook"]
    assert "is not ours" in run_takeover(programs, "--undo", "-y").stdout


def test_undo_leaves_what_was_installed_since(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "jupyter-lab"
    program.write_text("#!/bin/sh\necho old\n")
    assert run_takeover(programs, "-y").returncode == 0
    program.write_text("#!/bin/sh\necho newer\n")  # somebody upgraded JupyterLab
    assert run_takeover(programs, "--undo", "-y").returncode == 0
    assert program.read_text() == "#!/bin/sh\necho newer\n"
    assert not (programs / "jupyter-notebook").exists()


def test_an_interpreter_with_a_long_path_or_a_blank_in_it(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / "a b"
    folder.mkdir(parents=True)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    program = tmp_path / "jupyter-lab"
    program.write_text(script("jupyter_lab", str(python)))
    program.chmod(0o755)
    said = subprocess.run([program, "--version"], env=environment(), capture_output=True, text=True, check=True, timeout=30).stdout
    assert said.startswith("homeport ")


def test_only_scripts_of_this_environment_are_looked_at() -> None:
    assert {step.program.parent for step in steps(undo=False)} == {Path(sys.executable).parent}

"""The command line: what it accepts, what it refuses and how it says so, and that asking for help costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homeport import __version__
from homeport.cli import main
from homeport.commands import COMMANDS
from homeport.commands.announcement import tunnel_hint
from homeport.commands.arguments import Parser
from homeport.commands.command_line import make_parser, read_command_line
from homeport.commands.serve import refuse_root
from homeport.errors import Forbidden, NotFound
from homeport.options import BadOption, Layer, options, resolve


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOMEPORT_TOKEN", "JUPYTER_TOKEN", "JUPYTER_PORT", "JUPYTER_PORT_RETRIES"):
        monkeypatch.delenv(variable, raising=False)


def test_help_names_every_flag_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in options():
        for flag in option.flags + option.off_flags:
            assert flag in text
    for word in COMMANDS:
        assert f"\n  {word} " in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"homeport {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom homeport.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'asyncio.base_events', 'tornado', 'zmq', 'pycrdt', 'nbformat', 'jupyter_client', 'psutil', 'uvloop', 'msgspec'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    loaded = result.stderr.strip().removeprefix("heavy: ")
    assert loaded in ("[]", "['asyncio.base_events']")


def test_a_folder_and_options(tmp_path: Path) -> None:
    wanted = read_command_line([str(tmp_path), "--port=9999", "--no-browser", "--ip", "*", "--idle-shutdown=2h"])
    assert wanted.settings.root_dir == tmp_path
    assert (wanted.settings.port, wanted.settings.open_browser, wanted.settings.ip) == (9999, False, "")
    assert wanted.settings.idle_shutdown == 7200
    assert wanted.settings.sources["port"] == "command line"


@pytest.mark.parametrize("flag", ["--notebook-dir", "--root-dir"])
def test_both_names_of_the_folder(tmp_path: Path, flag: str) -> None:
    assert read_command_line([f"{flag}={tmp_path}"]).settings.root_dir == tmp_path


def test_one_notebook_is_opened_first(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    notebook = tmp_path / "sub" / "a.ipynb"
    notebook.touch()
    wanted = read_command_line([str(notebook)])
    assert (wanted.settings.root_dir, wanted.page) == (tmp_path / "sub", "a.ipynb")
    wanted = read_command_line([str(notebook), f"--root-dir={tmp_path}"])
    assert (wanted.settings.root_dir, wanted.page) == (tmp_path, "sub/a.ipynb")
    with pytest.raises(BadOption, match="not in the folder"):
        read_command_line([str(notebook), f"--root-dir={tmp_path / 'elsewhere'}"])


def test_two_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="Two folders"):
        read_command_line([str(tmp_path), "--root-dir=/"])


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        read_command_line([f"--root-dir={tmp_path / 'x'}"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prot=9"], "did you mean --port?"),
        (["--no-browsr"], "did you mean --no-browser?"),
        (["--xyzzy"], "there is no option --xyzzy"),
        (["--on-stop=never"], "one of auto, keep, shutdown is wanted"),
        (["a", "b"], "'b' is one argument too many"),
        (["--port"], "expected one argument"),
    ],
)
def test_usage_errors_say_what_is_wanted(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_mistyped_command_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lsit"]) == 1
    assert "did you mean the command 'list'?" in capsys.readouterr().err


def test_flags_are_not_abbreviated() -> None:
    with pytest.raises(BadOption):
        make_parser().parse(["--allow-ro"])


def test_the_environment_is_weaker_than_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PORT", "1")
    assert read_command_line([]).settings.port == 1
    assert read_command_line(["-p", "2"]).settings.port == 2


def test_root_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(Forbidden, match="--allow-root"):
        refuse_root(resolve([]))
    refuse_root(resolve([Layer("x", {"allow_root": True})]))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refuse_root(resolve([]))


def test_somebody_who_came_by_ssh_is_told_the_tunnel() -> None:
    by_ssh = {"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}
    hint = tunnel_hint(by_ssh, "http://localhost:9001/x/", "strong", lambda: "ann")
    assert "ssh -N -L 9001:127.0.0.1:9001 ann@strong" in hint
    assert tunnel_hint({}, "http://localhost:9001/", "strong", lambda: "ann") == ""
    assert tunnel_hint(by_ssh, "http://strong:9001/", "strong", lambda: "ann") == ""


def test_help_is_filled_to_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "62")
    text = Parser(
        "it", "Words that stand on one line here\nand go on, " + "and on, " * 12 + "to the end.", "in:  columns\nas:  they are"
    ).format_help()
    assert max(map(len, text.splitlines())) <= 60
    assert "one line here and go on" in " ".join(text.split()), "a line break of the source is none of the help's"
    assert "in:  columns\nas:  they are" in text

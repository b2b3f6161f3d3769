"""Configuration files of Jupyter's servers and our own, and ``--Section.name=value``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from homeport.commands import serve
from homeport.commands.arguments import COMMAND_LINE, class_options
from homeport.commands.command_line import read_command_line
from homeport.commands.config import describe, generate_config, template
from homeport.commands.config_files import BadConfiguration, read_configuration, read_keys
from homeport.commands.names import HOMEPORT, NOTEBOOK, Name
from homeport.errors import Conflict, NotFound
from homeport.options import BEFORE_FILES, BadOption, options, resolve


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")
    return folder


def test_a_guides_notebook_config(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "jane")
    (tmp_path / "jane").mkdir()
    (folder / "jupyter_notebook_config.py").write_text(
        "c = get_config()\nc.NotebookApp.ip = '*'\nc.NotebookApp.port = 9999\nc.NotebookApp.open_browser = False\n"
        f"c.LabApp.notebook_dir = '{tmp_path}/$USER'\nc.InlineBackend.figure_format = 'svg'\n"
    )
    wanted = read_command_line([])
    assert (wanted.settings.ip, wanted.settings.port, wanted.settings.open_browser) == ("", 9999, False)
    assert wanted.settings.root_dir == tmp_path / "jane"
    assert wanted.settings.port_tries == 1, "a port that somebody asked for is not exchanged for another"
    assert wanted.notes == ()
    assert wanted.settings.sources["port"] == str(folder / "jupyter_notebook_config.py")


def test_json_wins_over_python_and_homeports_own_file_over_all(folder: Path) -> None:
    (folder / "jupyter_server_config.py").write_text("c.ServerApp.port = 1\n")
    (folder / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"port": 2, "base_url": "x"}}))
    assert read_command_line([]).settings.port == 2
    (folder / "homeport_config.py").write_text("c.Homeport.port = 3\n")
    wanted = read_command_line([])
    assert (wanted.settings.port, wanted.settings.base_url) == (3, "/x/")
    assert read_command_line(["--port=4"]).settings.port == 4


def test_config_path_counts_more_and_drop_ins_less(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = tmp_path / "more"
    (more / "jupyter_server_config.d").mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(more))
    (more / "jupyter_server_config.d" / "site.json").write_text(json.dumps({"ServerApp": {"port": 1, "nothing_known": 1}}))
    assert read_command_line([]).settings.port == 1
    assert read_command_line([]).notes == ()
    (folder / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"port": 2}}))
    assert read_command_line([]).settings.port == 1
    (more / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"port": 3}}))
    assert read_command_line([]).settings.port == 3


def test_what_counts_for_nothing_is_said(folder: Path) -> None:
    file = folder / "jupyter_server_config.py"
    file.write_text("c.ServerApp.prot = 1\nc.ServerApp.jpserver_extensions = {}\nc.IPKernelApp.pylab = 'inline'\n")
    notes = read_command_line([]).notes
    assert notes == (
        f"{file}: there is no option ServerApp.prot; did you mean ServerApp.port?",
        f"{file}: ServerApp.jpserver_extensions has no meaning here: Homeport loads no server extensions.",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c.ServerApp.port = 1\nimport nothing_like_this\n", "line 2"),
        ("c.ServerApp.port =\n", "line 1"),
        ("c.ServerApp.port = 'x'\n", "port"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder: Path, text: str, said: str) -> None:
    file = folder / "jupyter_server_config.py"
    file.write_text(text)
    with pytest.raises(Exception, match=said) as caught:
        read_command_line([])
    assert str(file) in str(caught.value)


def test_bad_json_is_named(folder: Path) -> None:
    (folder / "jupyter_config.json").write_text("{")
    with pytest.raises(BadConfiguration, match=r"jupyter_config\.json"):
        read_configuration([folder])


def test_one_file_on_request(folder: Path, tmp_path: Path) -> None:
    (folder / "jupyter_server_config.py").write_text("c.ServerApp.port = 1\nc.ServerApp.base_url = 'old'\n")
    mine = tmp_path / "mine.py"
    mine.write_text("c.NotebookApp.port = 2\n")
    settings = read_command_line([f"--config={mine}"]).settings
    assert (settings.port, settings.base_url) == (2, "/")
    with pytest.raises(NotFound, match="nowhere"):
        read_command_line(["--config", str(tmp_path / "nowhere.py")])


def test_class_options_on_the_command_line(folder: Path) -> None:
    rest, keys = class_options(["--NotebookApp.port=9999", "x", "--ServerApp.ip", "*", "--no-browser", "--NotebookApp.allow_root"])
    assert rest == ["x", "--no-browser"]
    assert keys == [("NotebookApp.port", "9999"), ("ServerApp.ip", "*"), ("NotebookApp.allow_root", "true")]
    wanted = read_command_line(["--NotebookApp.port=9999", "--NotebookApp.open_browser=False", "--ServerApp.tokn=x"])
    assert (wanted.settings.port, wanted.settings.open_browser) == (9999, False)
    assert wanted.notes == ("command line: there is no option ServerApp.tokn; did you mean ServerApp.token?",)


def test_the_newer_of_two_names_in_one_source_counts() -> None:
    layer, _ = read_keys([("NotebookApp.port", 1), ("ServerApp.port", 2)], COMMAND_LINE)
    assert layer.values == {"port": 2}


def test_the_generated_file_holds_every_option_and_changes_nothing(folder: Path) -> None:
    file = folder / "homeport_config.py"
    assert generate_config(file, overwrite=False)
    assert read_configuration([folder]).layers == []
    for option in options():
        assert option.name in BEFORE_FILES or f"# c.Homeport.{option.name} = " in template()
    file.write_text("mine")
    with pytest.raises(Conflict):
        generate_config(file, overwrite=False)
    assert file.read_text() == "mine"
    assert generate_config(file, overwrite=True)


def test_the_description_shows_sources_and_no_secret() -> None:
    layer, _ = read_keys([("ServerApp.token", "very-secret")], "somewhere")
    text = describe(resolve([layer]))
    assert "very-secret" not in text
    assert "somewhere" in text


def test_the_description_writes_values_as_people_give_them() -> None:
    layer, _ = read_keys([("Homeport.idle_shutdown", "90m"), ("Homeport.stream_limit", 1500)], "somewhere")
    values = {
        name: value for name, value, *_ in (line.split() for line in describe(resolve([layer])).splitlines() if len(line.split()) > 2)
    }
    assert (values["login_idle"], values["idle_shutdown"]) == ("7d", "90min")
    assert (values["history_size"], values["stream_limit"]) == ("200MiB", "1500")
    assert (values["public"], values["open_browser"]) == ("no", "yes")


PROFILE_FILE = """\
c = get_config()
# Kernel config
c.IPKernelApp.pylab = 'inline'  # if you want plotting support always
c.IPKernelApp.exec_lines = ['a = 1', 'b = 2']
# Notebook config
c.NotebookApp.ip = '*'
c.NotebookApp.open_browser = False
c.NotebookApp.port = 9999
"""


@pytest.fixture
def nbserver(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    made = tmp_path / "ipython" / "profile_nbserver"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("name", [HOMEPORT, NOTEBOOK])
def test_a_profiles_file_counts_and_says_how_kernels_start(nbserver: Path, folder: Path, name: Name) -> None:
    (nbserver / "ipython_notebook_config.py").write_text(PROFILE_FILE)
    (folder / "jupyter_notebook_config.py").write_text("c.NotebookApp.port = 1\nc.NotebookApp.base_url = 'x'\n")
    wanted = read_command_line(["--profile=nbserver"], name)
    assert (wanted.settings.ip, wanted.settings.port, wanted.settings.base_url) == ("", 9999, "/x/")
    assert wanted.kernel_arguments == (
        "--profile=nbserver", "--IPKernelApp.pylab=inline", "--IPKernelApp.exec_lines=a = 1", "--IPKernelApp.exec_lines=b = 2",
    )  # fmt: skip
    assert wanted.notes == ()
    without = read_command_line([], name)
    assert (without.settings.port, without.kernel_arguments) == (1, ())


def test_a_profile_that_is_not_there_is_named_with_what_makes_it(nbserver: Path) -> None:
    with pytest.raises(NotFound, match="'ipython profile create nbservre' makes it"):
        read_command_line(["--profile=nbservre"])
    with pytest.raises(BadOption, match="name of an IPython profile"):
        read_command_line(["--profile=../nbserver"])


def test_the_file_for_a_profile_is_written_into_it(nbserver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = nbserver / "ipython_notebook_config.py"
    assert serve.run(["--profile=nbserver", "--generate-config"]) == 0
    assert capsys.readouterr().out == f"Writing default config to: {file}\n"
    assert "# c.NotebookApp.port = 8888" in file.read_text()
    assert read_command_line(["--profile=nbserver"]).kernel_arguments == ("--profile=nbserver",)
    with pytest.raises(Conflict):
        serve.run(["--profile=nbserver", "--generate-config"])


def test_a_file_cannot_say_which_files_are_read(folder: Path) -> None:
    (folder / "homeport_config.py").write_text("c.Homeport.profile = 'nbserver'\n")
    wanted = read_command_line([])
    assert (wanted.settings.profile, len(wanted.notes)) == ("", 1)
    assert "Homeport.profile counts on the command line only" in wanted.notes[0]

"""The front door: what loads, what is refused in one line, and how the program ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent import cli
from agent.errors import AgentBug
from agent.errors import ConfigError
from agent.errors import HostUnsupported

ROOT = Path(__file__).parents[2]
HEAVY = ("duckdb", "grpc", "psutil", "pyarrow", "pyroute2", "rich", "sqlalchemy", "vedette")


def vedette(*arguments: str, stdout: int = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / '_proto'}"} | variables
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


def loaded_by(statement: str) -> list[str]:
    """Return which of the heavy packages a statement leaves imported in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / '_proto'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return sorted(set(HEAVY) & set(done.stdout.splitlines()[-1].split()))


def test_the_command_line_loads_nothing_heavy() -> None:
    """`vedette --help` is instant, and the agent does not carry what only people's commands need."""
    assert [] == loaded_by("import agent.cli")
    assert [] == loaded_by("from agent.cli import main\nmain(['--help'])")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("vedette fi", ["findings"]),
        ("vedette findings --sin", ["--since"]),
        ("vedette pki tok", ["token"]),
        ("vedette fnord --since", []),
        ("vedette --ver", ["--version"]),
    ],
)
def test_a_shell_completes_what_is_typed(line: str, names: list[str]) -> None:
    """Commands, their own commands and options; a wrong command says nothing into the prompt."""
    done = vedette(COMP_WORDS=line, COMP_CWORD=str(line.count(" ")), _VEDETTE_COMPLETE="bash_complete")

    assert (0, "") == (done.returncode, done.stderr)
    assert names == [each.partition(",")[2] for each in done.stdout.split()]


@pytest.mark.parametrize(
    ("shell", "start"), [("bash", "_vedette_completion()"), ("zsh", "#compdef vedette"), ("fish", "function")]
)
def test_each_shell_has_its_script(shell: str, start: str) -> None:
    """What the packages install is made by the program itself."""
    done = vedette(_VEDETTE_COMPLETE=f"{shell}_source")

    assert (0, start) == (done.returncode, done.stdout[: len(start)])


def test_the_agent_loads_nothing_that_only_people_need() -> None:
    """The agent process has 64 MB: no tables, no colours, no database engines."""
    loaded = loaded_by("import agent.commands.agent")

    assert [] == [name for name in loaded if name in {"cryptography", "dns", "duckdb", "pyarrow", "rich", "sqlalchemy"}]


@pytest.mark.parametrize("name", list(cli.SUBCOMMANDS))
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help of every command says what it does and shows a line to copy."""
    status = cli.main([name, "--help"])

    out, err = capsys.readouterr()
    assert (0, "") == (status, err)
    assert f"vedette {name}" in out.partition("Example:")[2]
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rum"], "vedette: no such command 'rum'; did you mean run? (see vedette --help)"),
        (["--wrong"], "vedette: No such option '--wrong'"),
        (["run", "--durtion", "3"], "vedette run: No such option '--durtion'. Did you mean '--duration'?"),
        (["run", "--duration", "soon"], "vedette run: Invalid value for '--duration'"),
        (["agent"], "vedette agent: Missing option '--config'"),
        (["agent", "--config", "/nonexistent"], "vedette: /nonexistent cannot be read: No such file or directory"),
        (["collector", "--config", "/nonexistent"], "vedette: /nonexistent"),
        (["findings", "--since", "yesterday"], "vedette findings: Invalid value for '--since'"),
        (["simulate", "x\x1b[2J"], "vedette"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option or file gets one clear line and exit status 2, no usage block, no traceback."""
    status = cli.main(arguments)

    out, err = capsys.readouterr()
    assert (2, "", 1) == (status, out, err.count("\n")), err
    assert err.startswith(line)
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        pytest.param(ConfigError("f:3: no"), 2, "vedette: f:3: no\n", id="their fault"),
        pytest.param(HostUnsupported("no\x1b BTF\nhere"), 2, "vedette: no\\x1b BTF here\n", id="this host"),
        pytest.param(KeyboardInterrupt(), 130, "", id="interrupted"),
        pytest.param(click.Abort(), 130, "", id="interrupted at a question"),
    ],
)
def test_every_way_to_fail_has_its_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    status: int,
    said: str,
) -> None:
    """Scripts can tell a refusal from an interruption."""
    monkeypatch.setattr(cli.vedette, "invoke", _raising(raised))

    assert status == cli.main([])
    assert ("", said) == tuple(capsys.readouterr())


@pytest.mark.parametrize("bug", [ZeroDivisionError("x\ny"), AgentBug("a promise")])
def test_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, bug: Exception
) -> None:
    """What we did not foresee is one line, status 3, and a file to send along."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli.vedette, "invoke", _raising(bug))

    status = cli.main([])

    (kept,) = tmp_path.glob("vedette-*.traceback")
    said = capsys.readouterr().err
    assert (3, 1) == (status, said.count("\n"))
    assert f"traceback in {kept}" in said
    assert "raise exc" in kept.read_text()


def test_a_bug_on_a_full_disk_still_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no file can be written the traceback goes to standard error."""
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    monkeypatch.setattr(cli.vedette, "invoke", _raising(ZeroDivisionError("x")))

    assert 3 == cli.main([])
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    """`vedette … | head` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = vedette("--help", stdout=writer)
    finally:
        os.close(writer)

    assert (141, "") == (done.returncode, done.stderr)


def test_without_a_command_the_help_is_shown() -> None:
    """Whoever types `vedette` sees what there is."""
    done = vedette()

    assert 0 == done.returncode
    assert all(f"  {name}" in done.stdout for name in cli.SUBCOMMANDS)


def _raising(exc: BaseException) -> object:
    def main(*_: object, **__: object) -> None:
        raise exc

    return main

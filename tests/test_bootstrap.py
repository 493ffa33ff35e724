"""`make` takes .venv for complete only when the whole installation, of just these versions, has ended."""

import subprocess

import pytest

from bookbuild import bootstrap


class Pip:
    """Stands in for the commands that the bootstrap runs."""

    def __init__(self):
        self.commands, self.fail_at, self.interrupt = [], None, False

    def __call__(self, command, cwd):
        self.commands.append(" ".join(command))
        if "venv" in command:
            (bootstrap.VENV / "bin").mkdir(parents=True)
        if self.fail_at and self.fail_at in self.commands[-1]:
            if self.interrupt:
                raise KeyboardInterrupt
            return subprocess.CompletedProcess(command, 1)
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def pip(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\n[build-system]\nrequires = []\n')
    (tmp_path / "requirements.lock").write_text("numpy==2.1.0")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "EXACT", True)
    stand_in = Pip()
    monkeypatch.setattr(bootstrap.subprocess, "run", stand_in)
    return stand_in


def test_complete_environment_is_left_alone(pip):
    bootstrap.environment()
    assert sum("--require-hashes -r requirements.lock" in command for command in pip.commands) == 1
    before = len(pip.commands)
    bootstrap.environment()
    assert len(pip.commands) == before


@pytest.mark.parametrize("step", ["-m venv", "--require-hashes", "-e ."])
@pytest.mark.parametrize("interrupt", [True, False])
def test_unfinished_installation_is_begun_anew(pip, step, interrupt):
    pip.fail_at, pip.interrupt = step, interrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt if interrupt else SystemExit):
            bootstrap.environment()
        assert not bootstrap.stamp().exists()
    (bootstrap.VENV / "left-over").touch()
    pip.fail_at = None
    bootstrap.environment()
    assert bootstrap.stamp().exists()
    assert not (bootstrap.VENV / "left-over").exists()


def test_new_lock_requirements_or_mode_make_a_new_environment(pip, tmp_path, monkeypatch):
    stamps = {bootstrap.stamp()}
    (tmp_path / "requirements.lock").write_text("numpy==2.2.0")
    stamps.add(bootstrap.stamp())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "b"\n[build-system]\nrequires = []\n')
    stamps.add(bootstrap.stamp())
    monkeypatch.setattr(bootstrap, "EXACT", False)
    stamps.add(bootstrap.stamp())
    assert len(stamps) == 4


def test_other_settings_do_not(pip, tmp_path):
    before = bootstrap.stamp()
    with open(tmp_path / "pyproject.toml", "a") as file:
        file.write("[tool.ruff]\nline-length = 110\n")
    assert bootstrap.stamp() == before


def test_python_without_ensurepip_is_explained(pip, monkeypatch):
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", {"venv": "is here"}.get)
    with pytest.raises(SystemExit, match=r"has no ensurepip.*apt install python3"):
        bootstrap.environment()
    assert not pip.commands

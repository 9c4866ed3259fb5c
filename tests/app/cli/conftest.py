from pathlib import Path

import pytest
from cli_lab import Run

from opengateway.app.cli import main
from opengateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: str) -> tuple[int, str, str]:
        code = main(["--home", str(home.path), *args])
        out, err = capsys.readouterr()
        return code, out, err

    return call

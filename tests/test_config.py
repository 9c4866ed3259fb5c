import json
from pathlib import Path

import pytest

from opengateway import config
from opengateway.errors import ConfigInvalid, SetupError, UnknownRegion
from opengateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def write(home: Home, content: object) -> None:
    home.path.mkdir(exist_ok=True)
    home.config.write_text(content if isinstance(content, str) else json.dumps(content))


def refused(home: Home, content: object) -> ConfigInvalid:
    write(home, content)
    with pytest.raises(ConfigInvalid) as caught:
        config.load(home)
    return caught.value


def test_a_missing_or_empty_file_means_the_defaults(home: Home) -> None:
    assert config.load(home) == config.Config()
    write(home, "")
    assert config.load(home) == config.Config()
    assert config.Config().http.port == 11435


def test_every_mistake_is_reported_at_once_with_what_was_probably_meant(home: Home) -> None:
    error = refused(
        home,
        {
            "regoin": "us-east-1",
            "port": 1,
            "http": {"port": "abc", "hots": "x"},
            "engine": {"kind": "olama", "slots": True},
            "lan": True,
            "wire": {"bootstrap": ["host:1", "host"]},
        },
    )
    for words in (
        '"regoin", did you mean "region"?',
        '"port", did you mean http.port or wire.port or dht.port?',
        '"http.port" must be a whole number from 0 to 65535, not "abc"',
        '"http.hots", did you mean "http.host"?',
        'did you mean "ollama"?',
        '"engine.slots" must be a whole number from 0 to 256, not true',
        '"lan" must be an object of its own keys, not true',
        '"wire.bootstrap" must be a list of "host:port"',
    ):
        assert words in error.message
    assert error.message.startswith("8 mistakes in ")


def test_a_mistake_in_the_json_is_told_with_line_and_column(home: Home) -> None:
    assert "line 2, column 1" in refused(home, '{"region": "us-east-1",\n}').message


@pytest.mark.parametrize("content", ["[]", "3", "nul", '{"a": 1, "a": 2}', "[" * 100_000, "\ufeff{}"])
def test_what_is_no_settings_object_is_refused_in_one_sentence(home: Home, content: str) -> None:
    assert "\n" not in refused(home, content).message


def test_a_file_that_is_no_text_or_no_file_is_refused(home: Home) -> None:
    home.path.mkdir()
    home.config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="not a text file"):
        config.load(home)
    home.config.unlink()
    home.config.mkdir()
    with pytest.raises(SetupError, match="cannot read the configuration"):
        config.load(home)


def test_an_unknown_region_alone_is_an_unknown_region(home: Home) -> None:
    error = refused(home, {"region": "us-esat-1"})
    assert isinstance(error, UnknownRegion)
    assert 'did you mean "us-east-1"?' in error.message


def test_the_region_is_guessed_where_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert config.Config().place.code == "eu-central-1"
    assert config.Config(region="us-west-2").place.country == "US"


def test_a_change_is_written_with_its_type_and_leaves_the_rest_alone(home: Home) -> None:
    write(home, {"engine": {"kind": "none"}})
    config.change(home, "http.port", "0")
    config.change(home, "lan.enabled", "off")
    found = config.change(home, "wire.bootstrap", "a:1, [::1]:2")
    assert found.wire.bootstrap == ("a:1", "[::1]:2")
    assert json.loads(home.config.read_text()) == {
        "engine": {"kind": "none"},
        "http": {"port": 0},
        "lan": {"enabled": False},
        "wire": {"bootstrap": ["a:1", "[::1]:2"]},
    }
    assert home.config.stat().st_mode & 0o077 == 0
    config.change(home, "http.port", None)
    assert config.load(home).http.port == 11435


@pytest.mark.parametrize(
    ("key", "value"), [("http.port", "70000"), ("region", "moon"), ("nme", "x"), ("lan", "x")]
)
def test_a_change_that_would_be_invalid_is_not_written(home: Home, key: str, value: str) -> None:
    write(home, {"engine": {"kind": "none"}})
    before = home.config.read_bytes()
    with pytest.raises(ConfigInvalid):
        config.change(home, key, value)
    assert home.config.read_bytes() == before


def test_a_file_with_two_mistakes_can_be_mended_one_by_one(home: Home) -> None:
    write(home, {"http": {"port": "x"}, "region": "moon"})
    with pytest.raises(ConfigInvalid):
        config.change(home, "http.port", "0")  # the other mistake is still told
    assert json.loads(home.config.read_text())["http"]["port"] == 0
    assert config.change(home, "region", "us-east-1").http.port == 0


def test_overrides_are_checked_like_the_file() -> None:
    assert config.override(config.Config(), {"engine.kind": "pocket"}).engine.kind == "pocket"
    with pytest.raises(ConfigInvalid, match=r"engine\.kind"):
        config.override(config.Config(), {"engine.kind": "x"})


def test_a_secret_is_not_repeated_in_an_error(home: Home) -> None:
    assert "hunter2" not in refused(home, {"network": {"secret": ["hunter2"]}}).message


def test_every_key_has_words_for_what_it_is_and_wants() -> None:
    for key in config.KEYS.values():
        assert key.doc, key.name
        assert key.wants, key.name
    assert list(config.KEYS) == list(config.flat(config.Config()))

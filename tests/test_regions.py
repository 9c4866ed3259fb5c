from pathlib import Path

import pytest

from opengateway.errors import UnknownRegion
from opengateway.regions import distance_km, guess, nearest, region, regions, system_timezone


def test_every_region_has_a_country_a_continent_and_a_place_on_earth() -> None:
    found = regions()
    assert len(found) >= 39
    for code, place in found.items():
        assert code == place.code
        assert len(place.country) == 2 and place.country.isupper()
        assert place.continent in {"AF", "AS", "EU", "NA", "OC", "SA"}
        assert -90 <= place.latitude <= 90 and -180 <= place.longitude <= 180


@pytest.mark.parametrize(
    ("timezone", "code"),
    [
        ("Europe/Berlin", "eu-central-1"),
        ("Europe/Oslo", "eu-north-1"),
        ("America/New_York", "us-east-1"),
        ("US/Pacific", "us-west-1"),
        ("Asia/Shanghai", "cn-north-1"),
        ("Asia/Calcutta", "ap-south-2"),
        ("Africa/Johannesburg", "af-south-1"),
        ("Etc/UTC", "us-east-1"),
        ("Nowhere/City", "us-east-1"),
        ("", "us-east-1"),
    ],
)
def test_a_timezone_leads_to_the_nearest_region_in_its_country(timezone: str, code: str) -> None:
    assert guess(timezone).code == code


def test_a_region_for_some_only_is_never_guessed() -> None:
    assert nearest(52.4, 13.1, "DE").code == "eu-central-1"
    assert not region("eusc-de-east-1").open


def test_an_unknown_region_names_what_was_probably_meant() -> None:
    with pytest.raises(UnknownRegion, match='did you mean "ap-southeast-2"'):
        region("ap-suotheast-2")
    with pytest.raises(UnknownRegion) as caught:
        region("zzz")
    assert "did you mean" not in caught.value.message


def test_distances_are_those_of_the_globe() -> None:
    assert distance_km(51.5074, -0.1278, 48.8566, 2.3522) == pytest.approx(343.6, abs=1)  # London - Paris
    assert distance_km(0, 179, 0, -179) == pytest.approx(222.4, abs=0.5)
    assert region("us-east-1").distance_km(region("us-east-1")) == 0


def test_the_timezone_is_read_from_where_systems_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert system_timezone(tmp_path) == ""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/timezone").write_text("Asia/Tokyo\n")
    assert system_timezone(tmp_path) == "Asia/Tokyo"
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Paris")
    assert system_timezone(tmp_path) == "Europe/Paris"
    monkeypatch.setenv("TZ", ":/usr/share/zoneinfo/Europe/Rome")
    assert system_timezone(tmp_path) == "Europe/Rome"

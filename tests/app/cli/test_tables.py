from opengateway.app.cli.actors import branches
from opengateway.app.cli.output import clean, gigabytes, seconds
from opengateway.app.cli.tables import Column, drawn, fit, plain

COLUMNS = (
    Column("ID"),
    Column("NAME", squeeze=True),
    Column("COUNT", "right", drop=1),
    Column("REGION", drop=2),
    Column("WHY", fold=10),
)
ROWS = [
    ["aaaaaaaaaa", "a rather long name", "7", "us-east-1", "one two three four five"],
    ["b", "", "", "x", "y"],
]


def shown(width: int) -> list[str]:
    return [str(line) for line in drawn(COLUMNS, ROWS, width)]


def test_off_a_terminal_everything_is_whole_and_fields_can_be_counted() -> None:
    assert plain(COLUMNS, ROWS) == [
        "ID          NAME                COUNT  REGION     WHY",
        "aaaaaaaaaa  a rather long name      7  us-east-1  one two three four five",
        "b           -                       -  x          y",
    ]


def test_a_wide_window_shows_everything() -> None:
    assert [line.split() for line in shown(120)[2:]] == [" ".join(row).split() for row in ROWS]


def test_a_narrow_window_loses_what_matters_least_and_never_an_id() -> None:
    assert [COLUMNS[i].title for i, _ in fit(COLUMNS, ROWS, 46)] == ["ID", "NAME", "COUNT", "WHY"]
    assert [COLUMNS[i].title for i, _ in fit(COLUMNS, ROWS, 38)] == ["ID", "NAME", "WHY"]
    for width in range(32, 100):
        lines = shown(width)
        assert all(len(line) <= width for line in lines), width
        assert lines[2].startswith("aaaaaaaaaa")
        assert " ".join(" ".join(lines[2:]).split()).count("five") == 1  # folded, not cut


def test_a_column_without_anything_in_it_is_not_drawn() -> None:
    assert [i for i, _ in fit(COLUMNS, [["a", "", "", "", "b"]], 80)] == [0, 4]


def test_wide_characters_take_two_places() -> None:
    columns = (Column("NAME", squeeze=True), Column("X"))
    assert str(drawn(columns, [["世界世界", "1"], ["a", "2"]], 80)[3]) == "a         2"


def test_the_tree_is_drawn_from_depths() -> None:
    assert branches([0, 1, 1, 2, 2, 1]) == ["", "├─ ", "├─ ", "│  ├─ ", "│  └─ ", "└─ "]
    assert branches([0, 1, 2]) == ["", "└─ ", "   └─ "]
    assert branches([]) == []


def test_text_from_strangers_loses_what_could_fool_a_reader() -> None:
    assert clean("a\x1b[31mb\u202ec\u200bd\x00\x9b\n\t") == "a[31mbcd\n\t"
    assert clean("Zürich 世界 👩‍💻") == "Zürich 世界 👩‍💻"


def test_times_and_sizes_are_short() -> None:
    assert [seconds(value) for value in (None, 0.4, 75, 3700, 90000)] == [
        "",
        "0s",
        "1m 15s",
        "1h 1m",
        "1d 1h",
    ]
    assert [gigabytes(value) for value in (0, 1_300_000, 25_276_510_208)] == ["0 MB", "1 MB", "25.2 GB"]

from dface_hf.analysis.tables import markdown_table, transposed

ROWS = {"ours": {"f1": 0.5, "codes": 3}, "flow": {"f1": 12.0, "uar": -0.25}}


def test_a_row_has_a_dash_for_what_it_lacks():
    assert markdown_table(ROWS).splitlines() == [
        "| | f1 | codes | uar |",
        "|---|---|---|---|",
        "| ours | .500 | 3 | - |",
        "| flow | 12.000 | - | -.250 |",
    ]


def test_transposing_twice_gives_the_rows_back():
    assert transposed(ROWS) == {
        "f1": {"ours": 0.5, "flow": 12.0},
        "codes": {"ours": 3},
        "uar": {"flow": -0.25},
    }
    assert transposed(transposed(ROWS)) == ROWS

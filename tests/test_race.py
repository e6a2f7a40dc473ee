"""A few rounds of the races that `python -m tests.race` runs by the thousand."""

from tests.race import RACES, run


def test_two_parties_that_race_about_an_order_leave_no_contradiction(database_url: str) -> None:
    result = run(database_url, 4 * len(RACES), "test")
    assert result.contradictions == []
    assert {name: went.total() for name, went in result.went.items()} == {race.name: 4 for race in RACES}

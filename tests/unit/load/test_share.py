from itertools import islice

import pytest

from tester.load.share import WHOLE, Share


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_every_client_and_every_number_is_in_one_process(workers: int) -> None:
    shares = [Share(number, workers) for number in range(workers)]
    for place in range(20):
        assert sum(share.has(place) for share in shares) == 1
    everybody = [*shares, Share.rest(workers)]
    drawn = [number for share in everybody for number in islice(share.numbers(5), 10)]
    assert sorted(drawn) == list(range(5, 5 + len(drawn)))


def test_the_tester_keeps_no_clients_beside_its_workers() -> None:
    assert not any(Share.rest(3).has(place) for place in range(20))


@pytest.mark.parametrize(("workers", "clients"), [(1, 1), (2, 9), (4, 6), (4, 2)])
def test_the_rate_goes_with_the_clients(workers: int, clients: int) -> None:
    rates = []
    for number in range(workers):
        share = Share(number, workers)
        if any(share.has(place) for place in range(clients)):
            rates.append(share.of_rate(900.0, clients))
            assert share.of_rate(None, clients) is None
    assert sum(rate for rate in rates if rate is not None) == pytest.approx(900.0)


def test_alone_numbers_count_up() -> None:
    assert list(islice(WHOLE.numbers(), 3)) == [1, 2, 3]

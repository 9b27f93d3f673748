"""Memory is resident where it was written, and can be given back a page at a time."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from engine.sharing.memory import PAGE_WORDS, SparseMemory, sparse_words

pytestmark = pytest.mark.once

PAGES = 1 << 15
"""128 MiB: what a process takes beside it meanwhile does not matter."""


def resident_pages() -> int:
    """Of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])


def test_only_pages_that_are_written_are_resident() -> None:
    before = resident_pages()
    words = sparse_words(PAGES * PAGE_WORDS)
    assert not words[:: 100 * PAGE_WORDS].any()
    words[:: 64 * PAGE_WORDS] = 1
    assert PAGES // 64 <= resident_pages() - before < PAGES // 8
    assert int(words.sum()) == PAGES // 64


def test_the_room_goes_with_the_last_array_that_looks_into_it() -> None:
    words = sparse_words(PAGES * PAGE_WORDS)
    words[:] = 1
    part, before = words[5:10], resident_pages()
    del words
    assert part.tolist() == [1] * 5
    assert resident_pages() > before - PAGES // 2
    del part
    assert resident_pages() < before - PAGES // 2


def test_whole_pages_are_given_back_and_no_word_beside_them() -> None:
    memory = SparseMemory(PAGES * PAGE_WORDS)
    memory.words[:] = 7
    before = resident_pages()
    memory.give_back(PAGE_WORDS - 3, (PAGES - 1) * PAGE_WORDS + 5)
    assert resident_pages() < before - PAGES // 2
    expected = np.zeros(PAGES * PAGE_WORDS, np.int64)
    expected[:PAGE_WORDS] = expected[(PAGES - 1) * PAGE_WORDS :] = 7
    assert np.array_equal(memory.words, expected)


@pytest.mark.parametrize(("first", "end"), [(0, 0), (3, 5), (PAGE_WORDS - 1, PAGE_WORDS + 1)])
def test_nothing_is_given_back_where_no_page_is_whole(first: int, end: int) -> None:
    memory = SparseMemory(4 * PAGE_WORDS)
    memory.words[:] = 7
    memory.give_back(first, end)
    assert memory.words.tolist() == [7] * (4 * PAGE_WORDS)


def test_more_than_the_host_has_may_be_mapped() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        pytest.skip("this process may not map so much")
    words = sparse_words(1 << 37)
    words[-1] = 1
    assert (int(words[0]), int(words[-1])) == (0, 1)

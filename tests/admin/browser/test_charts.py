"""The charts, drawn by a real browser."""

from __future__ import annotations

import time

import pytest

from djqueue.statistics.histogram import COUNTS
from djqueue.statistics.tally import Counts
from djqueue.statistics.writing import write
from tests.admin.browser.driving import MARKS, NARROW_DARK, WIDE
from tests.admin.support import OVERVIEW

pytestmark = MARKS


@pytest.mark.parametrize("operator", [WIDE, NARROW_DARK], ids=str, indirect=True)
def test_charts_are_drawn_and_have_the_same_numbers_as_tables(operator):
    """UI-23."""
    for ago, done in ((30, 120), (20, 60), (10, 240), (9, 200)):
        row = [{"done": done, "failed": 3, "runtime_6": done}.get(each, 0) for each in COUNTS]
        write("default", "database", [Counts("mail", "shop.Send", row)], time.time() - ago * 60)
    operator.page.goto(OVERVIEW)
    operator.follow(operator.page.get_by_role("link", name="Charts of the last hour and day"))
    operator.look("statistics")
    drawing = operator.page.get_by_role("img", name="Jobs done in each minute")
    heights = [bar.bounding_box()["height"] for bar in drawing.locator("rect").element_handles()]
    assert [round(height / max(heights), 1) for height in heights] == [0.5, 0.2, 1.0, 0.8]
    colour = "element => getComputedStyle(element).fill"
    assert drawing.locator("rect").first.evaluate(colour) != "rgb(0, 0, 0)"
    operator.page.locator("summary").first.click()
    table = operator.page.locator(".djq-chart").first.locator("td")
    assert table.all_inner_texts() == ["120", "60", "240", "200"]
    operator.look("statistics-table")

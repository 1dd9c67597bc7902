"""The charts: they draw what is in the table of statistics, and have the same as tables."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from django.utils import timezone
from django.utils.translation import override

from djqueue.admin.overview.charts import charts as drawn
from djqueue.statistics.histogram import COUNTS, times
from djqueue.statistics.tally import Counts
from djqueue.statistics.writing import write
from tests.admin.support import FAILED, JOBS, OVERVIEW, client, failed, unreadable, waiting

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]

PAGE = f"{OVERVIEW}statistics/"


def count(minutes_ago=0, queue="mail", name="shop.Send", connection="database", **numbers):
    """Write what a worker would have, so many minutes ago."""
    row = [numbers.get(column, 0) for column in COUNTS]
    write("default", connection, [Counts(queue, name, row)], time.time() - minutes_ago * 60)


def charts(query=None):
    answer = client().get(PAGE, query or {})
    assert answer.status_code == 200
    return {chart.name: chart for chart in answer.context["charts"]}, answer.content.decode()


def cells(chart):
    return [list(numbers) for _at, numbers in chart.rows]


def test_bars_and_table_have_the_numbers_of_the_buckets():
    count(9, done=40, failed=1, released=2)
    count(3, done=80)
    found, html = charts()
    assert cells(found["done"]) == [["40"], ["80"]]
    assert cells(found["failed"]) == [["1", "2"], ["0", "0"]]
    low, high = found["done"].bars
    assert (low.height, high.height) == (60, 120)  # of 120, for 40 of 80 and for 80
    assert high.x - low.x == pytest.approx(6 * 10)  # of 600 for an hour
    assert found["done"].text == "120 in all, at most 80 at a time."
    shown = re.findall(r'<td class="djq-number" data-label="Done">([^<]*)</td>', html)
    assert shown[:2] == ["40", "80"]


def test_lines_and_table_have_the_quantiles_of_the_buckets():
    count(3, runtime_7=90, runtime_9=10, wait_3=7)
    count(2, runtime_7=100)
    count(0, runtime_7=100)
    found, _html = charts()
    buckets = [0] * 16
    buckets[7], buckets[9] = 90, 10
    known = times(buckets)
    assert cells(found["runtime"])[0] == [f"{known.p50:.2f} s", f"{known.p95:.2f} s"]
    lines = [line.points.split() for line in found["runtime"].lines if line.kind == "p95"]
    assert [len(points) for points in lines] == [3, 2]  # two minutes that follow, and one alone
    assert lines[0][0].endswith(",0")  # the longest is at the top
    assert len(cells(found["wait"])) == 1


def test_a_day_has_hours():
    count(180, done=5)
    count(0, done=7)
    assert cells(charts({"span": "24h"})[0]["done"]) == [["5"], ["7"]]
    assert cells(charts()[0]["done"]) == [["7"]]


def test_one_queue_is_chosen():
    count(0, done=5)
    count(0, queue="pdf", done=7)
    found, html = charts({"queue": "database:pdf"})
    assert cells(found["done"]) == [["7"]]
    assert '<option value="database:mail">' in html
    assert cells(charts({"queue": "no:such"})[0]["done"]) == [["12"]]


def test_a_drawing_has_a_name_and_a_description_and_no_style():
    count(0, done=5, runtime_7=5)
    _found, html = charts()
    drawings = re.findall(r'<svg class="djq-svg".*?</svg>', html, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        names = re.search(r'role="img" aria-labelledby="(\S+) (\S+)"', drawing)
        assert f'<title id="{names[1]}">' in drawing
        assert f'<desc id="{names[2]}">' in drawing
        assert "style=" not in drawing
        assert "<script" not in drawing


def test_where_nothing_was_counted_the_page_says_so(settings):
    assert charts()[1].count("Nothing was counted in this time.") == 4
    settings.DJQUEUE = {"STATISTICS": False}
    assert 'DJQUEUE["STATISTICS"]' in unescape(charts()[1])


def test_the_page_is_for_those_who_may_see_the_overview():
    assert client(view=False).get(PAGE).status_code == 403
    assert PAGE in client().get(OVERVIEW).content.decode()


def test_a_job_says_how_long_it_usually_takes():
    for minutes in (0, 70):
        count(minutes, runtime_7=500)
    count(0, queue="pdf", runtime_13=500)
    count(60 * 30, runtime_13=5000)  # more than a day ago
    row = waiting("shop.Send", queue="mail")
    gone = failed("shop.Send", queue="mail")
    for page in (f"{JOBS}{row.pk}/change/", f"{FAILED}{gone.pk}/change/"):
        facts = {str(label): str(value) for label, value in client().get(page).context["facts"]}
        assert facts["Usually takes"] == "1.50 s; 95 % of 1,000 within 1.95 s"
    other = client().get(f"{JOBS}{waiting('shop.Other').pk}/change/")
    assert "Usually takes" not in other.content.decode()


def test_statistics_that_cannot_be_read_are_said_and_other_pages_do_without():
    count(0, runtime_7=100)
    row = failed("shop.Send", queue="mail")
    with unreadable("djqueue_minutes"):
        answer = client().get(PAGE)
        html = answer.content.decode()
        assert answer.status_code == 200
        assert "The statistics cannot be read" in html
        assert 'class="djq-svg"' not in html
        page = client().get(f"{FAILED}{row.pk}/change/")
        assert page.status_code == 200
        assert "unknown: the statistics cannot be read." in page.content.decode()
    assert "cannot be read" not in client().get(PAGE).content.decode()


def test_a_description_says_no_more_than_the_lines_show():
    count(3, runtime_0=999, runtime_14=1)  # one of a thousand took minutes
    found, _html = charts()
    assert "longest" not in found["runtime"].text
    assert found["runtime"].text.endswith(f"which reaches {found['runtime'].most}.")


def test_a_single_failure_is_seen_beside_many_releases():
    count(5, failed=1, released=50_000)
    count(3, failed=1)
    found, _html = charts()
    failures = [bar for bar in found["failed"].bars if bar.kind == "failed"]
    assert [bar.height for bar in failures] == [1.5, 1.5]
    assert all(bar.y >= 0 for bar in found["failed"].bars)
    [released] = [bar for bar in found["failed"].bars if bar.kind == "released"]
    assert released.y + released.height == failures[0].y


def test_large_numbers_are_written_as_the_language_does():
    count(2, done=12_345_678)
    with override("de"):
        chart = {each.name: each for each in drawn("1h")}["done"]
    assert chart.text.count("12.345.678") == 2
    assert (chart.most, cells(chart)) == ("12.345.678", [["12.345.678"]])


@pytest.mark.parametrize(("query", "seconds"), [({}, 60), ({"span": "24h"}, 3600)])
def test_the_axis_says_what_the_edges_of_the_drawing_are(query, seconds):
    count(0, done=5)
    found, html = charts(query)
    chart = found["done"]
    begin, end = chart.begin.timestamp(), chart.end.timestamp()
    assert (begin % seconds, end % seconds) == (0, 0)
    assert end - begin == {60: 3600, 3600: 86400}[seconds]
    [(at, _cells)] = chart.rows
    assert (at.timestamp() - begin) / seconds == pytest.approx(
        chart.bars[0].x / (600 * seconds / (end - begin))
    )
    shown = re.search(
        r'<p class="djq-axis djq-quiet" dir="ltr"><span>([^<]*)</span> <span>([^<]*)', html
    )
    local = [timezone.localtime(each) for each in (chart.begin, chart.end)]
    assert shown.groups() == (f"{local[0]:%Y-%m-%d %H:%M}", f"{local[1]:%H:%M}")

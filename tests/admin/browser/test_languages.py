"""A language that is read from right to left, and that no catalogue has: every word is marked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import override_settings
from django.utils.translation import trans_real

from tests.admin.browser import screens
from tests.admin.browser.driving import MARKS
from tests.admin.browser.test_screens import visit

pytestmark = MARKS

# The texts of the screens, in pieces of which none is broken by an element.
TEXTS = """
[...document.querySelectorAll(".djq, .djq-act, .djq-crumbs")].flatMap(box => {
  const found = [], walk = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const at = walk.currentNode.parentElement;
    const stored = "bdi, code, pre, time, script, .djq-id, .djq-error, .djq-failure, .djq-text";
    if (at.checkVisibility() && !at.closest(stored)) found.push(walk.currentNode.textContent);
  }
  return found;
})
"""


# Messages of errors are in English, so that they can be searched for.
ERRORS = ("No running code knows", "Its payload is of a job", "Connection cache-queue could not be")
# Names that are stored, and what operators have written.
STORED = {
    *("database", "cache-queue", "redis", "default", "mail", "reports", "high", "nothing"),
    *("a-rather-long-queue-name.for-reports", "GenerateInvoicePdfForCustomer", "SendReceipt"),
    *("shop.billing.GenerateInvoicePdfForCustomer", "shop.SendReceipt", "app.label"),
    *("requests.exceptions.ConnectionError", "shop.errors.OutOfStock", "ConnectionError"),
    *("OutOfStock", "order_id", "urgent", "int", "str", "list", "model"),
    *("The", "server", "is", "full"),
}


class Marked(trans_real.DjangoTranslation):
    """Says everything in English, between marks."""

    def __init__(self) -> None:
        self.__dict__.update(trans_real.translation("ar").__dict__)

    def gettext(self, message: str) -> str:
        message = message.rpartition(trans_real.CONTEXT_SEPARATOR)[2]
        return f"«{message}»" if message.strip() else message

    def ngettext(self, singular: str, plural: str, number: Any) -> str:
        return self.gettext(singular if number == 1 else plural)


@pytest.fixture
def marked(monkeypatch):
    """Let Arabic be that language."""
    monkeypatch.setitem(trans_real._translations, "ar", Marked())


def unmarked(text: str) -> str:
    """The words of a text that no catalogue has had in its hands."""
    before = ""
    while text != before:  # one marked text may be within another
        before, text = text, re.sub("«[^«»]*»", "", text)
    return " ".join(text.split())


def test_no_word_is_left_in_english(sits, marked):
    """UI-22: all but stored names goes through the catalogues. With the marks texts are longer than
    in any language, so whether they fit is seen where Arabic itself is.
    """
    operator = sits(locale="ar")
    user = operator.log_in()
    left, seen = {}, 0
    with override_settings(DJQUEUE=screens.SETTINGS):
        rows = screens.fill(user)
        for name, page in screens.pages(rows):
            visit(operator, page)
            assert not operator.complaints, (name, operator.complaints)
            for text in operator.page.evaluate(TEXTS):
                seen += "«" in text
                words = unmarked(text)
                named = set(re.findall(r"[A-Za-z][\w.-]+", words)) <= STORED
                if not named and not words.startswith(ERRORS):
                    left[words] = name
    assert left == {}
    assert seen > 500  # the language was in force

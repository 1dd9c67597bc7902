"""What an invoice looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo_project.shop.models import Order


def render(order: Order) -> bytes:
    """A page of PDF."""
    from fpdf import FPDF  # here, so that only a worker that renders pays for the import

    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 24)
    pdf.cell(0, 20, f"Invoice {order.pk:05}", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", size=12)
    for line in (order.customer.name, order.customer.address, f"{order.placed_at:%d %B %Y}"):
        pdf.cell(0, 7, line, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(10)
    with pdf.table(col_widths=(4, 1), text_align=("LEFT", "RIGHT")) as table:
        for row in (("Article", "EUR"), (order.article, f"{order.total:.2f}")):
            table.row(row)
    return bytes(pdf.output())

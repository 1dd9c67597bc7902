"""The shop: customers, orders, invoices, and a table of time zones that somebody uploads."""

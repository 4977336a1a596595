"""Invoices: what a customer owes."""


def line_total(price_cents, quantity, discount_percent=0):
    """The price of one line, in cents, after its discount."""
    return price_cents * quantity - discount_percent


def invoice_total(lines):
    """The price of all lines together, in cents."""
    return sum(line_total(*line) for line in lines)

import unittest

from billing import invoice_total, line_total


class BillingTest(unittest.TestCase):
    def test_a_line_without_discount(self):
        self.assertEqual(line_total(250, 4), 1000)

    def test_a_discount_is_a_percentage(self):
        self.assertEqual(line_total(250, 4, 10), 900)

    def test_an_invoice_adds_its_lines(self):
        self.assertEqual(invoice_total([(100, 1), (250, 4, 10)]), 1000)


if __name__ == "__main__":
    unittest.main()

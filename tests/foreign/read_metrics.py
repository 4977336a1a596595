"""Reads figures on standard input with the parsers of Prometheus' own Python client, and prints every
sample as JSON: name, labels, value. The one argument says in which format the figures are."""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

READERS = {
    "openmetrics": openmetrics_parser.text_string_to_metric_families,
    "prometheus": parser.text_string_to_metric_families,
}

families = list(READERS[sys.argv[1]](sys.stdin.read()))
for family in families:
    assert family.documentation, f"{family.name} does not say what it is"
    assert family.type != "unknown", f"{family.name} has no type"
print(
    json.dumps(
        [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for family in families
            for sample in family.samples
        ]
    )
)

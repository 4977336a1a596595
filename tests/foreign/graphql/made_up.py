"""What Schemathesis may put where it has no idea of its own: positions, and ids of what the server has.

The ids come in `CODY_IDS`, as a JSON list. They name no job, so that nothing which is made up sets one
to work."""

import json
import os

import schemathesis
from hypothesis import strategies
from schemathesis.graphql import nodes

known = strategies.sampled_from(json.loads(os.environ["CODY_IDS"]))
schemathesis.graphql.scalar("ID", (known | strategies.text()).map(nodes.String))

positions = strategies.integers(min_value=0, max_value=2**63 - 1) | strategies.integers(0, 50)
schemathesis.graphql.scalar("Position", positions.map(str).map(nodes.String))

# SPDX-License-Identifier: Apache-2.0
"""A process that takes up solves where another one saved them.

Started as `saving_worker.py FOLDER CASE...`. FOLDER/0, FOLDER/1, ... hold the states of the cases, one after each trip of
`STOPS`, as orbax wrote them; FOLDER/said.json gets the bits of the results.
"""

import json
import sys
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from saving_cases import STOPS, bits, solve, template


def main():
    folder, *cases = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    said = {}
    with ocp.StandardCheckpointer() as checkpointer:
        for index, case in enumerate(cases):
            states = checkpointer.restore(Path(folder, str(index)), [template(case)] * len(STOPS))
            said[case] = [bits(solve(case, state=state)) for state in states]
    Path(folder, "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""`python -m jopt.bench`: the commands of this room."""

from jopt.bench.commands import main

if __name__ == "__main__":  # the processes of the benchmark import this file again
    main()

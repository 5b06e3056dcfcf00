# SPDX-License-Identifier: Apache-2.0
"""`python -m jopt` is `jopt`."""

from jopt.cli import main

if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The partial waves of GPAW's PAW setups, in the order in which density matrices have them.

    python3 partial_waves.py Si O ...

Needs GPAW and numpy, and nothing of chgdb, as `worker.py`. Prints JSON: symbol -> {"degrees": l of each partial wave,
"fingerprint": MD5 of the setup}. Elements without a setup are left out.
"""

import json
import sys


def partial_waves(symbols):
    from gpaw.setup import create_setup
    from gpaw.xc import XC

    functional, found = XC("PBE"), {}
    for symbol in symbols:
        try:
            setup = create_setup(symbol, functional, lmax=2)
        except FileNotFoundError:
            continue
        found[symbol] = {"degrees": [int(ell) for ell in setup.l_j], "fingerprint": setup.fingerprint}
    return found


if __name__ == "__main__":
    print(json.dumps(partial_waves(sys.argv[1:])))

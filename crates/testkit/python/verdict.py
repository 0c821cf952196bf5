"""How a comparison ends: 0 equal, 1 with the first difference on the output, 2 with what was in its way on the error output."""

import sys
import traceback


class Difference(Exception):
    pass


def end(main):
    try:
        main(sys.argv[1:])
    except Difference as difference:
        print(f"first difference: {difference}")
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(2)

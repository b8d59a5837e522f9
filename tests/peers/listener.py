"""A client in a process of its own, so that tests can stop it like any program.

    python listener.py URL USER

Prints one line of JSON when it has logged in, and one for every push.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "target" / "peers" / "gen"))

from session_client import SessionClient  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("user")
    args = parser.parse_args()
    with SessionClient(args.url) as client:
        client.log_in(args.user)
        print(json.dumps({"user": args.user}), flush=True)
        while True:
            push = client.receive_push(timeout=None)
            print(json.dumps({"event": push.event, "data": push.data.decode()}), flush=True)


if __name__ == "__main__":
    main()

"""Compares the results of the Autobahn cases with docs/autobahn.md: report.py INDEX DOCUMENT.

Fails if a case has another result than "OK" without being listed in the document. WRITE=1 writes the
figures of this run into the document; the list of differences is written by hand, with its reasons.
"""

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing handshake",
    "9": "Limits and throughput",
    "10": "Automatic fragmentation",
}
COLUMNS = ["OK", "NON-STRICT", "INFORMATIONAL", "FAILED"]
FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)
# Rows such as: | 6.4.1 – 6.4.4 | NON-STRICT | … |
DIFFERENCE = re.compile(r"^\| ([\d., –]+) \| (NON-STRICT|INFORMATIONAL|FAILED) \|", re.MULTILINE)


def result_of(case):
    """The worse of the results for the messages and for the close."""
    # Autobahn has further names for failures, such as UNCLEAN and WRONG CODE.
    both = [case["behavior"], case["behaviorClose"]]
    ranks = [COLUMNS.index(result) if result in COLUMNS else len(COLUMNS) - 1 for result in both]
    return COLUMNS[max(ranks)]


def listed(document):
    """The results that the document lists for cases, other than "OK"."""
    found = {}
    for names, result in DIFFERENCE.findall(document):
        for name in names.split(", "):
            first, _, last = name.partition(" – ")
            stem, _, start = first.rpartition(".")
            end = last.rpartition(".")[2] or start
            found.update((f"{stem}.{number}", result) for number in range(int(start), int(end) + 1))
    return found


def figures(results):
    counts = {section: Counter() for section in SECTIONS}
    for case, result in results.items():
        counts[case.partition(".")[0]][result] += 1
    total = sum(counts.values(), Counter())
    rows = [[f"{section}. {SECTIONS[section]}", count] for section, count in counts.items()] + [["all", total]]
    lines = [f"| section | cases | {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) + 1)}"]
    for name, count in rows:
        cells = [name, count.total(), *(count[column] for column in COLUMNS)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main():
    index, path = Path(sys.argv[1]), Path(sys.argv[2])
    [cases] = json.loads(index.read_text()).values()
    results = {name: result_of(case) for name, case in cases.items()}
    if not results:
        sys.exit("no case was run")
    table = figures(results)
    print(table)
    document = path.read_text()
    if os.environ.get("WRITE") == "1":
        document = FIGURES.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", document)
        path.write_text(document)
    known = listed(document)
    rank = {result: place for place, result in enumerate(COLUMNS)}
    worse = {name: result for name, result in results.items() if rank[result] > rank[known.get(name, "OK")]}
    for name, result in worse.items():
        print(f"{name}: {result}, listed as {known.get(name, 'OK')}: target/autobahn/reports/{cases[name]['reportfile']}")
    better = [name for name, result in results.items() if rank[result] < rank[known.get(name, "OK")]]
    if better:
        print(f"better than {path.name} says: {', '.join(better)}")
    print(f"{len(results)} cases, {len(worse)} with a worse result than {path.name} says")
    sys.exit(1 if worse else 0)


main()

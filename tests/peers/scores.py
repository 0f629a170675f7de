"""Makes one table of the results that `run` left in a folder: a row a rule, a column a program."""

import json
import pathlib
import sys

# Breaking these may be a weakness that its project has not told of: neither verdict is published, so
# that the table does not say where to look.
WITHHELD = {
    "R-3207-1", "R-3207-2", "R-3207-3", "R-3207-4", "R-3207-5", "R-3207-6", "R-3207-8",
    "R-4954-10", "R-7677-1", "R-7677-2", "R-7677-4",
    "R-5321-8", "R-5321-14", "R-5321-15", "R-5321-23", "R-5321-24", "R-5321-26", "R-5321-27",
}
WORDS = {"kept": "kept", "broken": "**broken**", "not-applicable": "–"}

folder, *names = sys.argv[1:]
folder = pathlib.Path(folder)
results = {}
for name in names:
    path = folder / f"{name}.json"
    if path.exists():
        version = (folder / f"{name}.version").read_text().strip()
        results[f"{name} {version}"] = json.loads(path.read_text())


def cell(name, rule):
    if rule["rule"] in WITHHELD and not name.startswith("ehlo "):
        return "not published"
    return WORDS[rule["verdict"]]


print("# Scores\n")
print("Made by `tests/peers/run`; [README.md](README.md) says what the words mean.\n")
print("| rule | level |", " | ".join(results), "|")
print("| --- | --- |" + " --- |" * len(results))
for rows in zip(*(result["rules"] for result in results.values())):
    if all(row["verdict"] == "not-applicable" for row in rows):
        continue
    cells = [cell(name, row) for name, row in zip(results, rows)]
    print(f"| {rows[0]['rule']} | {rows[0]['level']} |", " | ".join(cells), "|")
for word, title in [("kept", "kept"), ("broken", "broken"), ("not-applicable", "not applicable")]:
    counts = []
    for name, result in results.items():
        cells = [cell(name, rule) for rule in result["rules"]]
        counts.append(str(cells.count(WORDS[word])))
    print(f"| {title} | |", " | ".join(counts), "|")

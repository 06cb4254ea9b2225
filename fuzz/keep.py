"""Keeps few inputs in the corpus: `keep.py FUZZER TARGET FOUND CORPUS`.

Of everything that was found and what is in the corpus already, takes the inputs that reach the most code which no other
kept input reaches, small ones first: at most 40 files and 200 KB. Names that do not start with `found-` always stay.
"""

import hashlib
import os
import subprocess
import sys
import tempfile

FILES, BYTES = 40, 200_000


def main(fuzzer, target, found, corpus):
    os.makedirs(corpus, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        control = os.path.join(folder, "control")
        os.mkdir(os.path.join(folder, "merged"))
        # The merge writes down which input reaches what.
        subprocess.run(
            [fuzzer, "-set_cover_merge=1", f"-merge_control_file={control}", os.path.join(folder, "merged"), found, corpus],
            env=dict(os.environ, FUZZ_TARGET=target),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        paths, reached = read(control)
    contents = {}
    for number, path in enumerate(paths):
        with open(path, "rb") as file:
            contents[file.read()] = reached.get(number, set())
    named = set()
    for name in os.listdir(corpus):
        if not name.startswith("found-"):
            with open(os.path.join(corpus, name), "rb") as file:
                named.add(file.read())
    kept, seen, size = set(named), set(), sum(map(len, named))
    for content in named:
        seen |= contents.get(content, set())
    while len(kept) < FILES:
        gain = lambda content: (len(contents[content] - seen) / (len(content) + 4096), -len(content), content)
        rest = [it for it in contents if it not in kept and size + len(it) <= BYTES and contents[it] - seen]
        if not rest:
            break
        best = max(rest, key=gain)
        kept.add(best)
        seen |= contents[best]
        size += len(best)
    for name in os.listdir(corpus):
        if name.startswith("found-"):
            os.remove(os.path.join(corpus, name))
    for content in kept - named:
        with open(os.path.join(corpus, "found-" + hashlib.sha256(content).hexdigest()[:12]), "wb") as file:
            file.write(content)
    every = set().union(*contents.values())
    print(f"{target}: {len(kept)} of {len(contents)} inputs, {size} bytes, {len(seen)} of {len(every)} places")


def read(control):
    """Paths by number, and the coverage of each: the form of libFuzzer's merge control file."""
    with open(control) as file:
        lines = file.read().splitlines()
    count = int(lines[0])
    paths, reached = lines[2 : 2 + count], {}
    for line in lines[2 + count :]:
        kind, number, *places = line.split()
        if kind == "FT":
            # Eight features for each place in the code: how often it was reached.
            reached[int(number)] = {int(place) // 8 for place in places}
    return paths, reached


if __name__ == "__main__":
    main(*sys.argv[1:])

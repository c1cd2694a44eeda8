"""Prometheus' text format, as far as dcached writes it, and the list of metrics in the manual page."""
import os
import re

from daemon import REPO

MANUAL = os.path.join(REPO, "daemon", "man", "dcached-metrics.7.scd")


class Family:
    def __init__(self, name, kind=None, text=None):
        self.name, self.kind, self.help = name, kind, text
        self.samples = {}  # (suffix, labels as a sorted tuple of pairs) -> float

    def labels(self):
        """Label -> values in their order, without those of buckets."""
        found = {}
        for _, labels in self.samples:
            for label, value in labels:
                if label != "le" and value not in found.setdefault(label, []):
                    found[label].append(value)
        return found


def parse(text):
    """name -> Family."""
    families = {}
    current = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            current = families[name] = Family(name, text=words)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == current.name
            current.kind = line.split()[3]
        else:
            name, labels, value = re.fullmatch(r"(\w+)(\{.*\})? (\S+)", line).groups()
            assert name.startswith(current.name), line
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            key = (name[len(current.name):], tuple(sorted(pairs)))
            assert key not in current.samples, line
            current.samples[key] = float(value)
    return families


def value_of(families, name, suffix="", **labels):
    return families[name].samples[suffix, tuple(sorted(labels.items()))]


def manual():
    """What the manual page lists: name -> (kind, {label: values}, help)."""
    with open(MANUAL, encoding="utf-8") as f:
        text = f.read()
    listed = {}
    for name, kind, labels, words in re.findall(
            r"^\*(\w+)\* \((counter|gauge|histogram)\)((?: _\w+_=[\w|.]+)*)\n((?:\t.*\n)+)", text, re.M):
        assert name not in listed, name
        pairs = dict(re.findall(r"_(\w+)_=(\S+)", labels))
        listed[name] = (kind, {label: values.split("|") for label, values in pairs.items()},
                        " ".join(words.replace("\\_", "_").split()))
    return listed

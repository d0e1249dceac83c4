"""The pages of the manual, which are Markdown files in ``qubrid_cli/manual``: ``images.md`` is the topic ``images``."""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "manual"


def load_topics() -> dict[str, str]:
    """Load the topics in alphabetical order, with their summaries. The first line of a page is ``# TOPIC: SUMMARY``."""
    topics = {}
    for name in sorted(os.listdir(FOLDER)):
        topic, suffix = os.path.splitext(name)
        if suffix == ".md":
            with open(FOLDER / name, encoding="utf-8") as page:
                topics[topic] = page.readline().partition(": ")[2].strip()
    return topics


def find_page(word: str) -> str | None:
    """Find the topic that mentions a word most often, above all in headings; ``None`` if none mentions it."""
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)

    def count(topic: str) -> int:
        page = re.sub(r"^```.*?^```$", "", read_page(topic), flags=re.MULTILINE | re.DOTALL)
        headings = "\n".join(line for line in page.splitlines() if line.startswith("#"))
        return len(pattern.findall(page)) + 10 * len(pattern.findall(headings))

    counts = {topic: count(topic) for topic in load_topics()}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else None


def read_page(topic: str) -> str:
    """Return the page about a topic."""
    return (FOLDER / f"{topic}.md").read_text("utf-8")

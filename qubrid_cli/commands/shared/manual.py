"""The pages of the manual, which are Markdown files in ``qubrid_cli/manual``: ``images.md`` is the topic ``images``."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "manual"


def load_topics() -> dict[str, str]:
    """The topics in alphabetical order, each with its summary: the first line of a page is ``# TOPIC: SUMMARY``."""
    topics = {}
    for path in sorted(FOLDER.glob("*.md")):
        with path.open(encoding="utf-8") as page:
            topics[path.stem] = page.readline().partition(": ")[2].strip()
    return topics


def read_page(topic: str) -> str:
    """Return the page about a topic."""
    return (FOLDER / f"{topic}.md").read_text("utf-8")

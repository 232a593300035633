"""The glossary: in order, each word once, each with a way to where it stands or a whole definition."""

import re

from autograder.blocks import ROOT

TEXT = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^(\S[^\n]*)\n  (\S[^\n]*)$", re.MULTILINE)


def entries() -> dict[str, str]:
    body = TEXT.partition("```{glossary}\n")[2].partition("\n```")[0].partition("\n\n")[2]
    found = ENTRY.findall(body)
    assert len(found) == len(body.strip().split("\n\n")), "an entry is a word, and below it one line"
    assert len(dict(found)) == len(found)
    return dict(found)


def test_every_word_of_the_glossary_is_used_in_a_chapter() -> None:
    chapters = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "book" / "chapters").glob("*.md"))
    known = re.sub(r"[\s-]+", " ", chapters).lower()
    stems = {word: re.sub(r"[\s-]+", " ", word).lower() for word in entries()}
    assert [word for word, stem in stems.items() if stem not in known] == []


def test_most_words_of_the_glossary_lead_to_their_place() -> None:
    linked = [word for word, meaning in entries().items() if "](" in meaning]
    assert len(linked) > 0.75 * len(entries())

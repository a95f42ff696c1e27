"""The end of a text as it comes, token by token."""

from collections.abc import Sequence

from nlp.tokenizer import Tokenizer


class TextStream:
    """Gives out a text in whole characters, up to a stop string.

    Characters that may be the beginning of a stop string wait until it is
    clear that they are not.

    Args:
        tokenizer: decodes the tokens.
        stops: strings at which the text ends; they are not part of it.

    Attributes:
        stopped: whether a stop string has come.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self.stopped = False
        self._decoder = tokenizer.stream()
        self._stops = tuple(stops)
        self._waiting = ""

    def push(self, token_id: int) -> str:
        """Takes a token and gives the characters that can be shown."""
        return self._give(self._decoder.push(token_id), final=False)

    def end(self) -> str:
        """Gives the characters that have waited, at the end of the text."""
        return self._give(self._decoder.end(), final=True)

    def _give(self, text: str, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._waiting + text
        found = [text.find(stop) for stop in self._stops if stop in text]
        self.stopped = bool(found)
        end = min(found) if found else len(text)
        if not found and not final:
            end -= self._overlap(text)
        self._waiting = text[end:]
        return text[:end]

    def _overlap(self, text: str) -> int:
        """Length of the longest end of the text that begins a stop string."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:length])
            ),
            default=0,
        )

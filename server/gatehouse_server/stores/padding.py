"""Where SQLite puts the bytes of a row, so that content erased is content overwritten.

A long row has its first bytes in a page of the table's tree and the rest in overflow pages of its own. With
`secure_delete` both are overwritten when the row goes. But rows of the tree are copied from page to page as it is
balanced, and such a copy is not overwritten; overflow pages stay where they are. So a row of content begins with
zeros, as many as stay in the tree. File format: https://sqlite.org/fileformat2.html#b_tree_pages.
"""

from __future__ import annotations

PAGE_BYTES = 1024
"""Small pages: the zeros of a row are few, and a change of a row writes little."""

_IN_TREE_LEAST = (PAGE_BYTES - 12) * 32 // 255 - 23
_IN_TREE_MOST = PAGE_BYTES - 35
_OVERFLOW = PAGE_BYTES - 4
# What a row has in the tree is the least, when the rest fills its overflow pages or leaves the last one less than
# this much short. The middle of that range is aimed at: half of it is for what else is in the row, names and lengths.
_SHORT_MOST = _OVERFLOW - (_IN_TREE_MOST - _IN_TREE_LEAST)


def padding_bytes(content_bytes: int, beside_bytes: int = 0) -> int:
    """How many zeros go before `content_bytes` of content, for none of it to be in a page of the tree.

    `beside_bytes` is the length of the row's texts.
    """
    row = beside_bytes + _IN_TREE_LEAST + content_bytes
    return _IN_TREE_LEAST + (_IN_TREE_LEAST - _SHORT_MOST // 2 - row) % _OVERFLOW

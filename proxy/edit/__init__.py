"""
Editing a request before it is released: request to text, edited text to request.

Pure. A reviewer may change method, path, headers and body; where a request goes, how it is
framed and what its secrets are stays out of reach. `form` writes a request down, `edited` reads
what came back from the editor, `difference` says what has changed.
"""

from __future__ import annotations

from proxy.edit.difference import difference
from proxy.edit.form import Form
from proxy.edit.reading import LIMIT, edited, form
from proxy.edit.signed import signed

__all__ = ("LIMIT", "Form", "difference", "edited", "form", "signed")

"""
What reviewers sign, and whether a signature holds.

Pure. A reviewer's key is an SSH key, and a signature is an SSHSIG envelope in the namespace
`sshsig.NAMESPACE`, so that ``ssh-keygen -Y verify`` agrees or disagrees with us on the same
bytes. What is signed is a `Statement`: canonical JSON that names the ledger, the act, and
everything that the reviewer was shown of it.
"""

from __future__ import annotations

from proxy.errors import Exit, Problem, SluiceError


class ProofError(SluiceError):
    """A key, a signature or a statement that does not count; `code` is one word for machines."""

    def __init__(self, code: str, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(Problem(what, why, fix), exit=Exit.NO)
        self.code = code

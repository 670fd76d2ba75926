"""
The policy: rules and a default, and what they say of an action.
"""

from proxy.policy.evaluate import Policy
from proxy.policy.files import load
from proxy.policy.load import load_texts
from proxy.policy.rule import Default, Line, Rule

__all__ = ["Default", "Line", "Policy", "Rule", "load", "load_texts"]

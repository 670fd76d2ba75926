"""
The policy: rules and a default, and what they say of an action.
"""

from proxy.policy.asked import Answer, answer, request
from proxy.policy.cases import Result, run_cases
from proxy.policy.difference import difference
from proxy.policy.evaluate import Policy
from proxy.policy.explain import Explanation, RuleReading, explain, from_lines
from proxy.policy.files import load, read_cases
from proxy.policy.lint import Finding, lint
from proxy.policy.load import load_texts
from proxy.policy.rule import Default, Line, Rule
from proxy.policy.schema import schema

__all__ = [
    "Answer",
    "Default",
    "Explanation",
    "Finding",
    "Line",
    "Policy",
    "Result",
    "Rule",
    "RuleReading",
    "answer",
    "difference",
    "explain",
    "from_lines",
    "lint",
    "load",
    "load_texts",
    "read_cases",
    "request",
    "run_cases",
    "schema",
]

"""A fake bank, mail and file API, an agent that uses them, and the gate between."""


def demo(*, yes: bool) -> int:
    """Play it: `proxy.demo.play.demo`."""
    # Here, so that the agent, which lives in this package too, does not load a console.
    from proxy.demo.play import demo

    return demo(yes=yes)

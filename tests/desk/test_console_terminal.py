"""The console in a real terminal: what is seen, what keys do, and that the terminal is given back."""

import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from screen import DEADLINE, HERE, Screen


@pytest.fixture
def console(tmp_path):
    """A console with nothing waiting, 80 by 24."""
    screen = Screen(tmp_path)
    try:
        screen.see("nothing is waiting")
        yield screen
    finally:
        screen.close()


DIGEST = [f"{number:064x}" for number in range(600)]


def test_the_queue_has_a_plain_line_for_each_hold_and_what_one_needs_to_decide(console):
    console.do("open", number=1, tier="high", reversible=False, unknown=["big-money"])
    console.do("open", number=2)
    console.see("2 waiting", "Refund 100 of charge ch_1", "Refund 200 of charge ch_2")
    console.see("refunds-wait", "A refund moves money and cannot be taken back.", "high, cannot be undone")
    console.see("form.amount  100", "form.charge  ch_1", "time left", "9:5", "could not be read")
    console.see("POST https://api.stripe.com/v1/refunds", "a approve", "? ")


def test_a_hold_is_approved_by_its_digest(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.send("a")
    console.see("ended: approved by ada", "0 waiting")
    assert [call[0] for call in console.calls()] == ["approve"]
    assert console.calls()[0][3] == DIGEST[1]


def test_a_hold_is_denied_with_a_typed_reason(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.send("d")
    console.see("deny 0001kk because:")
    console.send("trop cher, é\x7fe")
    console.see("trop cher, e")
    console.send("\r")
    console.see("ended: denied by ada: trop cher, e")
    assert console.calls()[0][:3] == ["deny", console.calls()[0][1], "trop cher, e"]


def test_the_like_of_a_hold_is_granted_once_its_whole_rule_was_read(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.send("l")
    console.see("form.charge: {is: ch_1}", "left open: everything else in the body", "for 10 minutes")
    console.look()
    console.send("a")
    console.see("scroll until the whole rule")
    console.send("\x1b[6~")
    console.see("then: allow")
    console.send("n")
    console.see("20 times more")
    console.look()
    console.send("a")
    console.see("its like goes unasked")
    assert [call[0] for call in console.calls()] == ["grant"] and console.calls()[0][2:] == ["600", "20"]


def test_alike_holds_are_decided_together(console):
    console.do("many", first=1, last=3)
    console.see("3 waiting")
    console.look()
    console.send("b")
    console.see("3 alike", "form.charge  ch_3")
    console.look()
    console.send("a")
    console.see("0 waiting")
    assert [call[0] for call in console.calls()] == ["approve"] * 3
    assert {call[3] for call in console.calls()} == {DIGEST[1], DIGEST[2], DIGEST[3]}


def test_escape_takes_a_denial_back(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.send("d")
    console.see("because:")
    console.send("\x1b")
    console.see("not denied")
    assert console.calls() == []


def test_keys_typed_ahead_of_a_hold_decide_nothing(console):
    console.send("aaada")
    console.do("open", number=1)
    console.see("Refund 100")
    console.send("a")
    console.see("not decided")
    assert console.calls() == []


def test_keys_typed_while_the_gate_was_busy_decide_nothing(console):
    """The hold and the key both wait for the loop; the key was typed before the hold was drawn."""
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.do("settle", id="0001", state="expired")
    console.send("j")
    console.see("nothing is waiting")
    console.steering.sendall(b'{"do": "block", "seconds": 0.8}\n{"do": "open", "number": 2}\n')
    console.send("aaaa")
    assert [console.lines.readline(), console.lines.readline()]
    console.see("Refund 200")
    console.look(0.2)
    assert console.calls() == []


def test_the_selection_moves_by_keys_alone(console):
    console.do("many", first=1, last=4)
    console.see("4 waiting")
    console.send("j\x1b[B")
    console.see("▸ 0003kk")
    console.do("settle", id="0001", state="expired")
    console.do("open", number=9)
    console.see_no("0001kk")
    console.see("▸ 0003kk", "0009kk")
    console.send("k")
    console.see("▸ 0002kk")


def test_a_hold_that_ends_while_it_is_read_says_so_and_takes_no_key_meant_for_it(console):
    console.do("open", number=1)
    console.do("open", number=2)
    console.see("Refund 200")
    console.look()
    console.do("settle", id="0001", state="abandoned", cause="the agent left")
    console.see("▸ 0001kk  ended: abandoned: the agent left")
    console.send("a")
    console.see("this hold has ended")
    assert console.calls() == []
    console.send("j")
    console.see("▸ 0002kk")


def test_the_whole_request_can_be_read_and_answered(console):
    body = "".join(f"line {number}\n" for number in range(100))
    console.do("open", number=1, body=body, headers=[["x-agent", "me"]])
    console.see("Refund 100")
    console.send("\r")
    console.see("x-agent: me", "line 5", "lines 1-")
    console.send("G")
    console.see("line 99")
    console.send("g")
    console.see("POST https://api.stripe.com/v1/refunds")
    console.look()
    console.do("settle", id="0001", state="abandoned", cause="the agent left")
    console.see("ended: abandoned: the agent left")
    console.send("a")
    console.see("this hold has ended")
    console.send("\x1b")
    console.see("── hold 0001")
    assert console.calls() == []


def test_everything_is_paused_and_resumed(console):
    console.send("p")
    console.see("PAUSED", "everything is refused")
    console.look()
    console.send("p")
    console.see_no("PAUSED")
    assert [call[0] for call in console.calls()] == ["pause", "resume"]


def test_a_changed_policy_is_shown_with_its_difference_and_taken(console):
    console.do("status", policy_next="n" * 64, policy_change="--- a.yaml\n-then: hold\n+then: deny")
    console.see("POLICY CHANGED")
    console.send("y")
    console.see("-then: hold", "+then: deny", "y take this policy")
    console.look()
    console.send("y")
    console.called(("accept", "n" * 64))
    console.see("policy nnnnnnnn", "nothing is waiting")


def test_a_locked_desk_says_why_and_is_unlocked(console):
    console.do("status", locked="sluice run ended without goodbye")
    console.see("LOCKED", "sluice run ended without goodbye")
    console.look()
    console.send("u")
    console.see_no("LOCKED")
    assert console.calls() == [["unlock"]]


def test_what_is_wrong_at_the_gate_is_on_the_screen(console):
    problems = f"/home/ada/{'policies/' * 9}a.yaml:1:2: unknown field\nfix: did you mean 'method'?"
    console.do("status", policy_error=problems, ledger_error="disk full", shadow=True)
    console.see("POLICY DOES NOT LOAD", "y shows why", "disk full", "SHADOW")
    console.send("y")
    console.see("unknown field", "fix: did you mean 'method'?", "does not load")
    console.look()
    console.send("y\x1b")
    console.see("y shows why")
    assert console.calls() == []


def test_what_the_desk_refuses_is_shown(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.do("slow")
    console.send("a")
    console.see("your answer is on its way")
    console.do("settle", id="0001", state="abandoned")
    console.see("ended")
    console.do("go")
    console.see("gone: abandoned")


def test_quitting_with_holds_waiting_asks(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.send("q")
    console.see("1 hold waits: quit all the same?")
    console.send("n")
    console.see("a approve")
    console.send("q")
    console.see("quit all the same?")
    console.send("q")
    assert "ending: quit" in console.end()


def test_an_answer_on_its_way_is_given_before_the_console_ends(console):
    console.do("open", number=1)
    console.see("Refund 100")
    console.look()
    console.do("slow")
    console.send("a")
    console.see("your answer is on its way")
    console.send("q")
    console.see("quit all the same?")
    console.send("q")
    console.wait(lambda: b"\x1b[?1049l" in console.raw, "the other screen")
    console.do("go")
    assert "ending: quit, answers: 1" in console.end()


def test_help_is_one_key_away(console):
    console.send("?")
    console.see("approve the hold that is shown", "half a second")
    console.send("x")
    console.see("nothing is waiting")


def test_a_new_hold_rings_the_bell_and_sets_the_title(console):
    console.do("open", number=1, says="\x07\x1b]2;owned\x07")
    console.see("1 waiting")
    console.wait(lambda: console.screen.bells == 1, "a bell")
    console.do("settle", id="0001", state="expired")
    console.see("0 waiting")
    assert console.screen.titles == ("sluice", "sluice: 1 waiting", "sluice")
    assert console.screen.bells == 1


def test_several_hundred_holds_stay_readable(console):
    console.do("many", first=1, last=500)
    console.see("500 waiting", "of 500", "▸ 0001kk", "── hold 0001")
    console.send("G")
    console.see("▸ 0500kk", "── hold 0500", "Refund 50000")
    console.send("\x1b[5~")
    console.see("▸ 0490kk")
    console.look()
    console.send("a")
    console.see("ended: approved by ada")
    assert console.calls()[0][3] == DIGEST[490]


HOSTILE = {
    "cursor moves": "\x1b[1;1HFAKE\x1b[5A\x1b[2J\r\n\n\b\b",
    "C1": "\x9b1;1HFAKE\x84\x85\x8d",
    "title and bell": "\x1b]2;owned\x07\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "alternate screen": "\x1b[?1049l\x1bc\x1b[!p",
    "bidi controls": "\u202eevorppa\u202c \u2066x\u2069",
    "right to left": "שלום 100 مرحبا ١٢٣",
    "zero width": "a\u200b\u200d\ufeff\u2060b\u00ad",
    "combining": "Z" + "\u0301" * 200 + "9\u03360\u0336",
    "wide": "请求退款" * 60,
    "emoji": "😀👩‍👩‍👧‍👦🇩🇪👍🏽❤️" * 20,
    "markup": "[bold red]a[/bold red] [link=x]y[/link] :smile:",
    "a long line": "x" * 5000,
    "many lines": "\n▸ 0002kk  9:59  low  harmless\n" * 50,
    "tabs": "\t" * 100,
}


@pytest.fixture(scope="module")
def reused(tmp_path_factory):
    """One console for a table of texts; each leaves it with nothing waiting."""
    screen = Screen(tmp_path_factory.mktemp("reused"))
    yield screen
    screen.close()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_an_agent_writes_changes_nothing_of_the_layout(reused, text):
    fields = {"agent": text, "show": {"form.a": [text]}, "body": text, "headers": [["x", text]]}
    reused.see("nothing is waiting")
    reused.do("open", number=1, says=text, url=f"https://api.stripe.com/{text}", **fields)
    reused.do("open", number=2)
    reused.see("▸ 0001kk", "  0002kk", "Refund 200 of charge ch_2")
    rows = reused.screen.display
    assert [row[:8] for row in rows[:4]] == ["sluice  ", "▸ 0001kk", "  0002kk", "── hold "]
    assert "     rule  refunds-wait" in reused.text and rows[23].startswith("a approve")
    reused.send("\r")
    reused.see("lines 1-", "esc back")
    rows = reused.screen.display
    assert [row[:8] for row in rows[:4]] == ["sluice  ", "▸ 0001kk", "  rule r", "── lines"]
    assert rows[4].startswith("POST https://api.stripe.com/") and rows[23].startswith("a approve")
    reused.send("q")
    reused.see("── hold 0001")
    assert set(reused.screen.titles) <= {"sluice", "sluice: 1 waiting", "sluice: 2 waiting"}
    reused.do("settle", id="0002", state="expired")
    reused.do("settle", id="0001", state="expired")
    reused.send("j")


def test_punycode_hosts_are_shown_as_such(console):
    console.do("open", number=1, says="Pay apple.com", url="https://аррӏе.com/pay")
    console.see("[punycode host] Pay apple.com", "https://xn--80ak6aa92e.com/pay")


def resize(console, width, height):
    console.child.setwinsize(height, width)
    console.screen.resize(height, width)


def test_a_resize_draws_anew_in_the_new_size(console):
    console.do("many", first=1, last=30)
    console.see("30 waiting")
    for width, height in ((120, 40), (40, 10), (80, 24)):
        resize(console, width, height)
        console.see("▸ 0001kk")
        console.wait(
            lambda h=height: console.screen.display[h - 1].rstrip().endswith("? help"),
            "the footer at the end",
        )


def test_a_tiny_terminal_breaks_nothing(console):
    console.do("many", first=1, last=5)
    for width, height in ((1, 1), (5, 3), (10, 5), (80, 24)):
        resize(console, width, height)
        console.look(0.1)
    console.see("▸ 0001kk", "a approve", "? help")


def test_the_screen_can_be_drawn_anew(console):
    console.do("open", number=1)
    console.see("▸ 0001kk")
    console.screen.erase_in_display(2)
    console.send("\x0c")
    console.see("▸ 0001kk", "a approve")


def modes(console):
    return termios.tcgetattr(console.child.child_fd)


LAST = b"\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l\x1b]2;\x07\x1b[23;2t"


@pytest.mark.parametrize("how", ["q", "end", "break", "TERM", "INT"])
def test_the_terminal_is_given_back_however_it_ends(tmp_path, how):
    console = Screen(tmp_path)
    try:
        console.see("nothing is waiting")
        assert not modes(console)[3] & (termios.ECHO | termios.ICANON)
        match how:
            case "q":
                console.send("q")
            case "end" | "break":
                console.do(how)
            case _:
                os.kill(console.child.pid, signal.Signals[f"SIG{how}"])
        console.wait(lambda: LAST in console.raw, "the terminal given back")
        console.wait(
            lambda: modes(console)[3] & termios.ECHO and modes(console)[3] & termios.ICANON, "its modes"
        )
        last = console.end()
        expected = {
            "q": "quit",
            "end": "closed",
            "break": "planted",
            "TERM": "terminated",
            "INT": "Interrupt",
        }
        assert expected[how] in last
    finally:
        console.close()


def test_a_terminal_that_goes_away_ends_the_console_and_not_its_program(tmp_path):
    out = tmp_path / "out"
    console = Screen(tmp_path, SLUICE_TEST_OUT=str(out))
    console.see("nothing is waiting")
    os.close(console.child.child_fd)
    until = time.monotonic() + DEADLINE
    while not out.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert out.read_text() == "gone"
    console.steering.close()
    console.child.wait()


def test_a_terminal_that_stops_holds_nothing_up(console):
    """Ctrl-S, or a line that hangs: the program goes on, and later the newest frame comes."""
    terminal = os.open(f"/proc/{console.child.pid}/fd/0", os.O_RDWR | os.O_NOCTTY)
    termios.tcflow(terminal, termios.TCOOFF)
    for number in range(1, 51):
        console.do("open", number=number)
    assert console.do("calls") == []
    console.look(0.7)
    console.send("a")
    assert console.do("calls") == [] and "sluice  0 waiting" in console.text
    termios.tcflow(terminal, termios.TCOON)
    console.see("50 waiting")
    os.close(terminal)
    assert console.calls() == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_the_program_logs_meanwhile_is_shown_after_it_and_made_safe(console, stream):
    console.do("open", number=1)
    console.see("▸ 0001kk")
    console.do("say", text="a log line\x1b[2J\x1b]2;owned\x07", stream=stream)
    console.look(0.1)
    assert "a log line" not in console.text
    console.send("q")
    console.see("quit all the same?")
    console.send("q")
    last = console.end()
    assert "a log line\\x1b[2J\\x1b]2;owned\\x07" in last and b"\x1b[2J\x1b]2;owned" not in console.raw


def test_a_flood_of_logs_fills_no_disk(console):
    kept = Path(f"/proc/{console.child.pid}/fd/2")
    for number in range(1, 4):
        console.do("say", text="x", times=1_500_000, stream="stderr")
        console.do("open", number=number)
        console.see(f"{number} waiting")
        console.wait(lambda: kept.stat().st_size < 1_000_000, "a file that was cut")


def test_no_color_is_heard(tmp_path):
    console = Screen(tmp_path, NO_COLOR="1")
    try:
        console.do("open", number=1, tier="critical")
        console.see("critical")
        assert b"\x1b[31m" not in console.raw and b"\x1b[1;31m" not in console.raw
    finally:
        console.close()


def tmux(socket, *arguments):
    return subprocess.run(
        ["tmux", "-L", socket, "-f", "/dev/null", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    ).stdout


def test_it_works_in_tmux(tmp_path):
    """The same in a terminal that other people wrote: hostile text, an approval, the title, the end."""
    if not any((Path(folder) / "tmux").exists() for folder in os.environ["PATH"].split(":")):
        pytest.skip("tmux is not here")
    name = f"sluice-test-{os.getpid()}"
    path = f"PYTHONPATH={HERE.parents[1]}:{HERE}"
    program = f"{path} {sys.executable} {HERE / 'tmux_app.py'} {tmp_path / 'out'}; sleep 60"
    tmux(name, "new-session", "-d", "-x", "80", "-y", "24", program)
    try:
        seen = captured(name, "▸ 0001kk", "0002kk")
        assert seen[0].startswith("sluice  2 waiting") and seen[1].startswith("▸ 0001kk")
        assert seen[2].startswith("  0002kk") and seen[3].startswith("── hold 0001")
        assert seen[1].endswith("…"), "a line that is cut says so in the last column"
        assert tmux(name, "display-message", "-p", "#{pane_title}").strip() == "sluice: 2 waiting"
        time.sleep(0.6)  # what the reviewer is given to read: keys before that decide nothing
        tmux(name, "send-keys", "a")
        captured(name, "ended: approved by ada")
        tmux(name, "send-keys", "Down")
        captured(name, "▸ 0002kk")
        tmux(name, "resize-window", "-x", "60", "-y", "20")
        captured(name, "▸ 0002kk")
        tmux(name, "send-keys", "q", "q")
        until = time.monotonic() + DEADLINE
        while not (tmp_path / "out").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert (tmp_path / "out").read_text() == "quit"
        assert "▸" not in tmux(name, "capture-pane", "-p")
    finally:
        tmux(name, "kill-server")


def captured(name, *texts):
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        seen = tmux(name, "capture-pane", "-p")
        if all(text in seen for text in texts):
            return seen.splitlines()
        time.sleep(0.05)
    raise AssertionError(f"never saw {texts} on:\n{seen}")

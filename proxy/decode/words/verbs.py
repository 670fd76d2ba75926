"""
Verbs of API operations, by what doing it comes to; in their base form, as APIs use them.

A verb decides only where it stands as one (see `proxy.decode.deeds`). Many are nouns elsewhere,
and stand in `proxy.decode.words.nouns` too; some come to two things.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.decode.words import marks

VERBS: Final[Mapping[int, str]] = {
    # Asking. Many APIs ask by POST, because a question may be long.
    marks.READ: """
        get list search query find describe lookup fetch read show view count aggregate filter browse
        select has can is exists info status enumerate explore inspect introspect examine explain peek
        mget msearch termvectors mtermvectors percolate scroll knn pit sql esql eql scan tail head poll
        receive pull download retrieve discover whoami ping probe diagnose
        validate verify check test preview simulate precheck dryrun compare diff match
        estimate calculate calc compute evaluate quote predict classify suggest autocomplete
        analyze analyse summarize translate transcribe detect recognize embed tokenize sample
        parse render format geocode encode decode hash hmac derive
        encrypt decrypt encapsulate decapsulate
    """,
    # Something new: harmless unless the thing is not.
    marks.MAKE: """
        create add insert new post register make build generate init initiate setup provision allocate
        upload import export ingest push append write save store record log index upsert submit
        copy clone duplicate fork replicate migrate backup
        connect link mount establish configure open enqueue request issue
    """,
    # Something different: as harmless as the thing.
    marks.CHANGE: """
        update set put edit modify patch change replace revise adjust resize scale convert map unmap
        move merge swap switch turn enable default upgrade downgrade extend
        attach detach associate disassociate assign unassign bind unbind
        sync refresh reload rerun restart reboot resolve
    """,
    # Something is under way, or a step further: harmless unless it moves money or sets a mailing going.
    marks.STEP: """
        start launch run begin execute invoke trigger call dispatch publish schedule schedules issue post
        pause resume stop end continue retry proceed advance accelerate transition process
        submit apply commit complete finalize settle collect distribute return hold increment decrement
        reject decline reopen
    """,
    # Nobody minds.
    marks.CALM: """
        tag untag label unlabel star unstar like unlike favorite unfavorite follow unfollow watch unwatch
        subscribe unsubscribe pin unpin bookmark vote upvote downvote react mark unmark flag unflag
        read unread unseen touch typing ack acknowledge nack snooze mute unmute dismiss hide unhide
        heartbeat keepalive track identify page screen annotate comment draft rank sort reorder rename
        undo restore undelete recover unarchive redeliver rerequest refresh reindex warm
    """,
    # Data or a resource is gone.
    marks.ERASE: """
        delete deleted del rm remove destroy purge erase drop truncate wipe empty clear clean cleanup
        vacuum flush expunge forget scrub shred trash discard overwrite redact anonymize anonymise
        terminate kill nuke obliterate decommission deallocate release retire sunset teardown dismantle
        deregister unregister deprovision uninstall unlink offboard disband dissolve
        expire evict prune reap rebuild reimage reinstall
    """,
    # What was in force, or under way, is no more.
    marks.END: """
        cancel void abort rescind invalidate reverse close shutdown discontinue
        deactivate disable suspend freeze disconnect kick archive unpublish
    """,
    # A person gets it.
    marks.SEND: """
        send resend deliver notify remind nudge announce broadcast escalate
        email mail sms text message dm postmessage reply forward crosspost tweet retweet fax dial
    """,
    # Money moves, or is committed.
    marks.PAY: """
        pay prepay repay charge recharge capture refund payout transfer deposit withdraw disburse remit
        purchase buy sell trade bid renew checkout topup fund redeem donate tip debit credit
        authorise reauthorize invest lend borrow stake unstake mint liquidate
    """,
    # Who may do what is different than before.
    marks.GRANT: """
        grant revoke unrevoke authorize deauthorize unauthorize permit allow deny forbid exempt override
        bypass restrict unrestrict trust untrust disavow expose share unshare delegate impersonate assume
        invite reinvite join leave enroll unenroll promote demote elevate
        ban unban block unblock unsuspend unfreeze lock unlock reinstate activate reactivate
        whitelist blacklist allowlist denylist authenticate login logout signin signout signup
        rotate roll reroll regenerate rekey rewrap seal unseal sign reset
    """,
    # What waited for a yes or a no has its yes.
    marks.DECIDE: "approve accept confirm adjudicate",
}

# Words that only say how.
MANNERS: Final = """
    admin batch batched bulk mass multi multiple many all async now auto force hard soft gdpr do try
"""
# Words after which the object of a verb ends.
TURNS: Final = "to from for by with without in on into of at as using via"

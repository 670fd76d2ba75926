"""
Nouns of APIs, in the singular, by what a change of the thing comes to.

What is listed here is what the word means in most APIs that have it. A word that means a risky
thing in some and a harmless one in others is listed as risky.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.decode.words import marks

NOUNS: Final[Mapping[int, str]] = {
    # Access itself: who may do what, what proves it, what guards it. Wherever in a path it stands.
    marks.GUARD: """
        role permission privilege policy acl iam rbac abac grant entitlement access scope
        auth authentication authorization authorisation authorizer authorized authorised
        oauth oidc sso saml scim ldap kerberos radius sts idp federation federated
        identity principal admin administrator superuser sudo root owner ownership supervisor moderator
        maintainer collaborator member membership teammate serviceaccount guardian
        invite invitation enrollment enrolment delegate delegation impersonation consent
        credential cred creds secret password passphrase passcode passkey psk token apikey accesskey
        mfa totp otp factor authenticator webauthn fido signin login logout recovery lockout activation
        certificate cert ca csr crl issuer jwk jwks jwt keypair keystore truststore pki tls ssl mtls tsig
        dnssec kms hsm cmk byok encryption signing attestation
        security protection protected posture assurance firewall waf bastion lockdown quarantine dlp audit
        allowlist whitelist safelist allowed denylist blocklist blacklist denied ban restriction exemption
        bypass trust trusted verified ruleset admission approval
        webhook hook forwarding public share sharing
    """,
    # Access, where the request is about it.
    marks.DOOR: """
        key user guest group team account subuser subaccount tenant realm zone organization
        app application client device integration installation install connection provider
        endpoint callback destination redirect origin cors domain ip cidr egress vpn
        rule override block approver exposure visibility privacy repository
        license licence seat logging
    """,
    # Making one moves money.
    marks.MONEY: """
        payment prepayment repayment charge chargeback refund payout transfer deposit withdrawal
        disbursement remittance settlement reversal adjustment capture debit topup cashout cashback
        purchase order transaction donation tip redemption payroll paycheck investment bet
        ach sepa wire fednow swift rtp pix
    """,
    # So does a change of it.
    marks.MONEY | marks.PLEDGE: "subscription",
    # It is about money: made freely, acted on with care.
    marks.PAPER: """
        invoice quote bill balance wallet fund credit amount paid money bank treasury ledger
        escrow dispute claim mandate agreement authorization sale loan
    """,
    # Making one reaches a person.
    marks.LETTER: """
        message email mail sms mms dm whatsapp fax call voicemail chat tweet communication transmission
        letter postcard booklet mailer mailing newsletter broadcast announcement reminder
        invite invitation invitee attendee registrant panelist participant interaction
        envelope verification challenge case
    """,
    # Setting one going reaches many.
    marks.MAILING: "campaign journey automation sequence drip blast digest newsletter broadcast",
    # Making one loses data.
    marks.LOSS: "deletion removal erasure destruction purge wipe eviction cancellation revocation",
    # Nobody minds a change of it, or one less.
    marks.TRIFLE | marks.FEATHER: """
        reaction star starred like vote favorite favourite bookmark follow follower following watch watcher
        label tag tagging pin typing presence heartbeat assignee reviewer
    """,
    # Nobody minds a change of it.
    marks.TRIFLE: """
        name title description comment note annotation highlight draft template preview translation
        attachment thumbnail avatar logo photo icon emoji color branding
        profile alias property metadata preference status view read rating feedback survey
    """,
    # Words before these only say what kind it is: a payment method, a charge report.
    marks.FORM: """
        method option setting config configuration profile template source type category code detail
        item line group label note field form address history report statement event rule session
        link page button portal terminal reader
    """,
    # Access, but not where one of the plain words stands before it: a log group, a scaling policy.
    marks.SOFT: """
        policy rule scope key token group member connection endpoint hook lock subscription transaction
    """,
    marks.PLAIN: """
        log metric monitor metering health report anomaly notification tag index search sort page count
        node shard replication partition placement snapshot storage tier capacity cache lens global
        subnet target gateway transit multicast routing traffic stream datafeed input output push
        scaling scheduling lifecycle retention backup eviction allocation quota parameter option
        job work import export primary foreign idempotency contact consumer billing
    """,
    # What machines send each other.
    marks.ROBOT: """
        event action task signal heartbeat telemetry metric measurement trace span record statement
        queue stream
    """,
    # What stands below it happens in a model of the world only.
    marks.PRETEND: "sandbox simulation simulator simulate",
    # A question, asked by making one.
    marks.ASKED: "search query lookup analysis validation preview simulation estimate calculation",
    # What follows is a name that somebody chose.
    marks.PLACE: """
        namespace workspace project org repo repository branch environment region realm
        bucket container volume object blob file database db dataset collection table index topic queue
    """,
    # They say nothing; known as nouns, though some are verbs too, and as halves of compound words.
    marks.THING: """
        item product price rate plan stage course job run build release deployment pipeline workflow process
        customer contact company deal lead person employee student user agent team room review
        file folder document page post blog article feed comment board thread ticket issue project task
        conversation channel call meeting calendar event notification request resource entity entry record
        map log chart dashboard widget table database dataset cluster server instance volume bucket store
        collection catalog category inventory series model version variable feature field form screen
        assignment binding mapping scheme type set config setting service number location address site
        environment workspace space hold host head image video media asset object backup snapshot sample
        filter index export import upload copy clone fork patch post push quote trigger track transition
        open close start stop end return card vehicle shipment report link draft view
        commit completion single cloud ssh gpg pgp api mcp rpc jsonrpc graphql gql
    """,
}

# As they stand: the plural is another thing than the singular.
PLURALS: Final[Mapping[int, str]] = {
    marks.LETTER: "notifications replies",
    marks.LETTER | marks.MAILING: "sends",
    marks.MONEY: "dids shortcodes",
    marks.PAPER: "checkouts",
    marks.LOSS: "cancels",
    marks.THING: "lists checks tests scans searches queries flags",
}
# Two words that are one thing.
PAIRS: Final[Mapping[int, str]] = {
    marks.GUARD: "key-pair key-pairs auth-code sign-in message-rule message-rules inbox-rule inbox-rules",
    marks.MONEY: """
        phone-number phone-numbers short-code short-codes credit-note credit-notes gift-card gift-cards
        savings-plan
    """,
    marks.LETTER: "signature-request signature-requests",
    marks.TRIFLE | marks.FEATHER: "sub-issue blocked-by",
    marks.THING: "access-log access-logs resource-group resource-groups message-visibility",
}

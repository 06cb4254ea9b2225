#!/usr/bin/env python3
"""Checks an evidence bundle (.fxe) without any code of the arbiter project: a second reader, for who trusts neither.

    verify.py BUNDLE [--key HEX] [--policy FILE]

--key: the arbiter's Ed25519 key, from `arbiter info` or a fairx pin.  --policy: a C2SP tlog-policy with the log's key and the witnesses.
Needs Python 3.9 and the package `cryptography`. No network. SPEC.md sections 2, 3, 7 and 9 say what is checked; docs/bundle.md
explains the file. Exit code: 0 good, 1 bad, 2 usage, 5 nothing is wrong, but what was asked for is not in the file.

Not checked here: that the rules give this verdict (`fairx verify` decides the case again), the proofs of escrows,
time-stamp tokens (use `openssl ts -verify`), certificates, cosignatures of type 6 (ML-DSA). Each is said in the output.
"""
import argparse, base64, hashlib, json, re, sys
from datetime import datetime, timedelta, timezone
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "application/vnd.arbiter.evidence-bundle.v1+json"
NOTE = "The summary is not authenticated. Only `fairx verify` says what this file proves."
ROLES = ("originator", "responder")
EVENTS = {1: "verdict-aborted", 2: "verdict-replaced", 3: "verdict-revoked", 4: "verdict-affidavit"}
CLAIMS = {1: "aborted", 2: "resolved", 3: "revoked", 4: "affidavit"}


class Bad(ValueError):
    """The bundle is bad."""


def need(condition, why):
    if not condition:
        raise Bad(why)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(text):
    need(isinstance(text, str), "text expected")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad("bad base64")
    need(base64.b64encode(data).decode() == text, "base64 is not in its one form")
    return data


def unhex(text, size):
    need(isinstance(text, str) and re.fullmatch("[0-9a-f]{%d}" % (2 * size), text), "bad hex")
    return bytes.fromhex(text)


def ed25519(key, message, signature, what):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Bad(what + ": the signature does not verify")


# --- protobuf, as far as it is needed: varints and length-delimited fields ---

def varint(data, at):
    value = shift = 0
    while True:
        need(at < len(data) and shift < 70, "protobuf is cut off")
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            need(byte or shift == 7, "a varint is longer than needed")
            return value, at


def fields(data):
    out, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        need(number and kind in (0, 2), "unexpected protobuf field")
        value, at = varint(data, at)
        if kind == 2:
            need(at + value <= len(data), "protobuf is cut off")
            value, at = data[at:at + value], at + value
        out.setdefault(number, []).append(value)
    return out


def one(message, number, default=None):
    values = message.get(number, [default])
    need(len(values) == 1 and values[0] is not None, "field %d is missing or repeated" % number)
    return values[0]


class Statement:
    """An envelope: payload type, payload, one signature (SPEC.md section 2)."""

    def __init__(self, text, name, key=None):
        envelope = fields(b64(text))
        need(list(envelope) == [1, 2, 3], name + ": not an envelope")
        self.name, self.type, self.payload = name, one(envelope, 1), one(envelope, 2)
        signature = fields(one(envelope, 3))
        need(list(signature) == [1, 2], name + ": not one signature")
        self.key, self.signature = one(signature, 1), one(signature, 2)
        self.pae = b"DSSEv1 %d %s %d %s" % (len(self.type), self.type, len(self.payload), self.payload)
        self.digest, self.fields = sha(self.pae), fields(self.payload)
        need(one(self.fields, 1) == 1, name + ": another version")
        if key:
            self.check(key)

    def is_a(self, kind):
        return self.type == b"application/vnd.arbiter.%s.v1+protobuf" % kind.encode()

    def check(self, key, kind=None):
        need(self.is_a(kind or self.name.split("-")[0]), self.name + ": another kind of statement")
        need(self.key == key, self.name + ": signed by another key")
        ed25519(key, self.pae, self.signature, self.name)

    def get(self, number, default=None):
        return one(self.fields, number, default)


# --- the log (RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-policy) ---

def node(left, right):
    return sha(b"\x01", left, right)


def tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree(leaves[:k]), tree(leaves[k:]))


def inclusion(leaf, index, size, path, root):
    """RFC 9162 section 2.1.3.2. Size and root come from a verified checkpoint, never from the proof."""
    need(index < size, "the leaf is not in a tree of this size")
    fn, sn, value = index, size - 1, leaf
    for p in path:
        need(sn, "the inclusion proof is too long")
        if fn & 1 or fn == sn:
            value = node(p, value)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = node(value, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and value == root, "the inclusion proof does not lead to the root")


def key_id(name, kind, key):
    return sha(name.encode(), b"\n", bytes([kind]), key)[:4]


class Checkpoint:
    """A signed note whose text is origin, size, root; signed by the log's key, whose name is the origin."""

    def __init__(self, note, origin, log_key):
        text, separator, lines = note.rpartition("\n\n")
        need(separator and lines.endswith("\n") and not re.search("[\x00-\x09\x0b-\x1f]", note), "not a signed note")
        self.text, self.lines = text + "\n", []
        for line in lines[:-1].split("\n"):
            match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)", line)
            need(match, "a signature line of the checkpoint is malformed")
            signature = b64(match[2])
            need(len(signature) > 4, "a signature line of the checkpoint is malformed")
            self.lines.append((match[1], signature[:4], signature[4:]))
        need(len(self.lines) <= 16, "too many signatures")
        match = re.fullmatch("([^\n]+)\n(0|[1-9][0-9]*)\n([^\n]+)\n", self.text)
        need(match and match[1] == origin, "the checkpoint is of another log")
        self.size, self.root = int(match[2]), b64(match[3])
        need(self.signed_by(origin, 1, log_key) is not None, "the log did not sign the checkpoint")

    def signed_by(self, name, kind, key):
        """None, or the time of a cosignature (0 for a plain signature). A bad line of a known key is an error."""
        found = None
        for line, identity, signature in self.lines:
            if line != name or identity != key_id(name, kind, key):
                continue
            message, time = self.text.encode(), 0
            if kind == 4:
                need(len(signature) == 72, name + ": a cosignature has 72 bytes")
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                need(0 < time < 1 << 63, name + ": a cosignature has a time")
                message = b"cosignature/v1\ntime %d\n%s" % (time, message)
            ed25519(key, message, signature, "signature of %s on the checkpoint" % name)
            found = time
        return found


def vkey(text):
    name, identity, key = text.split("+", 2)
    key = b64(key)
    need(key_id(name, key[0], key[1:]).hex() == identity, "a key of the policy has another id")
    return name, key[0], key[1:]


class Policy:
    def __init__(self, text):
        self.logs, self.witnesses, self.groups, self.quorum = [], {}, {}, None
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "log":
                self.logs.append(vkey(words[1]))
            elif words[0] == "witness":
                self.witnesses[words[1]] = vkey(words[2])
            elif words[0] == "group":
                members = words[3:]
                least = {"all": len(members), "any": 1}.get(words[2]) or int(words[2])
                self.groups[words[1]] = (least, members)
            elif words[0] == "quorum":
                self.quorum = words[1]
            else:
                raise Bad("the policy has an unknown line")
        known = lambda name: name in self.witnesses or name in self.groups
        need(self.quorum == "none" or known(self.quorum), "the policy has no quorum")
        need(all(known(it) for _, list in self.groups.values() for it in list), "a group names what is not there")

    def satisfied(self, name, seen):
        if name == "none" or name in seen:
            return True
        if name not in self.groups:
            return False
        least, members = self.groups[name]
        return sum(self.satisfied(it, seen) for it in members) >= least


def tlog_proof(text):
    """index, path, checkpoint"""
    match = re.fullmatch(r"c2sp\.org/tlog-proof@v1\n(?:extra ([A-Za-z0-9+/=]*)\n)?index (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/=]+\n)*)\n(.*)", text, re.S)
    need(match, "not a tlog-proof")
    path = [b64(line) for line in match[3].split()]
    need(all(len(it) == 32 for it in path) and len(path) <= 64, "not a tlog-proof")
    return int(match[2]), path, match[4]


# --- the bundle ---

def when(ms):
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def strict(pairs):
    need(len(dict(pairs)) == len(pairs), "a field is there twice")
    return dict(pairs)


def keys(value, required, optional=""):
    need(isinstance(value, dict), "not an object")
    required, optional = set(required.split()), set(optional.split())
    need(required <= set(value) <= required | optional, "fields are missing or unknown: %s" % (required ^ set(value)))
    return value


class Verifier:
    def __init__(self, bundle, key, policy):
        self.bundle, self.pinned, self.policy, self.missing = bundle, key, policy, False

    def ok(self, name, detail):
        print(" ok   %-24s %s" % (name, detail))

    def say(self, name, detail):
        print(" --   %-24s %s" % (name, detail))

    def run(self):
        b = keys(self.bundle, "format note outcome summary offer transfers receipts", "acceptance escrows signatures payments")
        need(b["format"] == FORMAT and b["note"] == NOTE, "another format")
        pairs = {it: keys(b.get(it, {}), "", "originator responder") for it in ("transfers", "escrows", "signatures", "payments")}
        offer = self.offer = Statement(b["offer"], "offer")
        self.parties = {role: one(fields(offer.get(number)), 1) for role, number in zip(ROLES, (3, 4))}
        self.items = dict(zip(ROLES, (offer.get(6), offer.get(7))))
        offer.check(self.parties["originator"])
        arbiter = fields(offer.get(5))
        self.arbiter, self.log_key, self.origin, self.rules = (one(arbiter, it) for it in (1, 2, 3, 4))
        self.ok("offer", "exchange " + offer.digest.hex())
        if self.pinned:
            need(self.pinned == self.arbiter, "the agreement names another arbiter than --key")
            self.ok("arbiter", "the one of --key")
        else:
            self.say("arbiter", "NOT PINNED: its key was taken from the bundle")
        acceptance = self.accepted(b.get("acceptance"), "acceptance")
        for role, text in pairs["transfers"].items():
            need(acceptance, "a transfer without an acceptance")
            transfer = Statement(text, "transfer", self.parties[role])
            bound = (offer.digest, acceptance.digest, ROLES.index(role) + 1, self.items[role])
            need(tuple(transfer.get(it) for it in (2, 3, 4, 5)) == bound, "a transfer of something else")
            self.ok("transfer-" + role, "under this agreement")
        need(isinstance(b["receipts"], list) and len(b["receipts"]) <= 2, "too many receipts")
        found = [self.receipt(it) for it in b["receipts"]]
        kinds = [kind for kind, *_ in found]
        need(kinds in ([], ["verdict"], ["attestation"], ["attestation", "verdict"]), "receipts repeat or are out of order")
        if len(found) == 2:
            (_, i, n, root, *_), (_, j, m, other, *_) = found
            need(i != j and (n != m or root == other), "the receipts contradict each other")
        need(acceptance or not any(accepted for *_, accepted in found), "a ruling on an acceptance that is not here")
        shown = next((CLAIMS[ruling] for kind, *_, ruling, _ in found if kind == "verdict"), None)
        shown = shown or self.without_verdict(pairs)
        for role, text in pairs["signatures"].items():
            need(shown in ("completed", "resolved"), "a signature is shown before the end")
            self.detached(role, b64(text))
        for role, text in pairs["payments"].items():
            self.payment(role, text, shown)
        for role, text in pairs["escrows"].items():
            need(acceptance or role == "originator", "a pledge without an acceptance")
            name, *_ = self.pledge(role, text)
            if name.endswith("reservation"):
                self.ok("reservation-" + role, "the ledger had set the money aside for this exchange")
            else:
                self.say("escrow-" + role, "there; its proof is NOT CHECKED here")
        need(b["outcome"] == shown, "the bundle claims %s, its statements show %s" % (b["outcome"], shown))
        self.ok("outcome", shown)

    def accepted(self, text, name):
        if text is None:
            return None
        acceptance = Statement(text, name, self.parties["responder"])
        need(acceptance.get(2) == self.offer.digest, "an acceptance of another offer")
        self.ok(name, "agreement " + acceptance.digest.hex())
        return acceptance

    def without_verdict(self, pairs):
        # 7 is nothing: what the receiver of a gift gives.
        both = all(role in pairs["transfers"] or 7 in fields(self.items[role]) for role in ROLES)
        signed = all(role in pairs["signatures"] for role in ROLES if self.leaves(role, 4))
        paid = all(self.receipts(pairs["payments"].get(role), role) == len(self.paid(role)) for role in ROLES)
        return "completed" if both and signed and paid else "open"

    def receipt(self, r):
        keys(r, "statement answer leaf inclusion_proof checkpoint request record_salts", "acceptance attestations escrows tlog_proof timestamps")
        offer, name = self.offer, "statement"
        statement = Statement(r["statement"], name)
        kind = "attestation" if statement.is_a("attestation") else "verdict"
        statement.check(self.arbiter, kind)
        answer = Statement(r["answer"], "answer", self.arbiter)
        need(answer.get(3) == statement.digest, "the answer is about another statement")
        request = Statement(r["request"], "request")
        role = ROLES[one(request.fields, 4) - 1]
        request.check(self.parties[role])
        acceptance = self.accepted(r.get("acceptance"), "acceptance-ruled-on") if "acceptance" in r else None
        for bound in (statement, request):
            need(bound.get(2) == offer.digest, "the ruling is about another exchange")
        evidence, values = [offer.digest], [("request", request.payload), ("offer", offer.payload)]
        if acceptance:
            evidence.append(acceptance.digest)
            values.append(("acceptance", acceptance.payload))
        for who, text in sorted(keys(r.get("attestations", {}), "", "originator responder").items()):
            relied = Statement(text, "attestation", self.arbiter)
            need(relied.get(2) == offer.digest and relied.get(4) == ROLES.index(who) + 1, "an attestation of something else")
            evidence.append(relied.digest)
            values.append((who + "-attestation", relied.payload))
        for who, text in sorted(keys(r.get("escrows", {}), "", "originator responder").items()):
            field, value, digest = self.pledge(who, text)
            evidence.append(digest)
            values.append((field, value))
        values.append(("statement", statement.payload))
        ruling = statement.get(8) if kind == "verdict" else None
        if kind == "verdict":
            need(statement.get(12) == request.digest and statement.fields.get(13) == evidence, "the verdict rests on other evidence")
            index, time, event, reason = statement.get(15, 0), statement.get(16), EVENTS[ruling], statement.get(9).decode()
        else:
            need(statement.get(6) == request.digest, "the attestation rests on another request")
            index, time, event, reason = statement.get(7, 0), statement.get(8), "deposit-accepted", None
        self.ok(kind, "signed by the arbiter, on the evidence beside it, at %s (its clock)" % when(time))

        leaf = r["leaf"]
        lines = dict(line.split(" ", 1) for line in leaf.split("\n")[1:-1])
        order = "id event reason time clock exchange seq prev policy build issuer token record".split()
        need(leaf.startswith("arbiter/evidence-leaf/v1\n") and leaf.endswith("\n") and list(lines) == order, "the leaf is malformed")
        expected = {"id": str(index), "event": event, "time": when(time), "policy": sha(self.rules).hex(),
                    "issuer": sha(self.arbiter)[:4].hex(), "token": statement.digest.hex(), "reason": reason or lines["reason"]}
        need(all(lines[it] == expected[it] for it in expected), "the leaf describes something else")
        salts = [unhex(it, 16) for it in r["record_salts"]]
        need(len(salts) == len(values), "another number of salts than fields")
        record = tree([sha(b"\x00", salt, field.encode(), b"\x00", value) for salt, (field, value) in zip(salts, values)])
        need(record.hex() == lines["record"], "the sealed record does not match the leaf")
        self.ok(kind + "-leaf", "leaf %d; the sealed record of %d fields matches it" % (index, len(values)))

        checkpoint = Checkpoint(r["checkpoint"], self.origin.decode(), self.log_key)
        place = (answer.get(4, 0), answer.get(5), answer.get(6))
        need(place == (index, checkpoint.size, checkpoint.root), "the answer is about another tree")
        hashed = sha(b"\x00", leaf.encode())
        need(len(r["inclusion_proof"]) <= 64, "the inclusion proof is too long")
        inclusion(hashed, index, checkpoint.size, [unhex(it, 32) for it in r["inclusion_proof"]], checkpoint.root)
        self.ok(kind + "-log", "in the tree of size %d of log %s" % (checkpoint.size, self.origin.decode()))
        self.witnessed(kind, r.get("tlog_proof"), hashed, index, checkpoint)
        for token in r.get("timestamps", []):
            b64(token)
            self.say(kind + "-timestamp", "there; NOT CHECKED here")
        return kind, index, checkpoint.size, checkpoint.root, ruling, acceptance is not None

    def witnessed(self, kind, text, hashed, index, earlier):
        if self.policy:
            need((self.origin.decode(), 1, self.log_key) in self.policy.logs, "the policy does not name this log with this key")
        if text is None:
            self.missing |= bool(self.policy) and self.policy.quorum != "none"
            return self.say(kind + "-witnesses", "none")
        place, path, note = tlog_proof(text)
        later = Checkpoint(note, self.origin.decode(), self.log_key)
        need(place == index, "the tlog-proof is of another leaf")
        inclusion(hashed, index, later.size, path, later.root)
        need(later.size > earlier.size or (later.size, later.root) == (earlier.size, earlier.root), "the log contradicts itself")
        self.ok(kind + "-tlog-proof", "in the tree of size %d too" % later.size)
        if not self.policy:
            return self.say(kind + "-witnesses", "%d, NOT CHECKED: no --policy" % (len(later.lines) - 1))
        seen = {}
        for name, (key_name, key_kind, key) in self.policy.witnesses.items():
            time = later.signed_by(key_name, key_kind, key) if key_kind == 4 else None
            if time is not None:
                seen[name] = time
                self.ok(kind + "-witness", "%s saw this tree at %s (its clock)" % (name, when(time * 1000)))
        enough = self.policy.satisfied(self.policy.quorum, seen)
        self.missing |= not enough
        (self.ok if enough else self.say)(kind + "-quorum", "%d witnesses, quorum %s" % (len(seen), "reached" if enough else "MISSING"))

    def leaves(self, role, kind):
        """the leaves of this kind of the item of this role, each with its place: of a lone item itself"""
        def leaves(item):
            item = fields(item)
            return [leaf for it in fields(one(item, 8))[1] for leaf in leaves(it)] if 8 in item else [item]
        return [(at, one(leaf, kind)) for at, leaf in enumerate(leaves(self.items[role])) if kind in leaf]

    def detached(self, role, content):
        """a signature, or those of a package, each after its length"""
        agreed = self.leaves(role, 4)
        need(agreed, "a signature of who was to give something else")
        parts = [content] if len(agreed) == 1 else self.framed(content)
        need(len(parts) == len(agreed), "signatures are missing, or too many")
        for (_, item), part in zip(agreed, parts):
            self.signed(role, fields(item), part)

    def signed(self, role, item, signature):
        words = fields(one(item, 1))
        subject = fields(one(words, 3))
        document = b"arbiter/signed-statement/v1\ntitle %s\nfile %s\ntype %s\nsize %d\nsha256 %s\n\n%s" % (
            one(words, 1), one(subject, 4), one(subject, 3), one(subject, 2), one(subject, 1).hex().encode(), one(words, 2, b""))
        key = fields(one(item, 2))
        if 1 in key:
            ed25519(one(key, 1), document, signature, "signature-" + role)
        else:
            key = fields(one(key, 2))
            digest = {1: hashes.SHA256, 2: hashes.SHA384, 3: hashes.SHA512}[one(key, 4)]()
            how = padding.PKCS1v15() if one(key, 3) == 1 else padding.PSS(padding.MGF1(digest), digest.digest_size)
            public = rsa.RSAPublicNumbers(one(key, 2), int.from_bytes(one(key, 1), "big")).public_key()
            try:
                public.verify(signature, document, how, digest)
            except InvalidSignature:
                raise Bad("signature-%s: the signature does not verify" % role)
        self.ok("signature-" + role, "verifies over the text agreed")

    def pledge(self, role, text):
        """what stands beside an offer or acceptance: its field in the sealed record, its value there, its digest in a verdict"""
        data = b64(text)
        if data[:1] != b"\x0a":
            need(11 in self.offer.fields and self.leaves(role, 4), "an escrow of what is not sealed")
            return role + "-escrow", data, sha(data)
        receipt, reserved = self.ledger(role, text)
        need(reserved and receipt.get(3) == 2, "a receipt that sets nothing aside")
        return role + "-reservation", receipt.payload, receipt.digest

    def paid(self, role):
        """the payments of this role: of a lone one itself, otherwise those of its package, each with its place"""
        alone = 8 not in fields(self.items[role])
        return [(it, b"" if alone else bytes([at])) for at, it in self.leaves(role, 5)]

    def receipts(self, text, role):
        return 0 if text is None else len(self.split(text))

    def split(self, text):
        """one receipt, or those of a package, each after its length"""
        data = b64(text)
        return [base64.b64encode(it).decode() for it in self.framed(data)] if data[:1] == b"\0" else [text]

    def framed(self, data):
        """the parts of the content of a package (R-320)"""
        parts = []
        while data:
            end = 8 + int.from_bytes(data[:8], "big")
            need(8 < end <= len(data), "the content of a package is cut off")
            parts, data = parts + [data[8:end]], data[end:]
        return parts

    def ledger(self, role, text):
        """a ledger's receipt for what the party in this role pays, and whether that is reserved money"""
        paid = self.paid(role)
        need(paid, "a ledger's receipt of who owes no payment")
        receipt = Statement(text, "payment")
        named = one(fields(receipt.get(2)), 1)
        agreed, place = next((it for it in paid if it[0] == named), paid[0])
        receipt.check(one(fields(agreed), 1), "payment-receipt")
        terms = fields(receipt.get(2))
        reference = sha(b"arbiter payment reference v1\x00", self.offer.digest, bytes([ROLES.index(role)]), place)
        need(one(terms, 1) == agreed and one(terms, 3) == reference, "the receipt is for another payment")
        held = 5 in fields(agreed)
        need((one(terms, 2, b"") == self.arbiter) == held, "the receipt is for another payment")
        return receipt, held and one(fields(one(fields(agreed), 5)), 2) == 1

    def payment(self, role, text, shown):
        texts = self.split(text)
        found = [self.ledger(role, it) for it in texts]
        need(len({receipt.digest for receipt, _ in found}) == len(texts), "a receipt is there twice")
        for receipt, reserved in found:
            self.stands(role, receipt, reserved, shown)

    def stands(self, role, receipt, reserved, shown):
        state = receipt.get(3)
        effective = state == 3 or (state == 2 and not reserved)
        need(effective or shown not in ("completed", "resolved"), "by the ledger this was not paid")
        self.ok("payment-" + role, ("absent", "reserved", "posted", "voided")[state - 1])


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=argparse.FileType("rb"))
    parser.add_argument("--key", type=bytes.fromhex, metavar="HEX")
    parser.add_argument("--policy", type=lambda path: Policy(open(path, encoding="utf-8").read()), metavar="FILE")
    given = parser.parse_args(arguments)
    with given.bundle as file:
        data = file.read()
    try:
        verifier = Verifier(json.loads(data.decode("utf-8"), object_pairs_hook=strict), given.key, given.policy)
        verifier.run()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        print("BAD: %s" % error)
        return 1
    print("MISSING: cosignatures that the policy asks for" if verifier.missing else "GOOD")
    return 5 if verifier.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

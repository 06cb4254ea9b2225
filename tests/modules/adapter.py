#!/usr/bin/env python3
"""A sample adapter: an invented card rail (authorise, capture, void) behind proto/arbiter/adapter/v1.

    arbiter, payers ──gRPC──▶ Adapter ──▶ Card        the rail; here a dict, elsewhere somebody's API
                       orders    └─ signs receipts with the adapter's key

It shows what docs/modules.md asks of an adapter, in one file, and passes the conformance suite (tests/modules/contract.rs).
It forgets everything when it ends: a real one keeps `Card` and the answers it gave in a database, and stores an answer
before it gives it.

    adapter.py --descriptors arbiter-protocol/src/wire/gen/descriptors.bin --seed FILE [--listen ADDRESS] [--token FILE]

Needs grpcio, protobuf and cryptography; no protoc: the messages come from the descriptors.
"""

import argparse
import concurrent.futures
import hashlib
import hmac
import sys
import threading
import time

import grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

VERSION = 1
MOST_BYTES = 64 * 1024
ORDER = "application/vnd.arbiter.payment-order.v1+protobuf"
RECEIPT = "application/vnd.arbiter.payment-receipt.v1+protobuf"
MAKE, POST, VOID = 1, 2, 3
ABSENT, RESERVED, POSTED, VOIDED = 1, 2, 3, 4
TIMEOUT_VOID, TIMEOUT_POST = 1, 2
# Make, verify, revoke, generate: all of them strong.
POWERS = [1, 2, 3, 5]
# Code, scale, smallest and largest payment.
CURRENCIES = [("EUR", 2, 1, 1_000_000), ("JPY", 0, 1, 100_000_000)]
LONGEST_HOLD_MS = 30 * 24 * 60 * 60 * 1000
LATEST = 1 << 53


class Messages:
    """The classes of the messages, made from the descriptors of the .proto files."""

    def __init__(self, path):
        files = descriptor_pb2.FileDescriptorSet()
        with open(path, "rb") as file:
            files.ParseFromString(file.read())
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)

    def __getattr__(self, name):
        package = "adapter" if name.endswith(("Request", "Response")) else "statement"
        descriptor = self.pool.FindMessageTypeByName(f"arbiter.{package}.v1.{name}")
        if hasattr(message_factory, "GetMessageClass"):
            made = message_factory.GetMessageClass(descriptor)
        else:
            made = message_factory.MessageFactory(self.pool).GetPrototype(descriptor)
        setattr(self, name, made)
        return made


class Refused(Exception):
    """An order that is not carried out. Nothing has changed."""

    def __init__(self, code, reason, text):
        super().__init__(f"{reason}: {text}")
        self.code = code


def invalid(text):
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, "ORDER_INVALID", text)


def refused(reason, text):
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, reason, text)


def pae(kind, payload):
    """What a signature covers: the pre-authentication encoding of DSSE."""
    kind = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def canonical(message, data):
    """Whether `data` is the one encoding of `message`: no unknown fields, no other order."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.SerializeToString(deterministic=True) == data


class Payment:
    """One payment on the rail."""

    def __init__(self, terms):
        self.terms = terms
        self.state, self.posted, self.entry, self.time, self.order = ABSENT, 0, 0, 0, b""

    def is_final(self):
        return self.state in (POSTED, VOIDED)


class Card:
    """The rail. Every cardholder may reserve a million; what is captured is settled elsewhere."""

    def __init__(self):
        self.payments = {}
        self.entries = 0

    def change(self, payment, state, posted, now, order):
        self.entries += 1
        payment.state, payment.posted, payment.order = state, posted, order
        payment.entry, payment.time = self.entries, now

    def settle(self, now):
        """Ends the holds that have run out, in the order of their ends."""
        over = [
            (it.terms.payment.hold.until, name, it)
            for name, it in self.payments.items()
            if it.state == RESERVED and it.terms.payment.hold.until <= now
        ]
        for _, _, payment in sorted(over, key=lambda it: it[:2]):
            hold, amount = payment.terms.payment.hold, payment.terms.payment.amount.units
            if hold.timeout == TIMEOUT_POST:
                self.change(payment, POSTED, amount, now, b"")
            else:
                self.change(payment, VOIDED, 0, now, b"")


class Adapter:
    """Orders in, receipts out. One lock: an order is carried out as a whole, or not at all."""

    def __init__(self, messages, key):
        self.messages, self.key = messages, key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.card, self.lock = Card(), threading.Lock()
        # What was answered to an order, by its digest: the same order again gets the same bytes.
        self.answers = {}

    def now(self):
        return int(time.time() * 1000)

    # ---- what comes in

    def open_order(self, envelope, actions):
        """A signed order, fully checked; returns it with the digest that names it."""
        if envelope.payload_type != ORDER or len(envelope.signatures) != 1:
            raise invalid("this is not one payment order with one signature")
        payload, signature = envelope.payload, envelope.signatures[0]
        message = pae(ORDER, payload)
        try:
            Ed25519PublicKey.from_public_bytes(signature.key_id).verify(signature.signature, message)
        except (InvalidSignature, ValueError):
            raise invalid("the signature does not verify")
        order = self.messages.PaymentOrder()
        try:
            order.ParseFromString(payload)
        except Exception:
            raise invalid("this is no payment order")
        if not canonical(order, payload) or order.version != VERSION:
            raise invalid("the order is not in its one form, or of another version")
        self.check_terms(order.terms)
        if order.action not in actions:
            raise invalid("the order is for another method")
        payment = order.terms.payment
        if order.action == POST and not 1 <= order.units <= payment.amount.units:
            raise invalid("units are 1 to the amount")
        if order.action != POST and order.units != 0:
            raise invalid("units are for posting")
        if order.action != MAKE and not payment.HasField("hold"):
            raise invalid("only what is held is posted or voided")
        signer, authority = signature.key_id, order.terms.authority
        may = {
            MAKE: signer == payment.payer,
            POST: signer == authority
            or (signer == payment.payer and order.units == payment.amount.units),
            VOID: signer in (payment.payee, authority),
        }
        if not may[order.action]:
            text = "payer makes, payer posts all, authority posts, payee or authority void"
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "SIGNER_NOT_ENTITLED", text)
        return order, hashlib.sha256(message).digest()

    def check_terms(self, terms):
        payment = terms.payment
        held = payment.HasField("hold")
        keys = [payment.ledger, payment.payer, payment.payee, terms.reference]
        if any(len(it) != 32 for it in keys) or payment.payer == payment.payee:
            raise invalid("keys and reference are 32 bytes, payer and payee differ")
        if len(terms.authority) != (32 if held else 0):
            raise invalid("there is an authority exactly if there is a hold")
        if held and not (1 <= payment.hold.until <= LATEST and payment.hold.timeout in (TIMEOUT_VOID, TIMEOUT_POST)):
            raise invalid("the hold has an end and a time-out")
        if payment.ledger != self.public:
            raise refused("OTHER_LEDGER", "the payment names another key: send it there")
        for code, scale, least, most in CURRENCIES:
            if (payment.amount.currency, payment.amount.scale) == (code, scale):
                if not least <= payment.amount.units <= most:
                    raise refused("AMOUNT_OUT_OF_RANGE", f"it must be {least} to {most} units")
                return
        raise refused("CURRENCY_UNKNOWN", "GetAdapterInfo lists the currencies")

    # ---- what goes out

    def sign(self, payment):
        receipt = self.messages.PaymentReceipt(
            version=VERSION,
            terms=payment.terms,
            state=payment.state,
            posted_units=payment.posted,
            entry=payment.entry,
            time=payment.time,
            order=payment.order,
        )
        payload = receipt.SerializeToString(deterministic=True)
        envelope = self.messages.Envelope(payload_type=RECEIPT, payload=payload)
        envelope.signatures.add(key_id=self.public, signature=self.key.sign(pae(RECEIPT, payload)))
        return envelope

    def payment(self, terms):
        """The payment with these terms; one that is not known yet is absent."""
        name = hashlib.sha256(b"arbiter payment v1\0" + terms.SerializeToString(deterministic=True)).digest()
        absent = Payment(terms)
        absent.time = self.now()
        return name, self.card.payments.get(name, absent)

    # ---- the methods

    def info(self, _request):
        info = self.messages.GetAdapterInfoResponse(
            protocol_version=VERSION,
            key=self.public,
            kind="card",
            name="Sample card",
            powers=POWERS,
            longest_hold_ms=LONGEST_HOLD_MS,
            clock=self.now(),
        )
        for code, scale, least, most in CURRENCIES:
            info.currencies.add(code=code, scale=scale, least_units=least, most_units=most)
        return info

    def verify(self, request):
        request.terms.DiscardUnknownFields()
        self.check_terms(request.terms)
        with self.lock:
            self.card.settle(self.now())
            _, payment = self.payment(request.terms)
            return self.messages.VerifyPaymentResponse(receipt=self.sign(payment))

    def make(self, request):
        order, digest = self.open_order(request.order, [MAKE])
        with self.lock:
            return self.messages.MakePaymentResponse(receipt=self.carry_out(order, digest))

    def revoke(self, request):
        order, digest = self.open_order(request.order, [VOID])
        with self.lock:
            return self.messages.RevokePaymentResponse(receipt=self.carry_out(order, digest))

    def generate(self, request):
        order, digest = self.open_order(request.order, [POST])
        with self.lock:
            return self.messages.GeneratePaymentResponse(receipt=self.carry_out(order, digest))

    def carry_out(self, order, digest):
        now = self.now()
        self.card.settle(now)
        if digest in self.answers:
            return self.answers[digest]
        name, payment = self.payment(order.terms)
        if order.action == MAKE:
            self.reserve(order.terms, payment, now, digest)
        elif payment.is_final():
            # Too late, one way or the other: the final state is the answer, and stays.
            pass
        elif order.action == VOID:
            # Of a payment that was not made yet, this is what keeps it from ever being made.
            self.card.change(payment, VOIDED, 0, now, digest)
        elif payment.state == ABSENT:
            raise refused("PAYMENT_ABSENT", "the payer must make it first")
        else:
            self.card.change(payment, POSTED, order.units, now, digest)
        self.card.payments[name] = payment
        answer = self.answers[digest] = self.sign(payment)
        return answer

    def reserve(self, terms, payment, now, digest):
        if payment.state == VOIDED:
            raise refused("PAYMENT_VOIDED", "make another one, with another reference")
        if not terms.payment.HasField("hold"):
            return self.card.change(payment, POSTED, terms.payment.amount.units, now, digest)
        until = terms.payment.hold.until
        if not now < until <= now + LONGEST_HOLD_MS:
            raise refused("HOLD_OUT_OF_RANGE", "the hold is over already, or too long")
        return self.card.change(payment, RESERVED, 0, now, digest)


def served(messages, adapter, token):
    """The gRPC service."""

    def handler(name, work):
        request = getattr(messages, f"{name}Request")
        response = getattr(messages, f"{name}Response")

        def call(asked, context):
            shown = dict(context.invocation_metadata()).get("authorization", "")
            if token and not hmac.compare_digest(shown.encode(), b"Bearer " + token):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REQUIRED: show the token that was agreed")
            try:
                return work(asked)
            except Refused as error:
                context.abort(error.code, str(error))

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )

    work = {
        "GetAdapterInfo": adapter.info,
        "VerifyPayment": adapter.verify,
        "RevokePayment": adapter.revoke,
        "GeneratePayment": adapter.generate,
        "MakePayment": adapter.make,
    }
    methods = {name: handler(name, method) for name, method in work.items()}
    return grpc.method_handlers_generic_handler("arbiter.adapter.v1.AdapterService", methods)


def main():
    parser = argparse.ArgumentParser(description="A sample adapter with an invented card rail.")
    parser.add_argument("--descriptors", required=True, help="descriptors of the .proto files")
    parser.add_argument("--seed", required=True, help="file with the 32-byte seed of the key, in hexadecimal")
    parser.add_argument("--listen", default="127.0.0.1:0", help="address and port")
    parser.add_argument("--token", help="file with the bearer token that callers must show")
    given = parser.parse_args()
    with open(given.seed, encoding="ascii") as file:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read().strip()))
    token = b""
    if given.token:
        with open(given.token, "rb") as file:
            token = file.read().strip()
    messages = Messages(given.descriptors)
    adapter = Adapter(messages, key)
    options = [("grpc.max_receive_message_length", MOST_BYTES)]
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=8)
    server = grpc.server(pool, options=options, maximum_concurrent_rpcs=64)
    server.add_generic_rpc_handlers((served(messages, adapter, token),))
    port = server.add_insecure_port(given.listen)
    server.start()
    host = given.listen.rsplit(":", 1)[0]
    print(f"adapter ready address={host}:{port} key={adapter.public.hex()}", flush=True)
    # Ends with whoever started it.
    sys.stdin.read()
    server.stop(1).wait()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A second, independent reader of verifiable escrows (SPEC.md section 11), for tests only.

It shares nothing with the Rust code: curve, Ristretto, RSA and padding are plain integers here, and only the
hash functions come from a library. It is not constant-time: never give it a secret that matters.

    escrow_verifier.py tests/vectors/escrow/escrow.json
"""
import hashlib
import json
import sys

# --- hash ---------------------------------------------------------------------------------------------------------

ALGORITHMS = {"sha256": (hashlib.sha256, 1, 32), "sha384": (hashlib.sha384, 2, 48), "sha512": (hashlib.sha512, 3, 64)}


def digest(name, data):
    return ALGORITHMS[name][0](data).digest()


def H(tag, *parts):
    domain = b"arbiter-escrow-v1/" + tag.encode()
    data = bytes([len(domain)]) + domain
    for part in parts:
        data += len(part).to_bytes(8, "big") + part
    return digest("sha512", data)


def u32(value):
    return value.to_bytes(4, "big")


class Refused(Exception):
    pass


def require(condition, reason):
    if not condition:
        raise Refused(reason)


# --- edwards25519 -------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
ZERO = (0, 1, 1, 0)


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e = (y1 - x1) * (y2 - x2) % P
    f = (y1 + x1) * (y2 + x2) % P
    g = 2 * D * t1 * t2 % P
    h = 2 * z1 * z2 % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def neg(a):
    return -a[0] % P, a[1], a[2], -a[3] % P


def mul(k, a):
    out = ZERO
    while k:
        if k & 1:
            out = add(out, a)
        a = add(a, a)
        k >>= 1
    return out


class Table:
    """Multiples of one point: 16^i * j."""

    def __init__(self, point):
        self.rows = []
        for _ in range(64):
            row = [ZERO]
            for _ in range(15):
                row.append(add(row[-1], point))
            self.rows.append(row)
            point = add(row[-1], point)

    def mul(self, k):
        out = ZERO
        for row in self.rows:
            out = add(out, row[k & 15])
            k >>= 4
        return out


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def ed_encode(a):
    z = pow(a[2], -1, P)
    x, y = a[0] * z % P, a[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed_decode(data):
    """The point, or None; only the canonical encoding."""
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_M1 % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign:
        # The neutral element and the point of order 2 with a sign: small order in a second form.
        return (0, y, 1, 0)
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def prime_order(data, what):
    point = ed_decode(data)
    require(point is not None, what + "(Encoding)")
    if same(mul(8, point), ZERO):
        raise Refused(what + "(SmallOrder)")
    require(same(mul(L, point), ZERO), what + "(Torsion)")
    return point


BASE = (0, 0, 1, 0)
_y = 4 * pow(5, -1, P) % P
BASE = ed_decode(_y.to_bytes(32, "little"))
BASE_TABLE = Table(BASE)

# --- ristretto255 (RFC 9496) ----------------------------------------------------------------------------------------


def sqrt_ratio(u, v):
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    u %= P
    was_square = check in (u, -u % P)
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return was_square, (P - r) % P if r & 1 else r


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]


def odd(x):
    return x % P & 1


def ris_encode(a):
    x, y, z, t = a
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    inverse = sqrt_ratio(1, u1 * u2 * u2)[1]
    d1, d2 = inverse * u1 % P, inverse * u2 % P
    z_inverse = d1 * d2 * t % P
    if odd(t * z_inverse):
        x, y, d = y * SQRT_M1, x * SQRT_M1, d1 * INVSQRT_A_MINUS_D
    else:
        d = d2
    if odd(x * z_inverse):
        y = -y
    s = d * (z - y) % P
    return (P - s if s & 1 else s).to_bytes(32, "little")


def ris_decode(data):
    s = int.from_bytes(data, "little")
    if s >= P or s & 1:
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-(D * u1 * u1) - u2 * u2) % P
    good, inverse = sqrt_ratio(1, v * u2 * u2)
    dx = inverse * u2 % P
    dy = inverse * dx * v % P
    x = 2 * s * dx % P
    x = P - x if x & 1 else x
    y = u1 * dy % P
    t = x * y % P
    if not good or t & 1 or y == 0:
        return None
    return x, y, 1, t


def element(data):
    """An element that is not the identity, or None."""
    return None if data == bytes(32) else ris_decode(data)


# --- suites, label, subset, tree ------------------------------------------------------------------------------------

SUITES = {1: (132, 64), 2: (247, 30), 3: (711, 20)}
SIDES = {"originator": 1, "responder": 2}


def encode_label(it):
    total, hidden = SUITES[it["suite"]]
    out = bytes([1, it["suite"]]) + total.to_bytes(2, "big") + hidden.to_bytes(2, "big")
    out += bytes.fromhex(it["arbiter"]) + it["epoch"].to_bytes(8, "big") + bytes.fromhex(it["exchange"])
    out += bytes([it["protocol"], SIDES[it["first"]], SIDES[it["signer"]]])
    for field in ("originator", "responder", "agreement", "item", "counter_item"):
        out += bytes.fromhex(it[field])
    out += it["expires"].to_bytes(8, "big") + it["complain_by"].to_bytes(8, "big")
    assert len(out) == 257, len(out)
    return out


def hidden_set(challenge, suite):
    total, count = SUITES[suite]
    limit = 65535 - 65535 % total
    found, block = set(), 0
    while True:
        data = H("subset", challenge, u32(block))
        for i in range(0, 64, 2):
            value = int.from_bytes(data[i : i + 2], "big")
            if value < limit:
                found.add(value % total)
            if len(found) == count:
                return sorted(found)
        block += 1


def cover(hidden, total):
    marked = set()
    for index in hidden:
        node = total + index
        while node:
            marked.add(node)
            node //= 2
    return sorted({child for node in marked if node < total for child in (2 * node, 2 * node + 1)} - marked)


def regrow(session, nodes, total):
    leaves = {}
    while nodes:
        node, seed = nodes.pop()
        if node >= total:
            leaves[node - total] = seed
        else:
            both = H("node", session, u32(node), seed)
            nodes += [(2 * node, both[:16]), (2 * node + 1, both[16:32])]
    return leaves


# --- statements -----------------------------------------------------------------------------------------------------


class Ed25519:
    kind = 1

    def __init__(self, it):
        self.key = bytes.fromhex(it["key"])
        self.message = bytes.fromhex(it["message"])
        self.point = prime_order(self.key, "Key")

    def public(self, public):
        self.nonce = public
        nonce = prime_order(public, "Nonce")
        c = int.from_bytes(digest("sha512", public + self.key + self.message), "little") % L
        self.target = add(nonce, mul(c, self.point))
        require(not same(self.target, ZERO), "Trivial")
        self.minus_target = neg(self.target)
        self.encoded = bytes([1]) + self.key + public + digest("sha512", self.message)
        self.y = ed_encode(self.target)

    def mask(self, session, index, seed):
        return int.from_bytes(H("mask", session, u32(index), seed), "little") % L

    def image(self, mask):
        return ed_encode(BASE_TABLE.mul(mask))

    def responses(self, all):
        for position, data in enumerate(all):
            require(int.from_bytes(data, "little") < L, "Response")
        return [int.from_bytes(data, "little") for data in all]

    def hidden_image(self, z):
        return ed_encode(add(BASE_TABLE.mul(z), self.minus_target))

    def finish(self, z, mask):
        s = (z - mask) % L
        return self.nonce + s.to_bytes(32, "little") if same(BASE_TABLE.mul(s), self.target) else None


def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


class Rsa:
    kind = 2

    def __init__(self, it):
        modulus, exponent = bytes.fromhex(it["modulus"]), bytes.fromhex(it["exponent"])
        self.n = int.from_bytes(modulus, "big")
        self.bits = self.n.bit_length()
        self.width = len(modulus)
        require(2048 <= self.bits <= 8192 and modulus[0] != 0, "ModulusSize")
        require(len(exponent) <= 4, "ExponentSize")
        self.e = int.from_bytes(exponent, "big")
        require(self.e >= 3 and self.e % 2 == 1 and exponent[0] != 0, "Exponent")
        require(self.n % 2 == 1, "ModulusEven")
        self.hash, self.padding = it["hash"], it["padding"]
        self.digest = digest(self.hash, bytes.fromhex(it["message"]))
        self.modulus = modulus

    def public(self, public):
        width, salt = public
        require(width == self.width, "ModulusWidth")
        _, number, size = ALGORITHMS[self.hash]
        if self.padding == "pkcs1":
            require(not salt, "SaltSize")
            info = bytes.fromhex("30%02x300d060960864801650304020%d050004%02x" % (size + 17, number, size))
            tail = info + self.digest
            em = b"\x00\x01" + b"\xff" * (width - 3 - len(tail)) + b"\x00" + tail
        else:
            length = (self.bits - 1 + 7) // 8
            zeros = length - size - len(salt) - 2
            require(zeros >= 0, "SaltSize")
            h = digest(self.hash, bytes(8) + self.digest + salt)
            data = bytes(zeros) + b"\x01" + salt
            pad = b"".join(digest(self.hash, h + u32(i)) for i in range(len(data) // size + 1))
            data = bytes(a ^ b for a, b in zip(data, pad))
            data = bytes([data[0] & 0xFF >> (8 * length - (self.bits - 1))]) + data[1:]
            em = bytes(width - length) + data + h + b"\xbc"
        self.y = em
        self.target = int.from_bytes(em, "big")
        require(self.target < self.n and gcd(self.target, self.n) == 1, "EncodedMessage")
        self.inverse = pow(self.target, -1, self.n)
        head = bytes([2 if self.padding == "pkcs1" else 3, number]) + width.to_bytes(2, "big")
        self.encoded = head + self.modulus + u32(self.e) + self.digest + salt

    def mask(self, session, index, seed):
        data, block = b"", 0
        while len(data) < self.width + 16:
            data += H("mask", session, u32(index), seed, u32(block))
            block += 1
        return int.from_bytes(data[: self.width + 16], "big") % self.n

    def out(self, value):
        return value.to_bytes(self.width, "big")

    def image(self, mask):
        return self.out(pow(mask, self.e, self.n))

    def responses(self, all):
        values = [int.from_bytes(data, "big") for data in all]
        require(all and min(values) > 0 and max(values) < self.n, "Response")
        require(max(gcd(value, self.n) for value in values) == 1, "ResponseFactor")
        return values

    def hidden_image(self, z):
        return self.out(pow(z, self.e, self.n) * self.inverse % self.n)

    def finish(self, z, mask):
        sigma = z * pow(mask, -1, self.n) % self.n
        return self.out(sigma) if pow(sigma, self.e, self.n) == self.target else None


# --- the escrow -----------------------------------------------------------------------------------------------------


class Escrow:
    def __init__(self, data):
        require(len(data) <= 72 * 1024, "TooLarge")
        self.data, self.at = data, 0
        require(self.take(1) == b"\x01", "Version")
        self.kind, self.suite = self.take(2)
        require(self.kind in (1, 2), "UnknownKind")
        require(self.suite in SUITES, "UnknownSuite")
        self.total, count = SUITES[self.suite]
        if self.kind == 1:
            self.public, width = self.take(32), 32
        else:
            width, salt = (int.from_bytes(self.take(2), "big") for _ in range(2))
            require(256 <= width <= 1024, "ModulusSize")
            require(salt < width, "SaltSize")
            self.public = (width, self.take(salt))
        self.context, self.salt, self.challenge = (self.take(32) for _ in range(3))
        self.hidden = hidden_set(self.challenge, self.suite)
        self.numbers = cover(self.hidden, self.total)
        extra = len(data) - self.at - 16 * len(self.numbers) - count * (width + 48)
        require(extra >= 0, "Truncated")
        require(extra == 0, "Trailing" if extra % 16 else "ExtraNodes")
        self.nodes = [self.take(16) for _ in self.numbers]
        self.instances = [(self.take(width), self.take(32), self.take(16)) for _ in self.hidden]

    def take(self, length):
        require(self.at + length <= len(self.data), "Truncated")
        self.at += length
        return self.data[self.at - length : self.at]


TABLES = {}


def check(vector):
    """Accepts, or raises Refused. Returns what open needs."""
    key = vector["key"]
    point = element(bytes.fromhex(key["bytes"]))
    require(point is not None, "ArbiterKey")
    label = vector["label"]
    require(label["suite"] in SUITES, "UnknownSuite")
    escrow = Escrow(bytes.fromhex(vector["escrow"]))
    statement = {"ed25519": Ed25519, "rsa": Rsa}[vector["statement"]["kind"]](vector["statement"])
    require(escrow.suite == label["suite"], "WrongSuite")
    require(label["arbiter"] == key["arbiter"], "WrongArbiter")
    require(label["epoch"] == key["epoch"], "WrongEpoch")
    require(escrow.kind == statement.kind, "WrongKind")
    statement.public(escrow.public)
    context = H("context", encode_label(label), statement.encoded, statement.y, bytes.fromhex(key["bytes"]))[:32]
    require(context == escrow.context, "Context")
    session = H("session", context, escrow.salt)[:32]
    responses = statement.responses([z for z, _, _ in escrow.instances])
    for _, at, _ in escrow.instances:
        require(element(at) is not None, "Ciphertext")
    if key["bytes"] not in TABLES:
        TABLES[key["bytes"]] = Table(point)
    digests = {}
    for index, seed in regrow(session, list(zip(escrow.numbers, escrow.nodes)), escrow.total).items():
        coins = int.from_bytes(H("coins", session, u32(index), seed), "little") % L
        at = ris_encode(BASE_TABLE.mul(coins))
        pad = H("pad", session, u32(index), at, ris_encode(TABLES[key["bytes"]].mul(coins)))
        sealed = bytes(a ^ b for a, b in zip(pad, seed))
        image = statement.image(statement.mask(session, index, seed))
        digests[index] = H("instance", session, u32(index), image, at, sealed)
    for index, z, (_, at, sealed) in zip(escrow.hidden, responses, escrow.instances):
        digests[index] = H("instance", session, u32(index), statement.hidden_image(z), at, sealed)
    found = H("challenge", session, *(digests[index] for index in range(escrow.total)))[:32]
    require(found == escrow.challenge, "Challenge")
    return escrow, statement, session, responses


def open_all(secret, escrow, statement, session, responses):
    """What every hidden instance gives: for a true escrow always the same signature."""
    for index, z, (_, at, sealed) in zip(escrow.hidden, responses, escrow.instances):
        pad = H("pad", session, u32(index), at, ris_encode(mul(secret, ris_decode(at))))
        seed = bytes(a ^ b for a, b in zip(pad, sealed))
        coins = int.from_bytes(H("coins", session, u32(index), seed), "little") % L
        assert ris_encode(BASE_TABLE.mul(coins)) == at, "the coins are not those of the seed"
        yield statement.finish(z, statement.mask(session, index, seed))


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    secret = int.from_bytes(bytes.fromhex(vectors["secret"]), "little")
    by_name = {it["name"]: it for it in vectors["vectors"]}
    wrong = 0
    for vector in vectors["vectors"]:
        full = {**by_name[vector["like"]], **vector} if "like" in vector else dict(vector)
        if "splice" in vector:
            data, it = bytes.fromhex(full["escrow"]), vector["splice"]
            data = data[: it["at"]] + bytes.fromhex(it["insert"]) + data[it["at"] + it["remove"] :]
            full["escrow"] = data.hex()
        try:
            found = set(open_all(secret, *check(full)))
            verdict = "accepted" if found == {bytes.fromhex(full["opens_to"])} else "opens to something else"
        except Refused as reason:
            verdict = str(reason)
        expected = "accepted" if vector["valid"] else vector["error"]
        if verdict != expected:
            wrong += 1
            print(f"{vector['name']}: {verdict}, expected {expected}")
    print(f"{len(vectors['vectors'])} vectors, {wrong} wrong")
    if wrong:
        sys.exit(1)
    print("all vectors agree")


if __name__ == "__main__":
    main(sys.argv[1])

"""A second opinion about tlog-proofs: the PyPI package proofbundle, which shares no code with this repository.

Reads a JSON object on each line (proof, leaf in hexadecimal, log and witness as verifier keys) and answers
`holds` or `refused` for each.
"""

import json
import sys

from proofbundle.tlogproof import verify_tlog_proof

for line in sys.stdin:
    case = json.loads(line)
    verdict = verify_tlog_proof(
        case["proof"], bytes.fromhex(case["leaf"]), case["log"], [case["witness"]], threshold=1
    )
    print("holds" if verdict["ok"] else "refused")

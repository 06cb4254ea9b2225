//! `verenc`: Camenisch-Shoup over a Paillier modulus of 3072 bits, that is 128 bits of security.

use serde_json::Value;
use verenc::Group;
use verenc::unknown_order::BigNumber;

use super::{Figures, Scheme, timed};

/// Two safe primes, made once with `openssl prime -generate -safe -bits 1536 -hex`. They protect nothing.
const PRIMES: [&str; 2] = [
    concat!(
        "D93E9BA24F6EEC915A0C888E8FC4DA5E232FCA96FDDF3D82F9F19C684EA80B155E3E1D163DD08E2E41CC43EE5ED35BCC",
        "F935C7EA64388033C1ADF09264C92AC7CC7AA58A65979C537B6692003FAEDE6F943A49FF26BEAC28F2CED80594402AEE",
        "B54665562E1A050646549B94A3C20CFBE8F0CE381FB8B83ED07B924FB8C9D6C42EA556F76DA94F6A68B4E915BAEF72CF",
        "5243BDE28903E303AECB4601FEDDED774AF44869391128E047A69D5AC933CA71EBDEB44E5B90BFBFD008B8398B221C07",
    ),
    concat!(
        "C244D515ECE70AF5BB853C760C53A6CC72DD7584A24FAEDAA2E85A726DBD9E5ED8FC3CD60F2C0F73B9D39CFA1E8646F0",
        "476BF8813204C4766C5AE70A6875081054E255BD5BC18075BE94A977CCBC2DF9A4E27BF97771AE55A2CF50E1E2EAB32A",
        "3F06748FABDB25300D23146B505D42BD5C9B24B087BF5CB5D37FD129F6EC61C49DFF49563F9EEF258019C22D99624692",
        "882CEEEC915800B451AFD118B5D33954EEA2E5B45FD0F8A7501289F39CCC60A8A4428232BAABB69696E64C7453EB0C2F",
    ),
];

pub fn all() -> Vec<Scheme> {
    let [p, q] = PRIMES.map(|it| BigNumber::from_slice(hex::decode(it).expect("hexadecimal digits")));
    let group = Group::with_safe_primes_unchecked(&p, &q).expect("a group");
    let (key, secret) = group.new_keys(1).expect("keys");
    // A scalar of 252 bits, as in the other schemes.
    let witness = BigNumber::from_slice([0x0b; 32]);
    let run = move || {
        let ((ciphertext, proof), prove) =
            timed(|| key.encrypt_and_prove(b"label", std::slice::from_ref(&witness)).expect("a proof"));
        let ((), verify) = timed(|| key.verify(b"label", &ciphertext, &proof).expect("a true proof"));
        let (opened, open) = timed(|| secret.decrypt(b"label", &ciphertext).expect("a witness"));
        assert_eq!(opened, std::slice::from_ref(&witness));
        let to_open = bytes(&serde_json::to_value(&ciphertext).expect("a value"));
        let proof = to_open + bytes(&serde_json::to_value(&proof).expect("a value"));
        Figures { prove, verify, open, proof, to_open }
    };
    vec![Scheme { name: "verenc", group: "Paillier 3072", parameters: "no Y".into(), run: Box::new(run) }]
}

/// The bytes of all numbers, which are written in hexadecimal digits.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(digits) => digits.trim_start_matches('-').len().div_ceil(2),
        Value::Array(all) => all.iter().map(bytes).sum(),
        Value::Object(all) => all.values().map(bytes).sum(),
        _ => 0,
    }
}

//! Detached signatures: taken out of escrow by a verdict, sealed to the signer's peer, and to nobody else.

use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::EscrowTerms;

use super::*;

const PRECONDITION: Code = Code::FailedPrecondition;

/// `role` fetches its peer's signature, and it is byte for byte the one that the peer made (F12).
async fn fetched_is_the_original(world: &World, agreement: &Agreement, role: Role) {
    let case = world.case(agreement, role, Fetch);
    let fetched = fetch(&mut world.parties().await, case).await.unwrap();
    assert_eq!(fetched.1.len(), 1, "one chunk");
    let got = unseal(agreement, role.peer(), world.peer(role), fetched);
    assert!(got == world.detached_signature(agreement, role.peer()), "another signature than the peer made");
    let item = agreement.offer().item(role.peer()).description.detached().unwrap();
    assert!(item.key.verify(item.statement.document().as_bytes(), &got));
}

/// Signatures opened, and escrows found to be false, by the arbiter's own count.
async fn counted(world: &World) -> (u64, u64) {
    let mut parties = world.parties().await;
    let counters = parties.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner().counters;
    let count = |name: &str| counters.iter().find(|it| it.name == name).unwrap().value;
    let own = world.engine.counters();
    let found = (count("escrows_opened"), count("escrows_false"));
    assert_eq!(found, (own.escrows_opened, own.escrows_false));
    found
}

/// How many contents are stored.
fn contents(world: &World) -> usize {
    use arbiter::store::raw::Tamper as _;
    use arbiter::store::schema::Family;
    let heads = world.store.inner.entries(Family::Contents).len();
    assert_eq!(world.store.inner.entries(Family::Chunks).len(), heads, "every signature is one chunk");
    heads
}

async fn left(world: &World, expected: usize) {
    until("only what records name is left", || contents(world) == expected).await;
}

/// either party resolves with both escrows; each gets the other's signature, sealed to it.
#[tokio::test(flavor = "multi_thread")]
async fn either_party_resolves_and_both_fetch_the_very_signatures() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    for (number, role) in [(1, Originator), (2, Responder)] {
        let agreement = world.signing();
        for role in [Originator, Responder] {
            let early = fetch(&mut parties, world.case(&agreement, role, Fetch)).await;
            assert_reason(early, PRECONDITION, "DEPOSIT_NOT_RELEASED");
        }
        let case = world.case(&agreement, role, Resolve);
        let receipt = resolve(&mut parties, case.clone()).await.unwrap();
        let proven = prove(receipt.clone(), &agreement, &case);
        let verdict = proven.ruled.verdict().unwrap();
        assert_eq!(verdict.rule, "R-404");
        let filed = world.escrows(&agreement, role);
        for escrow in [filed.originator.unwrap(), filed.responder.unwrap()] {
            assert!(verdict.evidence.contains(&Digest::of(&[&escrow.to_bytes()])), "the evidence names it");
        }
        // The peer asks for the same with its own request, and needs no escrow for it: there is a verdict.
        let mut bare = world.case_with(&agreement, role.peer(), Resolve, &Escrows::default());
        let again = resolve(&mut parties, bare.clone()).await.unwrap();
        assert_eq!(again.statement, receipt.statement);
        prove(again, &agreement, &bare);
        bare.originator_escrow = vec![1];
        assert_reason(resolve(&mut parties, bare).await, Code::InvalidArgument, "ESCROW_SIZE_INVALID");
        assert_eq!(resolve(&mut parties, case).await.unwrap(), receipt);
        for role in [Originator, Responder] {
            fetched_is_the_original(&world, &agreement, role).await;
        }
        let stranger = world.case(&agreement, Originator, Fetch);
        let foreign = proto::Case { offer: Some(world.signing().offer().envelope().to_wire()), ..stranger };
        assert_reason(fetch(&mut parties, foreign).await, PRECONDITION, "OTHER_EXCHANGE");
        assert_eq!(counted(&world).await, (2 * number, 0), "replays open nothing");
        assert_eq!(u64::try_from(contents(&world)), Ok(2 * number));
    }
}

/// one signature comes out of escrow, the other item is in the verdict itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_escrow_and_a_replacement_in_one_contract() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    for (signer, asker) in
        [(Originator, Originator), (Originator, Responder), (Responder, Originator), (Responder, Responder)]
    {
        let agreement = world.mixed(signer);
        let case = world.case(&agreement, asker, Resolve);
        let proven = prove(resolve(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
        let Ruling::Replaced(list) = &proven.ruled.verdict().unwrap().ruling else { panic!("aborted") };
        assert_eq!(list.len(), 2);
        fetched_is_the_original(&world, &agreement, signer.peer()).await;
        // The signer gets its peer's item from the verdict; there is nothing to fetch.
        let nothing = fetch(&mut parties, world.case(&agreement, signer, Fetch)).await;
        assert_reason(nothing, PRECONDITION, "DEPOSIT_NOT_RELEASED");
    }
    assert_eq!((counted(&world).await, contents(&world)), ((4, 0), 4));
}

/// R-411 for an RSA key that OpenSSL made and signed with.
#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_signature_comes_out_as_openssl_made_it() {
    let Some(rsa) = Rsa::new(2048) else { return };
    let world = World::new().await;
    let mut parties = world.parties().await;
    let subject = describe(b"%PDF-1.7 contract", "application/pdf");
    let ours = detached(rsa.key.clone(), "We sell.", &subject);
    let theirs = world.bob.detached("We buy.", &subject);
    let agreement = world.agree(world.draft(ours, theirs, None));
    let document = agreement.offer().originator_item.description.detached().unwrap().statement.document();
    let signature = rsa.sign(&document);
    let escrows = Escrows {
        originator: Some(put(&agreement, Originator, &signature).into()),
        responder: Some(world.escrow(&agreement, Responder).into()),
    };
    let case = world.case_with(&agreement, Responder, Resolve, &escrows);
    prove(resolve(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    let fetched = fetch(&mut parties, world.case(&agreement, Responder, Fetch)).await.unwrap();
    assert!(unseal(&agreement, Originator, &world.bob, fetched) == signature);
    fetched_is_the_original(&world, &agreement, Originator).await;

    // S40: the full check of a false RSA escrow is the longest work there is; it ends, and it is the filer's fault.
    let agreement = world.agree(world.draft(
        detached(rsa.key.clone(), "We sell again.", &subject),
        signature_item(&subject),
        None,
    ));
    let document = agreement.offer().originator_item.description.detached().unwrap().statement.document();
    let good = put(&agreement, Originator, &rsa.sign(&document));
    let bad = Escrows { originator: Some(falsified(&good, 256).into()), responder: None };
    let case = world.case_with(&agreement, Responder, Resolve, &bad);
    assert_reason(resolve(&mut parties, case).await, PRECONDITION, "ESCROW_UNOPENABLE");
}

fn signature_item(
    subject: &arbiter_protocol::exchange::item::Information,
) -> arbiter_protocol::exchange::item::Item {
    signature("We buy again.", subject)
}

/// the first sender deposits, complains, and gets the receipt that the second put into escrow.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_brings_the_receipt_out_of_escrow_and_the_file_to_the_other() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(limits::CHUNK_BYTES + 5);
    let file = describe(&bytes, "application/octet-stream");
    let agreement = world.delivery_for_signature(&file, deadline());
    let case = world.case(&agreement, Originator, Resolve);
    assert_reason(resolve(&mut parties, case.clone()).await, PRECONDITION, "DEPOSIT_REQUIRED");
    assert_eq!(counted(&world).await, (0, 0), "nothing is opened for a case that is refused");
    let messages = upload(world.case(&agreement, Originator, Deposit), &bytes, 50_000);
    deposit(&mut parties, messages).await.unwrap();
    let proven = prove(resolve(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    assert_eq!(proven.ruled.verdict().unwrap().rule, "R-406");
    fetched_is_the_original(&world, &agreement, Originator).await;
    let fetched = fetch(&mut parties, world.case(&agreement, Responder, Fetch)).await.unwrap();
    assert!(
        unseal(&agreement, Originator, &world.bob, fetched) == bytes,
        "and the file is still for the other"
    );
    // The second sender cannot resolve, whatever it files.
    let late = world.case_with(&agreement, Responder, Resolve, &Escrows::default());
    assert_eq!(resolve(&mut parties, late).await.unwrap().statement, {
        let query_case = world.case(&agreement, Responder, Query);
        query(&mut parties, query_case).await.unwrap().statement
    });
    let other = world.delivery_for_signature(&file, deadline());
    let case = world.case_with(&other, Responder, Resolve, &Escrows::default());
    assert_reason(resolve(&mut parties, case).await, PRECONDITION, "RESOLVE_NOT_ALLOWED");
}

/// an escrow is filed for each signature that is to be opened, and for nothing else (K8, S26, S27).
#[tokio::test(flavor = "multi_thread")]
async fn missing_foreign_and_superfluous_escrows_are_refused_by_name() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.signing();
    let good = world.escrows(&agreement, Originator);
    let file = |escrows: &Escrows| world.case_with(&agreement, Originator, Resolve, escrows);
    for (missing, name) in [(Originator, "originator"), (Responder, "responder")] {
        let mut escrows = good.clone();
        *escrows.of_mut(missing) = None;
        let status =
            assert_reason(resolve(&mut parties, file(&escrows)).await, PRECONDITION, "ESCROW_REQUIRED");
        assert_eq!(metadata(&status, "signer").unwrap(), name);
    }
    // Of another agreement with the same items; of the other role; and each in the other's place.
    let (other, invalid) = (world.signing(), Code::InvalidArgument);
    for role in [Originator, Responder] {
        for foreign in [world.escrow(&other, role), world.escrow(&agreement, role.peer())] {
            let mut escrows = good.clone();
            *escrows.of_mut(role) = Some(foreign.into());
            let status = assert_reason(
                resolve(&mut parties, file(&escrows)).await,
                invalid,
                "ESCROW_OF_SOMETHING_ELSE",
            );
            assert_eq!(metadata(&status, "signer").unwrap(), role.name());
        }
    }
    // The responder's escrow is bound to the acceptance: another acceptance of the same offer is another agreement.
    let acceptance = arbiter_protocol::message::agreement::Acceptance {
        exchange_id: agreement.exchange_id(),
        nonce: world.nonce(),
    };
    let acceptance = Verified::sign(acceptance, &world.bob.signer);
    let second = Agreement::join(agreement.offer().clone(), acceptance).unwrap();
    let case = world.case_with(&second, Originator, Resolve, &good);
    assert_reason(resolve(&mut parties, case).await, invalid, "ESCROW_OF_SOMETHING_ELSE");
    // Where nothing is opened nothing is filed.
    for action in [Abort, Query, Fetch] {
        let case = world.case_with(&agreement, Originator, action, &good);
        let result = match action {
            Abort => abort(&mut parties, case).await.map(drop),
            Query => query(&mut parties, case).await.map(drop),
            _ => fetch(&mut parties, case).await.map(drop),
        };
        assert_reason(result, PRECONDITION, "ESCROW_NOT_AGREED");
    }
    let contract = world.contract();
    let case = world.case_with(&contract, Originator, Resolve, &good);
    assert_reason(resolve(&mut parties, case).await, PRECONDITION, "ESCROW_NOT_AGREED");
    assert_eq!((counted(&world).await, contents(&world), world.engine.log_size()), ((0, 0), 0, 1));
    resolve(&mut parties, file(&good)).await.unwrap();
}

/// S23, S27, S28: a flipped bit anywhere in an escrow is refused, or does not matter, because another instance opens. Never
/// is there another signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_region_opens_the_same_or_nothing() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    // Lengths differ with the number of nodes: what follows them is counted from the end. One hidden instance has 80
    // bytes, and there are 64.
    const HIDDEN: i64 = -64 * 80;
    let regions = [
        ("version", 0, true),
        ("kind", 1, true),
        ("suite", 2, true),
        ("nonce point", 5, true),
        ("context", 36, true),
        ("salt", 70, true),
        ("challenge", 100, true),
        ("first node", 131, false),
        ("last node", HIDDEN - 1, false),
        ("first response", HIDDEN, false),
        ("first point", HIDDEN + 32, false),
        ("first seed", HIDDEN + 64, false),
        ("last response", -80, false),
        ("last point", -48, false),
        ("last seed", -1, false),
    ];
    let mut opened = 0;
    for (region, position, must_refuse) in regions {
        for bit in [0, 5] {
            let agreement = world.signing();
            let mut case = world.case(&agreement, Responder, Resolve);
            let length = i64::try_from(case.originator_escrow.len()).unwrap();
            let at = usize::try_from(if position < 0 { length + position } else { position }).unwrap();
            case.originator_escrow[at] ^= 1 << bit;
            match resolve(&mut parties, case).await {
                Ok(_) => {
                    assert!(!must_refuse, "{region} bit {bit}");
                    fetched_is_the_original(&world, &agreement, Responder).await;
                    opened += 1;
                }
                Err(status) => {
                    let (code, reason) = reason(&status);
                    assert!(must_refuse, "{region} bit {bit}: {status:?}");
                    assert!([Code::InvalidArgument, PRECONDITION].contains(&code), "{region}: {status:?}");
                    assert!(reason.starts_with("ESCROW_"), "{region}: {reason}");
                }
            }
        }
    }
    assert_eq!(opened, 16);
    let left_over = counted(&world).await;
    assert_eq!(left_over.0 % 2, 0, "{left_over:?}");
    left(&world, 2 * opened).await;
}

/// R-411, S21, S40: a false escrow is refused with the filer's fault, changes nothing, and is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_escrow_is_the_fault_of_who_filed_it() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.signing();
    let good = world.escrows(&agreement, Originator);
    for (number, role) in [(1, Originator), (2, Responder)] {
        let bad = Pledge::from(falsified(good.of(role).as_ref().and_then(Pledge::escrow).unwrap(), 32));
        let place = Place::of(agreement.offer(), role, agreement.id());
        place.belongs(&bad).expect("only the proof is false");
        assert!(place.check(bad.clone()).is_err());
        let mut escrows = good.clone();
        *escrows.of_mut(role) = Some(bad);
        let case = world.case_with(&agreement, Originator, Resolve, &escrows);
        let status = assert_reason(resolve(&mut parties, case).await, PRECONDITION, "ESCROW_UNOPENABLE");
        assert_eq!(metadata(&status, "signer").unwrap(), role.name());
        assert_eq!(counted(&world).await.1, number);
    }
    left(&world, 0).await;
    assert_eq!(world.engine.log_size(), 1, "no verdict");
    // Many at once, by strangers to each other, do not keep the honest from theirs.
    let flood: Vec<_> = (0..12)
        .map(|_| {
            let agreement = world.signing();
            let escrow = |role| Some(falsified(&world.escrow(&agreement, role), 32).into());
            let escrows = Escrows { originator: escrow(Originator), responder: escrow(Responder) };
            world.case_with(&agreement, Responder, Resolve, &escrows)
        })
        .collect();
    let flood: Vec<_> = flood
        .into_iter()
        .map(|case| {
            let mut parties = parties.clone();
            tokio::spawn(async move { resolve(&mut parties, case).await })
        })
        .collect();
    let case = world.case_with(&agreement, Originator, Resolve, &good);
    resolve(&mut parties, case).await.unwrap();
    for task in flood {
        assert_reason(task.await.unwrap(), PRECONDITION, "ESCROW_UNOPENABLE");
    }
    assert_eq!(counted(&world).await.1, 14);
    left(&world, 2).await;
    for role in [Originator, Responder] {
        fetched_is_the_original(&world, &agreement, role).await;
    }
}

/// S7, S8: after an abort nothing is opened, whatever is filed; the verdict stays.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_nothing_is_opened() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.signing();
    let aborted = abort(&mut parties, world.case_without_acceptance(&agreement, Abort)).await.unwrap();
    for role in [Originator, Responder] {
        let heard = resolve(&mut parties, world.case(&agreement, role, Resolve)).await.unwrap();
        assert_eq!(heard.statement, aborted.statement);
        let nothing = fetch(&mut parties, world.case(&agreement, role, Fetch)).await;
        assert_reason(nothing, PRECONDITION, "DEPOSIT_NOT_RELEASED");
    }
    assert_eq!((counted(&world).await, contents(&world)), ((0, 0), 0));
}

/// S5, S6: aborts and resolves of both parties at one time: one verdict, and exactly what it names is held.
#[tokio::test(flavor = "multi_thread")]
async fn races_have_one_verdict_and_leave_only_what_it_names() {
    let world = World::new().await;
    let (mut resolved, mut both) = (0, [0, 0]);
    for round in 0..12 {
        let agreement = world.signing();
        let cases: Vec<_> = [Originator, Responder, Originator, Responder]
            .map(|role| world.case(&agreement, role, Resolve))
            .into_iter()
            .collect();
        let abort_case = world.case_without_acceptance(&agreement, Abort);
        let parties = world.parties().await;
        let mut tasks = Vec::new();
        for case in cases {
            let mut parties = parties.clone();
            tasks.push(tokio::spawn(async move { resolve(&mut parties, case).await.unwrap() }));
        }
        // Sometimes early, sometimes late, sometimes never.
        if round % 3 != 2 {
            let mut parties = parties.clone();
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(300 * round)).await;
                abort(&mut parties, abort_case).await.unwrap()
            }));
        }
        let mut statements = Vec::new();
        for task in tasks {
            statements.push(task.await.unwrap().statement);
        }
        assert!(statements.iter().all(|it| *it == statements[0]));
        let case = world.case(&agreement, Responder, Query);
        let proven = prove(query(&mut parties.clone(), case.clone()).await.unwrap(), &agreement, &case);
        let replaced = matches!(proven.ruled.verdict().unwrap().ruling, Ruling::Replaced(_));
        both[usize::from(replaced)] += 1;
        resolved += usize::from(replaced);
        if replaced {
            for role in [Originator, Responder] {
                fetched_is_the_original(&world, &agreement, role).await;
            }
        }
        left(&world, 2 * resolved).await;
    }
    assert!(both[1] >= 4, "without an abort it is always resolved");
    let report = arbiter::fsck::check(&*world.store, &world.arbiter, None, &mut |_| {});
    assert!(report.fault.is_none(), "{}", report.fault.unwrap());
}

/// what was opened is there after a restart; a key is not needed for it any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_survives_restarts_and_the_loss_of_the_key() {
    let world = World::new().await;
    let agreement = world.signing();
    let case = world.case(&agreement, Originator, Resolve);
    let receipt = resolve(&mut world.parties().await, case.clone()).await.unwrap();
    let world = world.restarted(Api::default()).await;
    fetched_is_the_original(&world, &agreement, Originator).await;
    assert_eq!(resolve(&mut world.parties().await, case.clone()).await.unwrap(), receipt);
    // All escrow keys are gone: replays and what is held go on, and so do contracts that need none.
    let world = world.restarted_with(Api::default(), Vec::new()).await;
    fetched_is_the_original(&world, &agreement, Responder).await;
    let mut parties = world.parties().await;
    assert_eq!(resolve(&mut parties, case).await.unwrap(), receipt);
    let contract = world.contract();
    resolve(&mut parties, world.case(&contract, Originator, Resolve)).await.unwrap();
    assert_eq!((counted(&world).await, contents(&world)), ((0, 0), 2));
}

/// R-411, S30: without the key of the epoch nothing is opened; that is the arbiter's fault, and mended by the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_the_arbiters_fault_and_comes_back_with_its_file() {
    let world = World::new().await;
    let (agreement, aborted) = (world.signing(), world.signing());
    // The same epoch number with another seed, as after a file was lost and made again, is another key.
    let again = TestEpoch(1, 99, EPOCH.2);
    for epochs in [vec![], vec![again]] {
        let mut fresh = World::with_epochs(Api::default(), vec![EPOCH]).await;
        fresh = fresh.restarted_with(Api::default(), epochs).await;
        let mut parties = fresh.parties().await;
        let case = fresh.case(&agreement, Originator, Resolve);
        let status =
            assert_reason(resolve(&mut parties, case.clone()).await, Code::Internal, "ESCROW_KEY_UNKNOWN");
        assert!(status.message().contains("operator"), "{}", status.message());
        abort(&mut parties, fresh.case_without_acceptance(&aborted, Abort)).await.unwrap();
        assert_eq!((counted(&fresh).await, contents(&fresh), fresh.engine.log_size()), ((0, 0), 0, 2));
        fresh = fresh.restarted_with(Api::default(), vec![EPOCH]).await;
        resolve(&mut fresh.parties().await, case).await.unwrap();
        fetched_is_the_original(&fresh, &agreement, Originator).await;
    }
}

/// S41: after two rotations the first key still opens, up to its last tick and not after.
#[tokio::test(flavor = "multi_thread")]
async fn old_epochs_open_until_they_end_and_new_agreements_name_the_last() {
    let day = |days: u64| START.after(DurationMillis(days * DAY.0));
    let [one, two, three] =
        [TestEpoch(1, 41, day(100)), TestEpoch(2, 42, day(200)), TestEpoch(3, 43, day(300))];
    let world = World::with_epochs(Api::default(), vec![one]).await;
    let first = [(); 3].map(|()| world.signing());
    let world = world.restarted_with(Api::default(), vec![one, two]).await;
    let second = world.signing();
    // The third is taken while it serves.
    let keys = World::keys(&[one, two, three]);
    world.engine.replace_escrow_keys(Arc::clone(keys.escrow()));
    let mut parties = world.parties().await;
    let published = async |parties: &mut Parties| {
        let info = parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner();
        info.escrow_epochs.into_iter().map(|it| epoch(it, &world.arbiter)).collect::<Vec<_>>()
    };
    let epochs = published(&mut parties).await;
    assert_eq!(epochs.iter().map(|it| it.epoch).collect::<Vec<_>>(), [1, 2, 3], "signed, ascending");
    assert_eq!(epochs.iter().map(|it| it.until).collect::<Vec<_>>(), [one.2, two.2, three.2]);
    let terms = EscrowTerms::new(epochs[2].clone(), arbiter_protocol::escrow::Suite::FAST);
    let subject = describe(b"%PDF-1.7 contract", "application/pdf");
    let mut offer =
        world.draft(world.alice.detached("Third.", &subject), world.bob.detached("Third.", &subject), None);
    offer.escrow = Some(terms);
    let third = world.agree(offer);
    assert_eq!(
        [&first[0], &second, &third].map(|it| it.offer().escrow.as_ref().unwrap().epoch.epoch),
        [1, 2, 3]
    );

    // S41: one day, then one tick before the end of the first key, rotated twice.
    for (agreement, now) in [(&first[0], day(99)), (&first[1], UnixMillis(day(100).0 - 1))] {
        world.clock.set(now);
        resolve(&mut parties, world.case(agreement, Responder, Resolve)).await.unwrap();
        fetched_is_the_original(&world, agreement, Responder).await;
    }
    world.clock.set(day(100));
    let late = resolve(&mut parties, world.case(&first[2], Responder, Resolve)).await;
    let status = assert_reason(late, PRECONDITION, "ESCROW_KEY_RETIRED");
    assert_eq!(metadata(&status, "now").unwrap(), day(100).0.to_string());
    assert_eq!(metadata(&status, "until").unwrap(), day(100).0.to_string());
    assert_eq!(published(&mut parties).await.len(), 2, "what has ended is not published");
    // What was opened is still there, aborts go on, and the other keys open.
    fetched_is_the_original(&world, &first[0], Originator).await;
    abort(&mut parties, world.case_without_acceptance(&first[2], Abort)).await.unwrap();
    for agreement in [&second, &third] {
        resolve(&mut parties, world.case(agreement, Originator, Resolve)).await.unwrap();
        fetched_is_the_original(&world, agreement, Originator).await;
    }
    // An escrow made for another epoch of the same agreement's items is for something else.
    let other = Pledge::from(world.escrow(&second, Originator));
    assert!(Place::originator(third.offer()).belongs(&other).is_err());
}

/// F4: an arbiter without room for deposits still restores fairness. What it opens takes room from deposits.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_arbiter_still_opens_escrows() {
    const CHUNK: u64 = 64 * 1024;
    let world = World::with(Api { max_total_deposit_bytes: CHUNK, ..Api::default() }).await;
    let mut parties = world.parties().await;
    for agreement in [world.signing(), world.signing()] {
        resolve(&mut parties, world.case(&agreement, Originator, Resolve)).await.unwrap();
        fetched_is_the_original(&world, &agreement, Originator).await;
    }
    left(&world, 4).await;
    assert!(world.engine.new_content_id(1, CHUNK).is_err(), "no deposit fits any more");
}

/// if the commit fails nothing is told and nothing is held.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_commit_nothing_of_an_opened_escrow_is_held() {
    let world = World::new().await;
    let agreement = world.signing();
    let case = world.case(&agreement, Originator, Resolve);
    world.store.broken.store(true, Ordering::SeqCst);
    let failed = resolve(&mut world.parties().await, case.clone()).await;
    assert_reason(failed, Code::Unavailable, "STOPPED");
    let world = world.restarted(Api::default()).await;
    assert_eq!(contents(&world), 0, "removed at the start");
    resolve(&mut world.parties().await, case).await.unwrap();
    fetched_is_the_original(&world, &agreement, Originator).await;
}

/// Both of the largest escrows that there are fit into a case and into a receipt.
#[test]
fn the_largest_escrows_fit_into_a_message() {
    let envelopes = 3 * limits::ENVELOPE_BYTES;
    assert!(envelopes + 2 * limits::ESCROW_BYTES < arbiter::grpc::MESSAGE_BYTES);
}
